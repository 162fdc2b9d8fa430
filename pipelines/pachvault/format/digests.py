"""Digests by the million, as numpy arrays of 32-byte items: in order, each once, found again.

All of it goes by their first 8 bytes as a number, which is quick and small; only digests that share
those are compared whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pachvault.format.ids import DIGEST_BYTES

Digests = NDArray[np.void]
Rows = NDArray[np.int64]

_PILED = 250_000
DTYPE = np.dtype(f"V{DIGEST_BYTES}")


def of(names: Iterable[bytes]) -> Digests:
    """Digests as an array."""
    return np.frombuffer(b"".join(names), DTYPE)


def joined(arrays: Iterable[Digests]) -> Digests:
    """All digests of some arrays, one array after the other."""
    return np.concatenate([np.empty(0, DTYPE), *arrays])


def keys(digests: Digests) -> NDArray[np.uint64]:
    """The first 8 bytes of each digest, as a number in the order of the digests."""
    return np.ascontiguousarray(digests).view(">u8")[::4].astype(np.uint64)


def order(digests: Digests) -> Rows:
    """What sorts digests; equal ones stay in their order."""
    numbers = keys(digests)
    found = np.argsort(numbers, kind="stable")
    tied = np.flatnonzero(numbers.take(found[1:]) == numbers.take(found[:-1]))
    if (digests.take(found[tied]) != digests.take(found[tied + 1])).any():
        return np.argsort(digests, kind="stable")
    return found


def is_new(ordered: Digests) -> NDArray[np.bool_]:
    """For each of sorted digests whether it is another than the one before it."""
    numbers = keys(ordered)
    new = np.ones(len(ordered), bool)
    tied = np.flatnonzero(numbers[1:] == numbers[:-1])
    new[tied + 1] = ordered.take(tied + 1) != ordered.take(tied)
    return new


def unique(digests: Digests) -> Digests:
    """The digests sorted, each once."""
    ordered = digests.take(order(digests))
    new = is_new(ordered)
    return ordered if new.all() else ordered[new]


def lookup(ordered: NDArray[np.uint64], at_place: Callable[[Rows], Digests], wanted: Digests) -> Rows:
    """For each wanted digest the first place among sorted ones where it is, or -1.

    `ordered`: the keys of the sorted ones; `at_place` gives those at some places.
    """
    found = np.full(len(wanted), -1, np.int64)
    numbers = keys(wanted)
    at = np.searchsorted(ordered, numbers)
    pending = np.arange(len(wanted))
    # equal numbers with unequal digests are next to impossible; walk on where it happens
    while len(pending):
        pending = pending[at[pending] < len(ordered)]
        pending = pending[ordered[at[pending]] == numbers[pending]]
        is_same = at_place(at[pending]) == wanted.take(pending)
        found[pending[is_same]] = at[pending[is_same]]
        pending = pending[~is_same]
        at[pending] += 1
    return found


class DigestSet:
    """Digests from many places, each once. What many places have does not pile up."""

    def __init__(self) -> None:
        self._all = of([])
        self._more: list[Digests] = []
        self._piled = 0

    def copy(self) -> DigestSet:
        """Another with the same digests."""
        copied = DigestSet()
        copied.add(self.all())
        return copied

    def add(self, some: Digests) -> None:
        """Take in some."""
        self._more.append(some)
        self._piled += len(some)
        # not each time: to sort them takes long
        if self._piled > max(len(self._all), _PILED):
            self.all()

    def all(self) -> Digests:
        """All that were added, sorted."""
        if self._more:
            self._all = unique(joined([self._all, *self._more]))
            self._more.clear()
            self._piled = 0
        return self._all


class SeenDigests:
    """Digests as they come up: which of them came up before. A million take about 60 MB."""

    def __init__(self) -> None:
        self._new: set[bytes] = set()
        self._old = SortedDigests(of([]))

    def __contains__(self, name: bytes) -> bool:
        return name in self._new or bool(self._old.has(of([name]))[0])

    def add(self, names: Sequence[bytes]) -> list[bool]:
        """Take in some; for each whether it came up for the first time."""
        first = []
        for name, is_old in zip(names, self._old.has(of(names)).tolist(), strict=True):
            is_first = not is_old and name not in self._new
            first.append(is_first)
            if is_first:
                self._new.add(name)
        # a set takes three times as much room; not each time: to sort takes long
        if len(self._new) > max(_PILED // 4, len(self._old) // 2):
            self._old = SortedDigests.of([self._old.digests, of(self._new)])
            self._new = set()
        return first


class SortedDigests:
    """Sorted digests, to be looked up in."""

    def __init__(self, ordered: Digests) -> None:
        self.digests = ordered
        self._keys = keys(ordered)

    @classmethod
    def of(cls, arrays: Iterable[Digests]) -> SortedDigests:
        """Of all digests of some arrays, each once."""
        return cls(unique(joined(arrays)))

    def __len__(self) -> int:
        return len(self.digests)

    def find(self, wanted: Digests) -> Rows:
        """For each wanted digest the number of the first one that equals it, or -1."""
        return lookup(self._keys, self.digests.take, wanted)

    def count(self, some: Digests) -> NDArray[np.intp]:
        """For each of these how often it is among others."""
        at = self.find(some)
        return np.bincount(at[at >= 0], minlength=len(self))

    def has(self, wanted: Digests) -> NDArray[np.bool_]:
        """For each wanted digest whether it is one of these."""
        return self.find(wanted) >= 0

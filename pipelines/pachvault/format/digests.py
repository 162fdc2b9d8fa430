"""Arrays of millions of digests (numpy, 32-byte items): sorted, without duplicates, searched.

Sorting and searching use the first 8 bytes as a number, which is fast and small. Only digests that agree in
these 8 bytes are compared in full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pachvault.format.ids import DIGEST_BYTES

Digests = NDArray[np.void]
Rows = NDArray[np.int64]

_BATCH = 250_000
DTYPE = np.dtype(f"V{DIGEST_BYTES}")


def of(names: Iterable[bytes]) -> Digests:
    """Digests as an array."""
    return np.frombuffer(b"".join(names), DTYPE)


def joined(arrays: Iterable[Digests]) -> Digests:
    """The digests of some arrays, one array after the other."""
    return np.concatenate([np.empty(0, DTYPE), *arrays])


def keys(digests: Digests) -> NDArray[np.uint64]:
    """The first 8 bytes of each digest as a number. These numbers sort as the digests do."""
    # big-endian, so that numbers sort as bytes do; then native, because numpy searches that without a copy
    return np.ascontiguousarray(digests).view(">u8")[::4].astype(np.uint64)


def order(digests: Digests) -> Rows:
    """The order that sorts digests; equal ones stay in their order."""
    numbers = keys(digests)
    by_key = np.argsort(numbers, kind="stable")
    tied = np.flatnonzero(numbers.take(by_key[1:]) == numbers.take(by_key[:-1]))
    # only then numpy compares whole digests, which is much slower than sorting numbers
    if (digests.take(by_key[tied]) != digests.take(by_key[tied + 1])).any():
        return np.argsort(digests, kind="stable")  # unequal digests with equal keys: very unlikely
    return by_key


def is_new(ordered: Digests) -> NDArray[np.bool_]:
    """For each of some sorted digests whether it differs from the one before it."""
    numbers = keys(ordered)
    new = np.ones(len(ordered), bool)
    tied = np.flatnonzero(numbers[1:] == numbers[:-1])
    new[tied + 1] = ordered.take(tied + 1) != ordered.take(tied)
    return new


def unique(digests: Digests) -> Digests:
    """The digests, sorted and without duplicates."""
    ordered = digests.take(order(digests))
    new = is_new(ordered)
    return ordered if new.all() else ordered[new]


def lookup(ordered: NDArray[np.uint64], at_place: Callable[[Rows], Digests], wanted: Digests) -> Rows:
    """For each wanted digest its first place among some sorted digests, or -1.

    `ordered`: the keys of the sorted digests; `at_place`: the digests at some places.
    """
    places = np.full(len(wanted), -1, np.int64)
    numbers = keys(wanted)
    at = np.searchsorted(ordered, numbers)
    pending = np.arange(len(wanted))
    # where keys are equal and digests are not, which is very unlikely, the next place is tried
    while len(pending):
        pending = pending[at[pending] < len(ordered)]
        pending = pending[ordered[at[pending]] == numbers[pending]]
        is_same = at_place(at[pending]) == wanted.take(pending)
        places[pending[is_same]] = at[pending[is_same]]
        pending = pending[~is_same]
        at[pending] += 1
    return places


class DigestSet:
    """A set of digests that come in many arrays. Duplicates are removed from time to time."""

    def __init__(self) -> None:
        self._all = of([])
        self._unsorted: list[Digests] = []
        self._unsorted_count = 0

    def copy(self) -> DigestSet:
        """Another set with the same digests."""
        copied = DigestSet()
        copied.add(self.all())
        return copied

    def add(self, some: Digests) -> None:
        """Add digests."""
        self._unsorted.append(some)
        self._unsorted_count += len(some)
        # not at every call: sorting is slow
        if self._unsorted_count > max(len(self._all), _BATCH):
            self.all()

    def all(self) -> Digests:
        """All digests, sorted."""
        if self._unsorted:
            self._all = unique(joined([self._all, *self._unsorted]))
            self._unsorted.clear()
            self._unsorted_count = 0
        return self._all


class SeenDigests:
    """The digests that a stream had so far. A million take about 60 MB."""

    def __init__(self) -> None:
        self._new: set[bytes] = set()
        self._old = SortedDigests(of([]))

    def __contains__(self, name: bytes) -> bool:
        return name in self._new or bool(self._old.has(of([name]))[0])

    def add(self, names: Sequence[bytes]) -> list[bool]:
        """Add digests; for each whether it is new."""
        first = []
        for name, is_old in zip(names, self._old.has(of(names)).tolist(), strict=True):
            is_first = not is_old and name not in self._new
            first.append(is_first)
            if is_first:
                self._new.add(name)
        # a Python set takes three times the memory of an array; not at every call: sorting is slow
        if len(self._new) > max(_BATCH // 4, len(self._old) // 2):
            self._old = SortedDigests.of([self._old.digests, of(self._new)])
            self._new = set()
        return first


class SortedDigests:
    """Sorted digests that can be searched."""

    def __init__(self, ordered: Digests) -> None:
        self.digests = ordered
        self._keys = keys(ordered)

    @classmethod
    def of(cls, arrays: Iterable[Digests]) -> SortedDigests:
        """The digests of some arrays, without duplicates."""
        return cls(unique(joined(arrays)))

    def __len__(self) -> int:
        return len(self.digests)

    def find(self, wanted: Digests) -> Rows:
        """For each wanted digest the number of its first equal here, or -1."""
        return lookup(self._keys, self.digests.take, wanted)

    def count(self, some: Digests) -> NDArray[np.intp]:
        """For each digest here how often it occurs in `some`."""
        at = self.find(some)
        return np.bincount(at[at >= 0], minlength=len(self))

    def has(self, wanted: Digests) -> NDArray[np.bool_]:
        """For each wanted digest whether it is here."""
        return self.find(wanted) >= 0

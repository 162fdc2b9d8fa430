"""Every place of every blob, as the index has them, and which of these are good: about 75 bytes a place.

Not for reading blobs (`vault.blobs` is), but for judging them: a blob is lost only if no place of it is
good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pachvault.format import layout, pack
from pachvault.format.table import as_array

Digests = NDArray[np.bytes_]
"""Dtype S32: numpy compares all 32 bytes of these, zeros at the end included."""
Rows = NDArray[np.int64]

_SAID = ("frame_offset", "frame_stored", "frame_raw", "codec", "offset", "size")
_PRIME = np.uint64(0x9E3779B97F4A7C15)


class Places:
    """Index tables, sorted by blob; a row is a place. `is_good` and `is_needed` are for the judge to fill."""

    def __init__(self, gathered: Gathered) -> None:
        self._packs, self._ends = gathered.packs, gathered.ends
        digests = gathered.column(0, "S32")
        order = _order(digests)
        self.digests: Digests = digests[order]
        del digests
        self._keys = _keys(self.digests)
        self._codes = gathered.column(1, np.int32)[order]
        self.sizes: Rows = np.append(gathered.column(4, np.int64)[order], 0)
        """Of the blob; and 0 for row -1."""
        self.frames: Rows = gathered.column(2, np.int64)[order]
        """The offset of the frame in its pack."""
        self._said = gathered.column(3, np.uint64)[order]
        self.is_good = np.ones(len(order), bool)
        self.is_needed = np.zeros(len(order), bool)
        """Of the first place of each blob: whether a table names the blob."""
        self._by_pack = np.argsort(self._codes, kind="stable")
        self._pack_begins = np.searchsorted(self._codes[self._by_pack], np.arange(len(self._packs) + 1))
        self._groups = np.flatnonzero(np.append([True], self.digests[1:] != self.digests[:-1])[: len(order)])

    def packs(self) -> Iterator[tuple[bytes, int]]:
        """Every pack that the index names, and the byte up to which frames of it are placed."""
        return zip(self._packs, self._ends, strict=True)

    def in_pack(self, name: bytes | None) -> Rows:
        """The places in a pack; none where the index does not name it."""
        code = self._packs.get(name) if name is not None else None
        if code is None:
            return np.empty(0, np.int64)
        return self._by_pack[self._pack_begins[code] : self._pack_begins[code + 1]]

    def find(self, wanted: Digests) -> Rows:
        """For each digest its first place, or -1."""
        found = np.full(len(wanted), -1, np.int64)
        keys = _keys(wanted)
        at = np.searchsorted(self._keys, keys)
        pending = np.arange(len(wanted))
        # equal keys with unequal digests are next to impossible; walk on where it happens
        while len(pending):
            pending = pending[at[pending] < len(self._keys)]
            pending = pending[self._keys[at[pending]] == keys[pending]]
            is_same = self.digests[at[pending]] == wanted[pending]
            found[pending[is_same]] = at[pending[is_same]]
            pending = pending[~is_same]
            at[pending] += 1
        return found

    def lost(self) -> NDArray[np.bool_]:
        """For each place whether no place of its blob is good."""
        return ~self._of_blobs(self.is_good)

    def needed(self) -> NDArray[np.bool_]:
        """For each place whether a table names its blob."""
        return self._of_blobs(self.is_needed)

    def needed_packs(self) -> set[str]:
        """The objects with a place of a blob that a table names."""
        codes = set(np.unique(self._codes[self.needed()]).tolist())
        return {layout.pack_path(name) for name, code in self._packs.items() if code in codes}

    def unlike(self, name: bytes | None, toc: pack.Toc) -> Rows:
        """The places in a pack that its own table of contents does not have."""
        rows = self.in_pack(name)
        frames = toc.frames[np.minimum(toc.blobs["frame"], max(len(toc.frames) - 1, 0))]
        columns = [frames["offset"], frames["stored"], frames["raw"], frames["codec"]]
        there = _entries(toc.blobs["digest"], _mixed([*columns, toc.blobs["offset"], toc.blobs["size"]]))
        return rows[~np.isin(_entries(self.digests[rows], self._said[rows]), there)]

    def _of_blobs(self, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """For each place whether any place of its blob has the flag."""
        if not len(self._groups):
            return flags
        sizes = np.diff(np.append(self._groups, len(flags)))
        return np.repeat(np.logical_or.reduceat(flags, self._groups), sizes)


@dataclass(slots=True)
class Gathered:
    """Index tables on their way to be `Places`: only the columns that take part, table by table."""

    packs: dict[bytes, int] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)
    _parts: list[tuple[NDArray[Any], ...]] = field(default_factory=list)

    def add(self, table: pa.Table) -> None:
        """Take in an index table."""
        if not table.num_rows:
            return
        packs = table["pack"].combine_chunks().dictionary_encode()
        names = packs.dictionary.to_pylist()
        codes = np.array([self.packs.setdefault(name, len(self.packs)) for name in names], np.int32)
        self.ends += [0] * (len(self.packs) - len(self.ends))
        stops = pc.add(table["frame_offset"], table["frame_stored"])
        by_pack = (
            pa.table({"pack": packs.indices, "stop": stops}).group_by("pack").aggregate([("stop", "max")])
        )
        for at, stop in zip(by_pack["pack"].to_pylist(), by_pack["stop_max"].to_pylist(), strict=True):
            self.ends[codes[at]] = max(self.ends[codes[at]], stop)
        said = _mixed([table[name].to_numpy() for name in _SAID])
        frames, sizes = (table[name].to_numpy().copy() for name in ("frame_offset", "size"))
        self._parts.append((digests_of(table["blob"]), codes[packs.indices.to_numpy()], frames, said, sizes))

    def column(self, number: int, kind: Any) -> NDArray[Any]:
        """One column of all tables. It can be had once: it is not kept."""
        parts = [part[number] for part in self._parts]
        self._parts = [(*part[:number], part[number][:0], *part[number + 1 :]) for part in self._parts]
        return np.concatenate(parts) if parts else np.empty(0, kind)


def digests_of(column: pa.ChunkedArray | pa.Array) -> Digests:
    """A column of digests without nulls."""
    return as_array(column).view("S32")


def as_digests(names: Sequence[bytes]) -> Digests:
    """Digests as an array."""
    return np.frombuffer(b"".join(names), "S32") if names else np.empty(0, "S32")


def _keys(digests: Digests) -> NDArray[np.uint64]:
    """The first 8 bytes of each digest, as a number in the order of the digests."""
    return np.ascontiguousarray(digests).view(">u8")[::4].astype(np.uint64)


def _order(digests: Digests) -> Rows:
    """What sorts digests; by their first 8 bytes, as long as these tell them apart."""
    keys = _keys(digests)
    order = np.argsort(keys, kind="stable")
    keys, ordered = keys[order], digests[order]
    if np.any((keys[1:] == keys[:-1]) & (ordered[1:] != ordered[:-1])):
        order = np.argsort(digests, kind="stable")
    return order


def _mixed(columns: Sequence[NDArray[np.generic]]) -> NDArray[np.uint64]:
    """One number a row, which tells rows apart as well as a checksum does."""
    mixed = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        mixed = (mixed ^ column.astype(np.uint64)) * _PRIME
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _entries(digests: NDArray[np.generic], said: NDArray[np.uint64]) -> NDArray[np.bytes_]:
    """Digest and number as one value a row."""
    both = np.empty(len(digests), [("digest", "S32"), ("said", "<u8")])
    both["digest"], both["said"] = digests.view("S32"), said
    return both.view("S40")

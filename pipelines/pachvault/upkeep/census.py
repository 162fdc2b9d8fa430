"""How much of each pack is needed: every needed blob is counted in one place, however many it has."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pachvault.format import layout
from pachvault.format.table import as_array
from pachvault.store.store import ObjectInfo

_COMPARED = 65536


@dataclass(frozen=True, slots=True)
class Part:
    """What an index object says, without what only a reader needs."""

    packs: list[str]
    rows: int
    ends: NDArray[np.int64]
    """Up to which byte frames of each pack are placed."""
    blobs: NDArray[np.void]
    """As many as `rows`, or none in a brief one."""
    codes: NDArray[np.int32]
    """For each blob the number of its pack in `packs`."""
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int32]

    @classmethod
    def of(cls, rows: pa.Table, *, is_brief: bool = False) -> Part:
        """From an index object (schema index.SCHEMA)."""
        names, codes = np.unique(as_array(rows["pack"]), return_inverse=True)
        offsets = rows["frame_offset"].to_numpy()
        ends = np.zeros(len(names), np.int64)
        np.maximum.at(ends, codes, offsets + rows["frame_stored"].to_numpy())
        packs = [layout.pack_path(name.tobytes()) for name in names]
        count = len(rows)
        if is_brief:
            rows, codes, offsets = rows.slice(0, 0), codes[:0], offsets[:0]
        return cls(
            packs=packs,
            rows=count,
            ends=ends,
            blobs=as_array(rows["blob"]),
            codes=codes.astype(np.int32),
            offsets=offsets.copy(),  # lets go of the file that the rows were read from
            sizes=rows["size"].to_numpy().astype(np.int32),
        )


class Places:
    """Every place of every blob, from all parts of the index; about 60 bytes each."""

    def __init__(self, parts: list[Part]) -> None:
        """Empties `parts` on the way: both at once would be twice the memory."""
        self.packs = sorted({name for part in parts for name in part.packs})
        self.code_of = {name: code for code, name in enumerate(self.packs)}
        self.ends = np.zeros(len(self.packs), np.int64)
        codes, blobs = [np.empty(0, np.int32)], [np.empty(0, "V32")]
        offsets, sizes = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
        while parts:
            part = parts.pop()
            here = np.array([self.code_of[name] for name in part.packs], np.int32)
            np.maximum.at(self.ends, here, part.ends)
            codes.append(here[part.codes])
            blobs.append(part.blobs)
            offsets.append(part.offsets)
            sizes.append(part.sizes)
            del part
        self.codes = _joined(codes)
        self.blobs = _joined(blobs)
        self.offsets = _joined(offsets)
        self.sizes = _joined(sizes)


@dataclass(frozen=True, slots=True)
class PackCount:
    """A pack that is there. Bytes are those of blobs before compression."""

    info: ObjectInfo
    blob_bytes: int
    """0 where no index names the pack."""
    live_bytes: int
    """Of blobs that are needed and counted here."""

    @property
    def dead_share(self) -> float:
        """How much of it nobody needs here: 0 to 1."""
        return 1 - self.live_bytes / self.blob_bytes if self.blob_bytes else 1.0


class Census:
    """Places against needed blobs (32-byte items, each once).

    A blob counts in a whole pack that is not marked before one that is, and there in the pack of which
    most is needed: so copies die in the packs that are mostly dead.
    """

    def __init__(
        self,
        places: Places,
        listed: Collection[ObjectInfo],
        needed: NDArray[np.void],
        marked: Collection[str],
    ) -> None:
        self._places = places
        codes, sizes, count = places.codes, places.sizes, len(places.packs)
        groups = _groups(np.concatenate([places.blobs, needed]))
        of_needed, groups = groups[len(codes) :], groups[: len(codes)]
        is_needed = np.zeros(max(groups.max(initial=-1), of_needed.max(initial=-1)) + 1, bool)
        is_needed[of_needed] = True
        length_of = {info.name: info.size for info in listed}
        is_whole = np.array([length_of.get(name, 0) for name in places.packs], np.int64) >= places.ends
        self._is_candidate = is_needed[groups] & is_whole[codes]
        total = np.bincount(codes, sizes, count)
        wanted = np.bincount(codes, sizes * self._is_candidate, count)
        rank = _rank(places.packs, wanted / np.maximum(total, 1), marked)
        self._is_counted = _best_of_each(groups, rank[codes], self._is_candidate)
        live = np.bincount(codes, sizes * self._is_counted, count)
        is_placed = np.zeros(len(is_needed), bool)
        is_placed[groups[self._is_counted]] = True
        self.missing = int(np.count_nonzero(is_needed & ~is_placed))
        """How many needed blobs no whole pack has."""
        self.packs = [
            PackCount(info, int(total[code]), int(live[code]))
            if (code := places.code_of.get(info.name)) is not None
            else PackCount(info, 0, 0)
            for info in listed
        ]
        self._by_pack = np.argsort(codes, kind="stable").astype(np.int32)
        self._starts = np.searchsorted(codes[self._by_pack], np.arange(count + 1))

    def counted_in(self, pack: str) -> list[bytes]:
        """The needed blobs that are counted in a pack, in the order in which they lie there."""
        rows = self._rows(pack)
        rows = rows[self._is_counted[rows]]
        return self._names(rows[np.argsort(self._places.offsets[rows], kind="stable")])

    def counted_elsewhere(self, pack: str) -> list[bytes]:
        """The needed blobs that a pack has and that are counted in another."""
        rows = self._rows(pack)
        return self._names(rows[self._is_candidate[rows] & ~self._is_counted[rows]])

    def _rows(self, pack: str) -> NDArray[np.int32]:
        code = self._places.code_of.get(pack)
        if code is None:
            return np.empty(0, np.int32)
        return self._by_pack[self._starts[code] : self._starts[code + 1]]

    def _names(self, rows: NDArray[np.int32]) -> list[bytes]:
        return [name.tobytes() for name in self._places.blobs[rows]]


def _joined(arrays: list[Any]) -> NDArray[Any]:
    """The arrays as one; they themselves are let go."""
    whole = np.concatenate(arrays)
    arrays.clear()
    return whole


def _groups(blobs: NDArray[np.void]) -> NDArray[np.int32]:
    """For each blob the number of its group: equal ones have one group.

    Sorted by their first 8 bytes, which is quick and small; only those that share them are compared whole.
    """
    keys = blobs.view(">u8")[::4].astype(np.uint64)
    order = np.argsort(keys, kind="stable").astype(np.int32)
    tied = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    del keys
    is_new = np.ones(len(blobs), bool)
    is_new[tied + 1] = False
    for first in range(0, len(tied), _COMPARED):
        some = tied[first : first + _COMPARED]
        if (blobs[order[some]] != blobs[order[some + 1]]).any():
            return np.unique(blobs, return_inverse=True)[1].astype(np.int32)
    groups = np.empty(len(blobs), np.int32)
    groups[order] = np.cumsum(is_new, dtype=np.int32) - 1
    return groups


def _rank(
    names: Iterable[str], needed_share: NDArray[np.float64], marked: Collection[str]
) -> NDArray[np.int32]:
    """For each pack how well a blob is kept there: higher is better, never equal."""
    is_unmarked = np.array([name not in marked for name in names], bool)
    order = np.lexsort((needed_share, is_unmarked))
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    return rank


def _best_of_each(
    groups: NDArray[np.int32], rank: NDArray[np.int32], is_candidate: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Of the candidates of each group the one of the highest rank."""
    rows = np.flatnonzero(is_candidate).astype(np.int32)
    rows = rows[np.lexsort((rank[rows], groups[rows]))]
    of = groups[rows]
    is_last = np.append(of[1:] != of[:-1], True)[: len(rows)]
    chosen = np.zeros(len(groups), bool)
    chosen[rows[is_last]] = True
    return chosen

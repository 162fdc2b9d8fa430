"""How much of each pack is needed: every needed blob is counted in one place, however many it has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pachvault.format import layout
from pachvault.format.table import as_array
from pachvault.store.store import ObjectInfo


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
    """Index rows (schema index.SCHEMA) against needed blobs (32-byte items, sorted, each once).

    A blob counts in a whole pack that is not marked before one that is, and there in the pack of which
    most is needed: so copies die in the packs that are mostly dead. Needs about 150 bytes a row.
    """

    def __init__(
        self,
        rows: pa.Table,
        listed: Collection[ObjectInfo],
        needed: NDArray[np.void],
        marked: Collection[str],
    ) -> None:
        self._digests = as_array(rows["blob"])
        self._offsets = rows["frame_offset"].to_numpy()
        packs, codes = np.unique(as_array(rows["pack"]), return_inverse=True)
        names = [layout.pack_path(name.tobytes()) for name in packs]
        self._code_of = {name: code for code, name in enumerate(names)}
        self._by_pack = np.argsort(codes, kind="stable")
        self._starts = np.searchsorted(codes[self._by_pack], np.arange(len(names) + 1))
        sizes = {info.name: info.size for info in listed}
        ends = np.zeros(len(names), np.int64)
        np.maximum.at(ends, codes, self._offsets + rows["frame_stored"].to_numpy())
        is_whole = np.array([sizes.get(name, 0) for name in names], np.int64) >= ends
        blob_bytes = rows["size"].to_numpy()
        known, groups = np.unique(np.concatenate([self._digests, needed]), return_inverse=True)
        of_needed, groups = groups[len(codes) :], groups[: len(codes)]
        is_needed = np.zeros(len(known), bool)
        is_needed[of_needed] = True
        self._is_candidate = is_needed[groups] & is_whole[codes]
        total = np.bincount(codes, blob_bytes, len(names))
        wanted = np.bincount(codes, blob_bytes * self._is_candidate, len(names))
        rank = _rank(names, wanted / np.maximum(total, 1), marked)
        self._is_counted = _last_of_each(groups, rank[codes], self._is_candidate)
        live = np.bincount(codes, blob_bytes * self._is_counted, len(names))
        is_placed = np.zeros(len(is_needed), bool)
        is_placed[groups[self._is_counted]] = True
        self.missing = int(np.count_nonzero(is_needed & ~is_placed))
        """How many needed blobs no whole pack has."""
        self.packs = [
            PackCount(info, int(total[code]), int(live[code]))
            if (code := self._code_of.get(info.name)) is not None
            else PackCount(info, 0, 0)
            for info in listed
        ]

    def counted_in(self, pack: str) -> list[bytes]:
        """The needed blobs that are counted in a pack, in the order in which they lie there."""
        rows = self._rows(pack)
        rows = rows[self._is_counted[rows]]
        rows = rows[np.argsort(self._offsets[rows], kind="stable")]
        return [name.tobytes() for name in self._digests[rows]]

    def counted_elsewhere(self, pack: str) -> list[bytes]:
        """The needed blobs that a pack has and that are counted in another."""
        rows = self._rows(pack)
        rows = rows[self._is_candidate[rows] & ~self._is_counted[rows]]
        return [name.tobytes() for name in self._digests[rows]]

    def _rows(self, pack: str) -> NDArray[np.int64]:
        code = self._code_of.get(pack)
        if code is None:
            return np.empty(0, np.int64)
        return self._by_pack[self._starts[code] : self._starts[code + 1]]


def _rank(names: list[str], needed_share: NDArray[np.float64], marked: Collection[str]) -> NDArray[np.int64]:
    """For each pack how well a blob is kept there: higher is better, never equal."""
    is_unmarked = np.array([name not in marked for name in names], bool)
    order = np.lexsort((np.arange(len(names)), needed_share, is_unmarked))
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return rank


def _last_of_each(
    groups: NDArray[np.int64], rank: NDArray[np.int64], is_candidate: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Of the candidates of each group the one of the highest rank."""
    rows = np.flatnonzero(is_candidate)
    rows = rows[np.lexsort((rank[rows], groups[rows]))]
    is_last = np.append(groups[rows][1:] != groups[rows][:-1], True)[: len(rows)]
    chosen = np.zeros(len(groups), bool)
    chosen[rows[is_last]] = True
    return chosen

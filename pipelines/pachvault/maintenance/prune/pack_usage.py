"""How much of each pack is needed: every needed blob is counted in one pack, however many have it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pachvault.format import digests, layout
from pachvault.format.digests import Digests, Rows, Sorted
from pachvault.store.store import ObjectInfo
from pachvault.vault.index_rows import IndexRows, RowsByPack

NUMBERS = ("frame_offset", "size")
"""What of the index takes part."""


class BlobPlaces:
    """Every place of every blob, sorted by blob; about 50 bytes each."""

    def __init__(self, columns: IndexRows) -> None:
        """From columns in order (see Columns.in_order) with NUMBERS."""
        self._columns = columns
        self.packs = [layout.pack_path(name.tobytes()) for name in columns.packs]
        self.code_of = {name: code for code, name in enumerate(self.packs)}
        self.ends, self.codes, self.sizes = columns.ends, columns.pack_codes, columns.integers["size"]
        self.blobs = Sorted(columns.digests)
        is_first = digests.is_new(columns.digests)
        self.groups: NDArray[np.int32] = np.cumsum(is_first, dtype=np.int32) - 1
        """For each place the number of its blob."""
        self.starts = np.flatnonzero(is_first)
        """The first place of each blob."""
        self.totals = np.bincount(self.codes, self.sizes, len(self.packs))

    def in_pack(self, name: str) -> Rows:
        """The places in a pack, as they lie there."""
        rows = self._by_pack.rows(layout.named_digest(name))
        return rows[np.argsort(self._columns.integers["frame_offset"][rows], kind="stable")]

    @cached_property
    def _by_pack(self) -> RowsByPack:
        return RowsByPack(self._columns)


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


class PackUsage:
    """Places against needed blobs (each once).

    A blob counts in one whole pack that is not marked, the one of which most is needed: so copies die in
    the packs that are mostly dead. Where all its packs are marked it counts in each: any of them may be
    deleted by another prune, which looked at other snapshots and chose differently.
    """

    def __init__(
        self, places: BlobPlaces, listed: Collection[ObjectInfo], needed: Digests, marked: Collection[str]
    ) -> None:
        self._places = places
        codes, sizes, count = places.codes, places.sizes, len(places.packs)
        at = places.blobs.find(needed)
        unknown = at < 0
        is_needed = np.zeros(len(places.starts), bool)
        is_needed[places.groups[at[~unknown]]] = True
        length_of = {info.name: info.size for info in listed}
        is_whole = np.array([length_of.get(name, 0) for name in places.packs], np.int64) >= places.ends
        self._is_candidate = is_needed[places.groups] & is_whole[codes]
        wanted = np.bincount(codes, sizes * self._is_candidate, count)
        is_marked = np.array([name in marked for name in places.packs], bool)
        rank = _rank(places.packs, wanted / np.maximum(places.totals, 1), is_marked)
        self._is_counted = _best_of_each(places, rank, self._is_candidate)
        placed = np.count_nonzero(self._is_counted)
        self._is_counted |= _of_marked_only(places, is_marked, self._is_candidate, self._is_counted)
        live = np.bincount(codes, sizes * self._is_counted, count)
        self.missing = int(np.count_nonzero(unknown) + np.count_nonzero(is_needed) - placed)
        """How many needed blobs no whole pack has."""
        self.packs = [
            PackCount(info, int(places.totals[code]), int(live[code]))
            if (code := places.code_of.get(info.name)) is not None
            else PackCount(info, 0, 0)
            for info in listed
        ]

    def counted_in(self, name: str) -> Digests:
        """The needed blobs that are counted in a pack, in the order in which they lie there."""
        rows = self._places.in_pack(name)
        return self._places.blobs.digests.take(rows[self._is_counted[rows]])

    def counted_elsewhere(self, name: str) -> Digests:
        """The needed blobs that a pack has and that are counted in another."""
        rows = self._places.in_pack(name)
        rows = rows[self._is_candidate[rows] & ~self._is_counted[rows]]
        return self._places.blobs.digests.take(rows)


def _rank(
    names: Sequence[str], needed_share: NDArray[np.float64], is_marked: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """For each pack how well a blob is kept there: higher is better, never equal."""
    order = np.lexsort((np.array(names, np.str_), needed_share, ~is_marked))
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    return rank


def _best_of_each(
    places: BlobPlaces, rank: NDArray[np.int32], is_candidate: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Of the candidates for each blob the one of the highest rank."""
    if not len(places.groups):
        return is_candidate
    ranks = np.where(is_candidate, rank[places.codes], -1)
    best = np.maximum.reduceat(ranks, places.starts)
    rows = np.flatnonzero(is_candidate & (ranks == best[places.groups]))
    # several index objects may place a blob at the same spot
    groups = places.groups[rows]
    chosen = np.zeros(len(ranks), bool)
    chosen[rows[np.append(True, groups[1:] != groups[:-1])[: len(rows)]]] = True
    return chosen


def _of_marked_only(
    places: BlobPlaces,
    is_marked: NDArray[np.bool_],
    is_candidate: NDArray[np.bool_],
    is_best: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """The candidates for the blobs whose best place, and so every one, is in a marked pack."""
    if not is_marked.any():
        return np.zeros(len(is_candidate), bool)
    has_only_marked = np.zeros(len(places.starts), bool)
    has_only_marked[places.groups[is_best & is_marked[places.codes]]] = True
    return is_candidate & has_only_marked[places.groups]

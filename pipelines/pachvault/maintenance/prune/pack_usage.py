"""How much of each pack is needed: every needed blob is counted in one pack, however many have it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pachvault.format import layout
from pachvault.format.digests import Digests
from pachvault.store.store import ObjectInfo
from pachvault.vault.blob_places import BlobPlaces

NUMBERS = ("frame_offset", "size")
"""What of the index takes part."""


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

    A blob counts in one intact pack that is not pending deletion, the one of which most is needed: so copies
    become dead in the packs that are mostly dead. Where all its packs are pending deletion it counts in each:
    another prune, which saw other snapshots, may have chosen another one to delete.
    """

    def __init__(
        self, places: BlobPlaces, listed: Collection[ObjectInfo], needed: Digests, marked: Collection[str]
    ) -> None:
        self._places = places
        paths, codes = places.pack_paths, places.rows.pack_codes
        sizes, count = places.rows.integers["size"], len(paths)
        totals = np.bincount(codes, sizes, count)
        first_rows = places.find(needed)
        is_unknown = first_rows < 0
        is_needed = np.zeros(len(places.starts), bool)
        is_needed[places.groups[first_rows[~is_unknown]]] = True
        length_of = {info.name: info.size for info in listed}
        is_intact = np.array([length_of.get(path, 0) for path in paths], np.int64) >= places.rows.ends
        self._is_candidate = is_needed[places.groups] & is_intact[codes]
        wanted = np.bincount(codes, sizes * self._is_candidate, count)
        is_marked = np.array([path in marked for path in paths], bool)
        rank = _rank(paths, wanted / np.maximum(totals, 1), is_marked)
        self._is_counted = _best_of_each(places, rank, self._is_candidate)
        placed = np.count_nonzero(self._is_counted)
        self._is_counted |= _of_marked_only(places, is_marked, self._is_candidate, self._is_counted)
        live = np.bincount(codes, sizes * self._is_counted, count)
        self.missing = int(np.count_nonzero(is_unknown) + np.count_nonzero(is_needed) - placed)
        """How many needed blobs no intact pack has."""
        code_of = {path: code for code, path in enumerate(paths)}
        self.packs = [
            PackCount(info, int(totals[code]), int(live[code]))
            if (code := code_of.get(info.name)) is not None
            else PackCount(info, 0, 0)
            for info in listed
        ]

    def counted_in(self, name: str) -> Digests:
        """The needed blobs that are counted in a pack, in the order in which they lie there."""
        rows = self._places.in_pack(layout.named_digest(name))
        return self._places.rows.digests.take(rows[self._is_counted[rows]])

    def counted_elsewhere(self, name: str) -> Digests:
        """The needed blobs that a pack has and that are counted in another."""
        rows = self._places.in_pack(layout.named_digest(name))
        rows = rows[self._is_candidate[rows] & ~self._is_counted[rows]]
        return self._places.rows.digests.take(rows)


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
    ranks = np.where(is_candidate, rank[places.rows.pack_codes], -1)
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
    has_only_marked[places.groups[is_best & is_marked[places.rows.pack_codes]]] = True
    return is_candidate & has_only_marked[places.groups]

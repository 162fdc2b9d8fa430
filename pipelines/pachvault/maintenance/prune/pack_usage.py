"""Usage of packs: how many bytes of each are live. A blob that several packs have is live in one of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pachvault.format import layout
from pachvault.format.digests import Digests
from pachvault.store.store import ObjectInfo
from pachvault.vault.index.blob_places import BlobPlaces

INDEX_COLUMNS = ("frame_offset", "size")
"""The columns of the index that are read for this, beside blobs and packs."""


@dataclass(frozen=True, slots=True)
class PackCount:
    """A pack of the vault and how much of it is live. Bytes are those of blobs before compression."""

    info: ObjectInfo
    blob_bytes: int
    """0 where no index object lists the pack."""
    live_bytes: int
    """Of needed blobs that are counted in this pack."""

    @property
    def dead_share(self) -> float:
        """The share of dead bytes: 0 to 1."""
        return 1 - self.live_bytes / self.blob_bytes if self.blob_bytes else 1.0


class PackUsage:
    """The places of blobs compared with the blobs that are needed (each given once).

    A needed blob is live in one intact pack that is not a pending delete. If there are several, it is the one
    with the greatest needed share: so duplicates become dead bytes in packs that are mostly dead already. If
    all its packs are pending deletes the blob is live in each of them: another prune, which saw other
    snapshots, may have chosen another pack to delete.
    """

    def __init__(
        self, places: BlobPlaces, listed: Collection[ObjectInfo], needed: Digests, marked: Collection[str]
    ) -> None:
        self._places = places
        paths, codes = places.pack_paths, places.rows.pack_codes
        sizes, count = places.rows.integers["size"], len(paths)
        # bincount sums in float64: exact for less than 2**53 bytes, far more than a pack has
        totals = np.bincount(codes, sizes, count)
        first_rows = places.find(needed)
        # `find` gives -1 for a blob without a place, which as a row number would mean the last one
        is_unknown = first_rows < 0
        is_needed = np.zeros(len(places.starts), bool)
        is_needed[places.groups[first_rows[~is_unknown]]] = True
        sizes_listed = {info.name: info.size for info in listed}
        # a pack that ends before the last frame that the index has of it is truncated
        is_intact = np.array([sizes_listed.get(path, 0) for path in paths], np.int64) >= places.rows.ends
        self._is_candidate = is_needed[places.groups] & is_intact[codes]
        candidate_bytes = np.bincount(codes, sizes * self._is_candidate, count)
        is_marked = np.array([path in marked for path in paths], bool)
        rank = _rank(paths, candidate_bytes / np.maximum(totals, 1), is_marked)
        self._is_live = _best_of_each(places, rank, self._is_candidate)
        placed_count = np.count_nonzero(self._is_live)
        self._is_live |= _only_in_marked(places, is_marked, self._is_candidate, self._is_live)
        live = np.bincount(codes, sizes * self._is_live, count)
        self.missing_count = int(np.count_nonzero(is_unknown) + np.count_nonzero(is_needed) - placed_count)
        """How many needed blobs are in no intact pack."""
        code_of = {path: code for code, path in enumerate(paths)}
        self.packs = [
            PackCount(info, int(totals[code]), int(live[code]))
            if (code := code_of.get(info.name)) is not None
            else PackCount(info, 0, 0)
            for info in listed
        ]

    def live_blobs(self, name: str) -> Digests:
        """The blobs that are live in a pack, in the order of their offsets."""
        rows = self._places.in_pack(layout.named_digest(name))
        return self._places.rows.digests.take(rows[self._is_live[rows]])

    def blobs_live_elsewhere(self, name: str) -> Digests:
        """The needed blobs of a pack that are live in another one."""
        rows = self._places.in_pack(layout.named_digest(name))
        rows = rows[self._is_candidate[rows] & ~self._is_live[rows]]
        return self._places.rows.digests.take(rows)


def _rank(
    names: Sequence[str], needed_share: NDArray[np.float64], is_marked: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """The rank of each pack as a place of blobs: higher is better. No two are equal, so prunes agree."""
    # the last key counts most: unmarked packs, then the needed share, then the name, which no two packs share
    order = np.lexsort((np.array(names, np.str_), needed_share, ~is_marked))
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    return rank


def _best_of_each(
    places: BlobPlaces, rank: NDArray[np.int32], is_candidate: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """For each blob the candidate with the highest rank."""
    if not len(places.groups):
        return is_candidate
    ranks = np.where(is_candidate, rank[places.rows.pack_codes], -1)
    best = np.maximum.reduceat(ranks, places.starts)
    rows = np.flatnonzero(is_candidate & (ranks == best[places.groups]))
    # several index objects may list the same place of a blob: take the first
    groups = places.groups[rows]
    is_best = np.zeros(len(ranks), bool)
    is_best[rows[np.append(True, groups[1:] != groups[:-1])[: len(rows)]]] = True
    return is_best


def _only_in_marked(
    places: BlobPlaces,
    is_marked: NDArray[np.bool_],
    is_candidate: NDArray[np.bool_],
    is_best: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """The candidates for blobs that only marked packs have: these rank lowest, so the best one is marked."""
    if not is_marked.any():
        return np.zeros(len(is_candidate), bool)
    has_only_marked = np.zeros(len(places.starts), bool)
    has_only_marked[places.groups[is_best & is_marked[places.rows.pack_codes]]] = True
    return is_candidate & has_only_marked[places.groups]

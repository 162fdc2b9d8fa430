"""Every place of every blob, as the index has them, and which of these are good: about 80 bytes a place.

Not for reading blobs (`vault.blobs` is), but for judging them: a blob is lost only if no place of it is
good.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pachvault.format import digests, layout, pack
from pachvault.format.digests import Digests, Rows, Sorted
from pachvault.vault.index_rows import IndexRows, RowsByPack, differing


class CheckedPlaces:
    """Index rows, sorted by blob; a row is a place. `is_good` and `is_needed` are for the judge to fill."""

    def __init__(self, parts: Iterable[IndexRows]) -> None:
        self._columns = IndexRows.joined(parts).in_order()
        self._sorted = Sorted(self._columns.digests)
        self._by_pack = RowsByPack(self._columns)
        self._starts = np.flatnonzero(digests.is_new(self.digests))
        self.sizes: NDArray[np.uint32] = np.append(self._columns.integers["size"], np.uint32(0))
        """Of the blob; and 0 for row -1."""
        self.frames: Rows = self._columns.integers["frame_offset"]
        """The offset of the frame in its pack."""
        self.is_good = np.ones(len(self._columns), bool)
        self.is_staying = np.ones(len(self._columns), bool)
        """Whether the pack is not marked for deletion."""
        self.is_needed = np.zeros(len(self._columns), bool)
        """Of the first place of each blob: whether a table names the blob."""

    @property
    def digests(self) -> Digests:
        """The blob of each place."""
        return self._columns.digests

    def packs(self) -> list[tuple[bytes, int]]:
        """Every pack that the index names, and the byte up to which frames of it are placed."""
        return self._columns.pack_ends()

    def in_pack(self, name: bytes | None) -> Rows:
        """The places in a pack; none where the index does not name it."""
        return self._by_pack.rows(name)

    def find(self, wanted: Digests) -> Rows:
        """For each digest its first place, or -1."""
        return self._sorted.find(wanted)

    def lost(self) -> NDArray[np.bool_]:
        """For each place whether no place of its blob is good."""
        return ~self._of_blobs(self.is_good)

    def degraded(self) -> NDArray[np.bool_]:
        """For each place whether all good places of its blob are in packs that are marked for deletion."""
        return self._of_blobs(self.is_good) & ~self._of_blobs(self.is_good & self.is_staying)

    def needed(self) -> NDArray[np.bool_]:
        """For each place whether a table names its blob."""
        return self._of_blobs(self.is_needed)

    def needed_packs(self) -> set[str]:
        """The objects with a place of a blob that a table names."""
        codes = np.unique(self._columns.pack_codes[self.needed()])
        return {layout.pack_path(name.tobytes()) for name in self._columns.packs[codes]}

    def unlike(self, name: bytes | None, toc: pack.Toc) -> Rows:
        """The places in a pack that its own table of contents does not have."""
        return differing(self._columns, self.in_pack(name), IndexRows.of_toc(name or b"", toc))[0]

    def _of_blobs(self, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """For each place whether any place of its blob has the flag."""
        if not len(self._starts):
            return flags
        sizes = np.diff(np.append(self._starts, len(flags)))
        return np.repeat(np.logical_or.reduceat(flags, self._starts), sizes)

"""The index view: every place of every blob, in memory, sorted by blob; looked up many at a time.

A place is a row: the blob, its pack, its frame in there, its offset in the frame, its size. Several packs
may have a blob, and several index objects may place it in the same one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pachvault.format import digests, layout
from pachvault.format.digests import Digests, Rows, SortedDigests
from pachvault.format.pack import Toc
from pachvault.vault.index.index_rows import IndexRows, RowsByPack, differing

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BlobLocation:
    """Where a blob's bytes are: `size` bytes at `offset` of a decoded frame of a pack."""

    pack: bytes
    frame_offset: int
    frame_stored: int
    frame_raw: int
    codec: int
    offset: int
    size: int


class BlobPlaces:
    """The index, sorted by blob. With all number columns a million places take about 70 MB."""

    def __init__(self, rows: IndexRows | pa.Table) -> None:
        """From rows in any order, as arrays or as a table of schema index.SCHEMA."""
        self.rows = (rows if isinstance(rows, IndexRows) else IndexRows.of([rows])).in_order()
        self.blobs = SortedDigests(self.rows.digests)

    def __len__(self) -> int:
        return len(self.rows)

    def find(self, wanted: Digests) -> Rows:
        """For each digest its first place, or -1."""
        return self.blobs.find(wanted)

    def find_all(self, wanted: Sequence[bytes]) -> Rows:
        """As `find`, for digests in a list."""
        return self.find(digests.of(wanted))

    def has(self, wanted: Sequence[bytes]) -> Flags:
        """For each digest whether it has a place."""
        return self.find_all(wanted) >= 0

    def has_all(self, wanted: Digests) -> bool:
        """Whether every one of these has a place."""
        return bool((self.find(wanted) >= 0).all())

    def location(self, row: int) -> BlobLocation:
        """The place in a row, as a value."""
        values = {name: int(column[row]) for name, column in self.rows.integers.items()}
        return BlobLocation(pack=self.rows.packs[self.rows.pack_codes[row]].tobytes(), **values)

    def locations(self, blob: bytes) -> list[BlobLocation]:
        """Every place of a blob; none where it has none."""
        first = int(self.find_all([blob])[0])
        if first < 0:
            return []
        group = self.groups[first]
        last = self.starts[group + 1] if group + 1 < len(self.starts) else len(self)
        return [self.location(row) for row in range(first, last)]

    def sizes(self, rows: Rows) -> NDArray[np.uint32]:
        """The size in bytes of the blob in each row."""
        if not len(self):
            return np.zeros(len(rows), np.uint32)
        # a row may be -1 (no place): numpy takes the last row for it, and raises on an empty index
        sizes: NDArray[np.uint32] = self.rows.integers["size"][rows]
        return sizes

    def positions(self, rows: Rows) -> Iterator[tuple[int, int, int, int]]:
        """For each row: the number of its pack, its frame's offset, its offset in the frame, its size."""
        columns = [self.rows.integers[name][rows].tolist() for name in ("frame_offset", "offset", "size")]
        return zip(self.rows.pack_codes[rows].tolist(), *columns, strict=True)

    def place_order(self, rows: Rows) -> NDArray[np.intp]:
        """The order that sorts rows by pack and by frame, so that reads are sequential."""
        if not len(self):
            return np.arange(len(rows))
        keys = (self.rows.integers["frame_offset"][rows], self.rows.pack_codes[rows])
        return np.lexsort(keys)

    def in_pack(self, pack: bytes | None) -> Rows:
        """The rows of a pack, in the order of its frames; none where the index does not name it."""
        rows = self._by_pack.rows(pack)
        return rows[np.argsort(self.rows.integers["frame_offset"][rows], kind="stable")]

    def blobs_in(self, pack: bytes) -> Digests:
        """The blobs that the index places in a pack."""
        return self.rows.digests.take(self._by_pack.rows(pack))

    def compare_with_toc(self, pack: bytes, toc: Toc) -> tuple[Rows, IndexRows]:
        """The rows of a pack that its table of contents does not have, and the rows that only this has."""
        of_toc = IndexRows.of_toc(pack, toc)
        only_in_index, only_in_toc = differing(self.rows, self._by_pack.rows(pack), of_toc)
        return only_in_index, of_toc.take(only_in_toc)

    @cached_property
    def pack_paths(self) -> list[str]:
        """The path of each pack, by its number."""
        return [layout.pack_path(name.tobytes()) for name in self.rows.packs]

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        """The first row of each blob."""
        return np.flatnonzero(self._is_first)

    @cached_property
    def groups(self) -> NDArray[np.int32]:
        """For each row the number of its blob."""
        # int32 is half the memory of the default, and enough for two billion blobs
        return np.cumsum(self._is_first, dtype=np.int32) - 1

    def any_of_blob(self, flags: Flags) -> Flags:
        """For each row whether any row of the same blob has the flag."""
        if not len(self):
            return flags
        return np.logical_or.reduceat(flags, self.starts)[self.groups]

    @property
    def _is_first(self) -> Flags:
        return digests.is_new(self.rows.digests)

    @cached_property
    def _by_pack(self) -> RowsByPack:
        return RowsByPack(self.rows)

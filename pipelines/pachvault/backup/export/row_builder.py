"""Rows of a file table, gathered file by file into Arrow tables: a million rows are not a million objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from pachvault.format import table
from pachvault.format.ids import RepoName

# docs/decisions/0002
TABLE_ROWS = 256 * 1024
"""The number of rows of one file table object; they take about 40 MiB of memory."""
_CHUNK_ROWS = 16 * 1024
"""The most rows that are Python values at a time."""


class RowBuilder:
    """The rows of one item. `put` stores a table and returns its digest, so that few rows are in memory."""

    def __init__(self, repo: RepoName, commit: str, put: Callable[[pa.Table], bytes] | None = None) -> None:
        self._repo, self._commit, self._put = str(repo), commit, put
        # those of table.FILES but repo and commit, which are the same in every row
        self._columns: list[list[object]] = [[] for _ in range(6)]
        self._chunks: list[pa.Table] = []
        self._chunk_rows = self._table_rows = 0
        self.bytes = 0
        """Size of the files."""
        self.tables: list[bytes] = []
        """The digests of the tables that hold the others."""

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self._chunk_rows + len(self._columns[0])

    @property
    def held(self) -> int:
        """How many rows are in no table yet."""
        return self.count - self._table_rows

    def file(
        self, path: str, size: int, digest: bytes, blobs: list[bytes] | None, pfs_hash: bytes | None = None
    ) -> None:
        """A file as the commit has it."""
        self._row(path, table.FILE, size, digest, blobs, pfs_hash)
        self.bytes += size

    def files(
        self,
        paths: list[str],
        sizes: list[int],
        digests: list[bytes],
        blobs: list[list[bytes] | None],
        pfs_hashes: list[bytes] | None = None,
    ) -> None:
        """Files as the commit has them, in columns."""
        kinds = [table.FILE] * len(paths)
        hashes: Sequence[bytes | None] = pfs_hashes or [None] * len(paths)
        self.bytes += sum(sizes)
        start = 0
        while start < len(paths):
            end = start + _CHUNK_ROWS - len(self._columns[0])
            rows: tuple[Sequence[object], ...] = (paths, kinds, sizes, digests, blobs, hashes)
            for column, values in zip(self._columns, rows, strict=True):
                column.extend(values[start:end])
            if len(self._columns[0]) >= _CHUNK_ROWS:
                self._close_full_chunk()
            start = end

    def deleted(self, path: str) -> None:
        """A file that the commit no longer has."""
        self._row(path, table.DELETED, 0, None, None, None)

    def table(self) -> pa.Table:
        """The rows that are in no table yet (schema table.FILES)."""
        self._close_chunk()
        if len(self._chunks) != 1:  # once: deltas ask for the rows of their base again and again
            self._chunks = [pa.concat_tables([table.FILES.empty_table(), *self._chunks])]
        return self._chunks[0]

    def release(self, table_digest: bytes) -> None:
        """Let go of the rows: this table holds them."""
        self.tables.append(table_digest)
        self._chunks, self._table_rows = [], self._chunk_rows

    def _row(
        self,
        path: str,
        kind: int,
        size: int,
        digest: bytes | None,
        blobs: list[bytes] | None,
        pfs_hash: bytes | None,
    ) -> None:
        # columns, not tuples: Python's garbage collector walks every tuple that is alive
        paths, kinds, sizes, digests, blob_lists, hashes = self._columns
        paths.append(path)
        kinds.append(kind)
        sizes.append(size)
        digests.append(digest)
        blob_lists.append(blobs)
        hashes.append(pfs_hash)
        if len(paths) >= _CHUNK_ROWS:
            self._close_full_chunk()

    def _close_full_chunk(self) -> None:
        self._close_chunk()
        if self._put and self.held >= TABLE_ROWS:
            self.release(self._put(self.table()))

    def _close_chunk(self) -> None:
        size = len(self._columns[0])
        if size == 0:
            return
        names = [pa.repeat(self._repo, size), pa.repeat(self._commit, size)]
        types = [field.type for field in table.FILES][2:]
        values = [pa.array(column, kind) for column, kind in zip(self._columns, types, strict=True)]
        self._chunks.append(pa.table([*names, *values], schema=table.FILES))
        self._chunk_rows += size
        for column in self._columns:
            column.clear()

"""Rows of a file table, gathered in chunks."""

from __future__ import annotations

from pachvault.backup.export import row_builder
from pachvault.backup.export.row_builder import RowBuilder
from pachvault.format import table
from pachvault.format.ids import RepoName, digest

REPO = RepoName("p", "r")


def test_files_and_deletions_become_rows_of_the_commit() -> None:
    builder = RowBuilder(REPO, "c1")
    builder.file("/a", 3, digest(b"abc"), None, b"hash")
    builder.file("/l", 9, digest(b"l"), [digest(b"x"), digest(b"y")])
    builder.deleted("/gone")
    result = builder.table()
    assert result.schema == table.FILES
    assert result.to_pylist() == [
        {"repo": "p/r", "commit": "c1", "path": "/a", "kind": table.FILE, "size": 3, "digest": digest(b"abc"),
         "blobs": None, "pfs_hash": b"hash"},
        {"repo": "p/r", "commit": "c1", "path": "/l", "kind": table.FILE, "size": 9, "digest": digest(b"l"),
         "blobs": [digest(b"x"), digest(b"y")], "pfs_hash": None},
        {"repo": "p/r", "commit": "c1", "path": "/gone", "kind": table.DELETED, "size": 0, "digest": None,
         "blobs": None, "pfs_hash": None},
    ]  # fmt: skip
    assert (builder.count, builder.bytes) == (3, 12)


def test_no_rows_give_an_empty_table() -> None:
    assert RowBuilder(REPO, "c1").table().equals(table.FILES.empty_table())


def test_rows_over_several_chunks_keep_their_order() -> None:
    builder = RowBuilder(REPO, "c1")
    count = 2 * row_builder._CHUNK_ROWS + 7
    for number in range(count):
        builder.file(f"/{number}", number, digest(b""), None)
    paths = builder.table()["path"].to_pylist()
    assert paths == [f"/{number}" for number in range(count)]
    assert builder.count == count

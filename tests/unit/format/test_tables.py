"""File tables, commit lists and the index as bytes; folding; what blobs and files they name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
import zstandard

from pachvault.errors import DamageError
from pachvault.format import index, pack, parquet, table
from pachvault.format.ids import digest

A, B, C = (digest(letter) for letter in (b"a", b"b", b"c"))
ODD_PATHS = ["/a b", "/-", "/'\"", "/%2F", "/a,b|c\\d", "/" + "x" * 5000, "/ü€𝄞", "/.hid", "/a/b/c"]


def row(
    path: str, content: bytes | None = A, *, kind: int = table.FILE, size: int = 1, blobs: Any = None
) -> dict[str, Any]:
    return {
        "repo": "p/r",
        "commit": "c1",
        "path": path,
        "kind": kind,
        "size": size,
        "digest": content,
        "blobs": blobs,
        "pfs_hash": None,
    }


def files(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=table.FILES)


def paths(rows: pa.Table) -> list[str]:
    return rows["path"].to_pylist()


def test_a_file_table_survives_with_odd_paths_null_blobs_and_deletions() -> None:
    rows = files(
        *(row(path) for path in ODD_PATHS),
        row("/gone", None, kind=table.DELETED, size=0),
        row("/large", C, size=2, blobs=[A, B]),
        row("/empty", digest(b""), size=0),
    )
    assert table.decode_files(table.encode_files(rows)).equals(rows)


def test_empty_tables_survive() -> None:
    assert table.decode_files(table.encode_files(table.FILES.empty_table())).num_rows == 0
    assert table.decode_commits(table.encode_commits(table.COMMITS.empty_table())).num_rows == 0
    assert index.decode(index.encode(index.SCHEMA.empty_table())).num_rows == 0


def test_a_commit_list_survives() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    whole = {
        "commit": "c1", "parent": None, "listed": True, "origin": "user", "started": at,
        "finished": None, "description": "odd \n ü", "error": "", "size": 7, "base": None,
        "depth": 0, "rows": 2, "tables": [A, B],
    }  # fmt: skip
    rows = pa.Table.from_pylist(
        [whole, whole | {"commit": "c2", "base": "c1", "tables": []}], schema=table.COMMITS
    )
    read = table.decode_commits(table.encode_commits(rows))
    assert read.to_pylist() == rows.to_pylist()


def test_the_same_rows_give_the_same_bytes() -> None:
    rows = files(row("/a"), row("/b", B))
    chunked = pa.concat_tables([rows.slice(0, 1), rows.slice(1)])
    assert table.encode_files(rows) == table.encode_files(files(row("/a"), row("/b", B)))
    assert table.decode_files(table.encode_files(chunked)).equals(rows)


def test_an_index_survives_and_says_where_every_blob_is() -> None:
    blobs = [b"one", b"two" * 500, b"three"]
    builder = pack.PackBuilder()
    compressor = zstandard.ZstdCompressor()
    names = [digest(blob) for blob in blobs]
    builder.add(pack.make_frame(b"".join(blobs[:2]), names[:2], [3, 1500], compressor))
    builder.add(pack.make_frame(blobs[2], names[2:], [5], compressor))
    written = builder.finish()
    rows = index.decode(index.encode(index.of_packs([written])))
    assert rows["blob"].to_pylist() == sorted(names)
    data = b"".join(written.parts)
    for index_row in rows.to_pylist():
        stored = data[index_row["frame_offset"] : index_row["frame_offset"] + index_row["frame_stored"]]
        raw = pack.open_frame(stored, index_row["frame_raw"], index_row["codec"])
        assert digest(raw[index_row["offset"] : index_row["offset"] + index_row["size"]]) == index_row["blob"]
        assert index_row["pack"] == written.digest


def test_no_packs_give_an_empty_index() -> None:
    assert index.of_packs([]).equals(index.SCHEMA.empty_table())


def test_columns_that_this_version_does_not_know_are_dropped() -> None:
    more = files(row("/a")).append_column("mode", pa.array([420]))
    assert table.decode_files(parquet.encode(more)).equals(files(row("/a")))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"garbage" * 100, b"PAR1" + bytes(100) + b"PAR1"])
def test_bytes_that_are_no_table_are_damage(data: bytes) -> None:
    with pytest.raises(DamageError, match="not a table"):
        table.decode_files(data)


def test_a_table_of_another_kind_is_damage() -> None:
    with pytest.raises(DamageError, match="not a table of the expected kind"):
        table.decode_files(table.encode_commits(table.COMMITS.empty_table()))


def test_a_table_cut_anywhere_is_damage() -> None:
    data = table.encode_files(files(row("/a"), row("/b", B)))
    for length in range(0, len(data), 37):
        with pytest.raises(DamageError):
            table.decode_files(data[:length])


def test_a_sealed_object_is_told_from_a_damaged_one() -> None:
    with pytest.raises(DamageError, match="is encrypted"):
        table.decode_files(b"PVSEAL\x01\x00whatever")


def test_folding_nothing_gives_an_empty_tree() -> None:
    assert table.fold([]).equals(table.FILES.empty_table())
    assert table.fold([table.FILES.empty_table()]).num_rows == 0


def test_the_last_layer_counts_and_a_deletion_hides() -> None:
    tree = table.fold(
        [
            files(row("/b"), row("/a"), row("/c")),
            files(row("/a", B), row("/c", None, kind=table.DELETED, size=0)),
            files(row("/d", C), row("/c/sub", C)),
        ]
    )
    assert list(zip(paths(tree), tree["digest"].to_pylist(), strict=True)) == [
        ("/a", B),
        ("/b", A),
        ("/c/sub", C),
        ("/d", C),
    ]
    assert tree.schema == table.FILES


def test_a_file_put_again_after_its_deletion_is_there() -> None:
    gone = row("/a", None, kind=table.DELETED, size=0)
    assert paths(table.fold([files(row("/a")), files(gone), files(row("/a", B))])) == ["/a"]
    assert paths(table.fold([files(row("/a")), files(row("/a", B)), files(gone)])) == []


def test_digests_of_names_single_blobs_and_pieces_but_no_empty_file() -> None:
    rows = files(row("/a"), row("/l", C, size=9, blobs=[A, B]), row("/e", digest(b""), size=0))
    gone = files(row("/g", None, kind=table.DELETED, size=0))
    assert table.digests_of(pa.concat_tables([rows, gone])).tolist() == sorted([A, B])
    assert table.digests_of(table.FILES.empty_table()).tolist() == []


def test_files_with_finds_files_by_blob_and_by_piece_over_chunks() -> None:
    first = files(row("/a"), row("/l", C, size=9, blobs=[A, B]))
    second = files(row("/x", C), row("/m", C, size=9, blobs=[B, B]), row("/g", None, kind=table.DELETED))
    both = pa.concat_tables([first, second, first.slice(0, 0)])
    assert table.files_with(both, [A]) == ["p/r@c1:/a", "p/r@c1:/l"]
    assert table.files_with(both, [B]) == ["p/r@c1:/l", "p/r@c1:/m"]
    assert table.files_with(both, [C]) == ["p/r@c1:/x"]
    assert table.files_with(both, []) == []

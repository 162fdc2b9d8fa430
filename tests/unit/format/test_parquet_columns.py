"""Columns of Parquet objects are found by name, in whatever order another writer put them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pachvault.errors import CorruptError, DamageError
from pachvault.format import index, parquet, table
from pachvault.vault.index.index_rows import IndexRows

ROWS = pa.Table.from_pylist(
    [{"repo": "p/r", "commit": "c", "path": "/gone", "kind": 0, "size": 0}], schema=table.FILES
)


def test_columns_may_come_in_any_order_and_with_others() -> None:
    data = parquet.encode(ROWS.select(ROWS.column_names[::-1]).append_column("later", pa.array(["new"])))
    assert parquet.decode(data, table.FILES_FORM).equals(ROWS)
    assert [batch.equals(ROWS) for batch in parquet.batches(data, table.FILES_FORM)] == [True]


def test_a_column_that_lacks_is_damage() -> None:
    data = parquet.encode(ROWS.drop_columns(["size"]))
    with pytest.raises(DamageError):
        parquet.decode(data, table.FILES_FORM)
    with pytest.raises(DamageError):
        list(parquet.batches(data, table.FILES_FORM))


@pytest.mark.parametrize(
    "name", [name for name in table.FILES.names if name not in ("digest", "blobs", "pfs_hash")]
)
def test_a_null_where_none_may_be_is_damage(name: str) -> None:
    nulls = pa.nulls(1, table.FILES.field(name).type)
    data = parquet.encode(ROWS.set_column(table.FILES.get_field_index(name), name, nulls))
    with pytest.raises(CorruptError, match=f"column {name} has nulls"):
        table.decode_files(data)


@pytest.mark.parametrize("name", index.SCHEMA.names)
def test_a_null_in_a_column_of_the_index_is_damage(name: str) -> None:
    row = {"blob": bytes(32), "pack": bytes(32), "codec": 0}
    row |= dict.fromkeys(("frame_offset", "frame_stored", "frame_raw", "offset", "size"), 8)
    assert len(IndexRows.read(index.encode(pa.Table.from_pylist([row], index.SCHEMA)))) == 1
    data = index.encode(pa.Table.from_pylist([row, row | {name: None}], index.SCHEMA))
    with pytest.raises(CorruptError, match=f"column {name} has nulls"):
        IndexRows.read(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [("size", -1), ("frame_raw", 2**32), ("frame_stored", 2**27), ("frame_offset", -8), ("codec", -1)],
)
def test_a_number_out_of_range_is_damage_of_the_index(name: str, value: int) -> None:
    row = {"blob": bytes(32), "pack": bytes(32), "codec": 0}
    row |= dict.fromkeys(("frame_offset", "frame_stored", "frame_raw", "offset", "size"), 8)
    data = index.encode(pa.Table.from_pylist([row | {name: value}], index.SCHEMA))
    for read in (IndexRows.read, index.decode):
        with pytest.raises(CorruptError, match=f"{name} is out of range"):
            read(data)


def test_a_table_of_too_many_rows_is_refused_by_its_footer() -> None:
    """Ninety million rows that compress to nothing: none of them is decoded."""
    count = 90_000_000
    data = parquet.encode_batches(
        (
            pa.table(
                {"pack": pa.DictionaryArray.from_arrays(pa.repeat(0, count).cast(pa.int8()), [bytes(32)])}
            )
            for _ in "x"
        ),
        pa.schema([("pack", pa.dictionary(pa.int8(), pa.binary()))]),
    )
    assert len(data) < 2**20
    for read in (index.packs_of, table.decode_files, table.decode_commits):
        with pytest.raises(CorruptError, match="its footer gives 90,000,000 rows"):
            read(data)


@pytest.mark.parametrize("changes", [{"kind": 77}, {"size": -1}, {"kind": 1}, {"size": 5}])
def test_rows_that_no_writer_writes_are_damage(changes: dict[str, int]) -> None:
    rows = pa.Table.from_pylist([ROWS.to_pylist()[0] | changes], schema=table.FILES)
    with pytest.raises(CorruptError):
        table.decode_files(parquet.encode(rows))

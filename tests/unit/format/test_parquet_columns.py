"""Columns of Parquet objects are found by name, in whatever order another writer put them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pachvault.errors import DamageError
from pachvault.format import parquet, table

ROWS = pa.Table.from_pylist(
    [{"repo": "p/r", "commit": "c", "path": "/gone", "kind": 0, "size": 0}], schema=table.FILES
)


def test_columns_may_come_in_any_order_and_with_others() -> None:
    data = parquet.encode(ROWS.select(ROWS.column_names[::-1]).append_column("later", pa.array(["new"])))
    assert parquet.decode(data, table.FILES_FORM).equals(ROWS)
    assert [each.equals(ROWS) for each in parquet.batches(data, table.FILES_FORM)] == [True]


def test_a_column_that_lacks_is_damage() -> None:
    data = parquet.encode(ROWS.drop_columns(["size"]))
    with pytest.raises(DamageError):
        parquet.decode(data, table.FILES_FORM)
    with pytest.raises(DamageError):
        list(parquet.batches(data, table.FILES_FORM))

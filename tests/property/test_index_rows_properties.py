"""Index rows as columns: values are kept, and rows are distinguished by all of their columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachvault.errors import DamageError
from pachvault.format import index
from pachvault.format.pack import MOST_FRAME_BYTES
from pachvault.vault.index.index_rows import NUMBERS, IndexRows, RowsByPack, differing

DIGESTS = st.sampled_from([bytes([number]) * 32 for number in range(6)])
ROWS = st.lists(
    st.fixed_dictionaries(
        {"blob": DIGESTS, "pack": DIGESTS}
        | dict.fromkeys(("frame_offset", "frame_stored", "size"), st.sampled_from([8, MOST_FRAME_BYTES]))
        | dict.fromkeys(("frame_raw", "offset"), st.integers(0, MOST_FRAME_BYTES))
        | {"codec": st.integers(0, 1)}
    ),
    max_size=30,
)


def table(rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(rows, index.SCHEMA)


@given(ROWS, ROWS)
def test_a_table_becomes_columns_and_a_table_again(
    some: list[dict[str, object]], more: list[dict[str, object]]
) -> None:
    whole = table([*some, *more])
    assert IndexRows.of([table(some), table(more)]).table().equals(whole.combine_chunks())
    assert IndexRows.read(index.encode(whole)).table().to_pylist() == whole.to_pylist()
    few = IndexRows.read(index.encode(whole), ("size",))
    assert few.integers["size"].tolist() == whole["size"].to_pylist()
    assert few.integers.keys() == {"size"}


@given(ROWS)
def test_each_pack_has_its_rows_and_its_end(rows: list[dict[str, object]]) -> None:
    columns = IndexRows.of([table(rows)])
    by_pack = RowsByPack(columns)
    packs = {row["pack"] for row in rows}
    assert {name for name, _ in columns.pack_ends()} == packs
    for name, end in columns.pack_ends():
        mine = [number for number, row in enumerate(rows) if row["pack"] == name]
        assert by_pack.rows(name).tolist() == mine
        assert end == max(rows[at]["frame_offset"] + rows[at]["frame_stored"] for at in mine)  # type: ignore[operator]  # numbers
        left = columns.without([name])
        assert left.table().to_pylist() == [row for row in rows if row["pack"] != name]
    assert by_pack.rows(b"\xff" * 32).tolist() == []


@given(ROWS, ROWS)
def test_rows_differ_by_all_that_they_say(
    some: list[dict[str, object]], others: list[dict[str, object]]
) -> None:
    others = [*others, *some[:3]]
    here = [tuple(row[name] for name in ("blob", *NUMBERS)) for row in some]
    there = [tuple(row[name] for name in ("blob", *NUMBERS)) for row in others]
    mine, theirs = differing(IndexRows.of([table(some)]), np.arange(len(some)), IndexRows.of([table(others)]))
    assert mine.tolist() == [number for number, row in enumerate(here) if row not in there]
    assert theirs.tolist() == [number for number, row in enumerate(there) if row not in here]


def test_numbers_that_no_pack_can_have_are_damage() -> None:
    row = {"blob": bytes(32), "pack": bytes(32), "codec": 0} | dict.fromkeys(NUMBERS[:3], 1)
    with pytest.raises(DamageError):
        IndexRows.of([table([row | {"offset": 0, "size": 2**32}])])

"""The blob index against a dict."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pachvault.format import index
from pachvault.format.pack import split_digests
from pachvault.vault.index.blob_places import BlobPlaces

# digests that often agree in their first 8 bytes, which is what the index looks at first
DIGESTS = st.tuples(
    st.sampled_from([bytes(8), b"\xff" * 8, b"\x80" + bytes(7), b"sameness"]), st.integers(0, 6)
).map(lambda parts: parts[0] + parts[1].to_bytes(24, "big"))
PACKS = st.integers(0, 3).map(lambda number: bytes(31) + bytes([number]))
ROWS = st.lists(st.tuples(DIGESTS, PACKS, st.integers(0, 99), st.integers(1, 50)), max_size=25)


def table_of(rows: list[tuple[bytes, bytes, int, int]]) -> pa.Table:
    listed_rows = [
        {"blob": blob, "pack": pack, "frame_offset": offset, "frame_stored": size, "frame_raw": size + 1,
         "codec": 1, "offset": offset + 2, "size": size + 3}
        for blob, pack, offset, size in rows
    ]  # fmt: skip
    return pa.Table.from_pylist(listed_rows, schema=index.SCHEMA)


@given(st.lists(ROWS, max_size=4), st.lists(DIGESTS, max_size=20))
def test_look_ups_are_what_a_dict_would_do(
    objects: list[list[tuple[bytes, bytes, int, int]]], wanted: list[bytes]
) -> None:
    """has(d) = d in dict; place(rows(d)) is one of the places that some index object gives d."""
    known = BlobPlaces(pa.concat_tables([index.SCHEMA.empty_table(), *map(table_of, objects)]))
    model: dict[bytes, set[tuple[bytes, int, int]]] = {}
    for blob, pack, offset, size in (row for rows in objects for row in rows):
        model.setdefault(blob, set()).add((pack, offset, size))
    assert len(known) == sum(map(len, objects))
    assert known.has(wanted).tolist() == [blob in model for blob in wanted]
    for blob, row in zip(wanted, known.find_all(wanted).tolist(), strict=True):
        if row >= 0:
            place = known.location(row)
            assert (place.pack, place.frame_offset, place.frame_stored) in model[blob]
            assert (place.offset, place.size) == (place.frame_offset + 2, place.frame_stored + 3)


@given(ROWS)
def test_packs_are_what_a_dict_would_say(rows: list[tuple[bytes, bytes, int, int]]) -> None:
    """pack_ends and blobs_in group the rows by pack."""
    known = BlobPlaces(table_of(rows))
    packs = {pack for _, pack, _, _ in rows}
    assert dict(known.rows.pack_ends()) == {
        pack: max(offset + size for _, pack_of_row, offset, size in rows if pack_of_row == pack)
        for pack in packs
    }
    for pack in packs:
        assert set(split_digests(known.blobs_in(pack))) == {
            blob for blob, pack_of_row, _, _ in rows if pack_of_row == pack
        }
    assert len(known.blobs_in(b"\x07" * 32)) == 0
    all_rows = known.find_all([blob for blob, *_ in rows])
    assert {known.location(row).pack for row in all_rows} <= packs

"""Laws of packs, tables and folding."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pachvault.errors import DamageError
from pachvault.format import index, pack, table
from pachvault.format.ids import digest

COMPRESSOR = pack.new_compressor()
BLOBS = st.lists(st.binary(max_size=3000) | st.integers(0, 20_000).map(lambda size: b"z" * size), max_size=12)
FRAMES = st.lists(BLOBS.filter(bool), max_size=5)
PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12).map(
    lambda name: "/" + name
)
DIGESTS = st.integers(0, 5).map(lambda number: digest(b"%d" % number))
CHANGES = st.dictionaries(PATHS, st.none() | st.tuples(st.integers(0, 9), DIGESTS), max_size=8)


def build(frames: list[list[bytes]]) -> pack.Pack:
    builder = pack.PackBuilder()
    for blobs in frames:
        sizes = [len(blob) for blob in blobs]
        builder.add(pack.make_frame(b"".join(blobs), [digest(blob) for blob in blobs], sizes, COMPRESSOR))
    return builder.finish()


def read(data: bytes) -> list[bytes]:
    """All blobs of a pack, checked, in order; DamageError for anything that is not as it was written."""
    if data[: len(pack.HEADER)] != pack.HEADER:
        raise DamageError("no header")
    trailer = pack.parse_trailer(data[-pack.TRAILER_BYTES :])
    if trailer.pack_bytes != len(data):
        raise DamageError("another length")
    toc = pack.parse_toc(trailer, data[trailer.toc_offset : trailer.toc_offset + trailer.toc_bytes])
    blobs = []
    for number, at in enumerate(toc.frames):
        stored = data[int(at["offset"]) : int(at["offset"]) + int(at["stored"])]
        if not pack.frame_is_intact(stored, int(at["checksum"])):
            raise DamageError("another checksum")
        raw = pack.open_frame(stored, int(at["raw"]), int(at["codec"]))
        rows = toc.blobs[toc.blobs["frame"] == number].tolist()
        blobs += [raw[offset : offset + size] for _, _, offset, size, _ in rows]
    return blobs


@given(FRAMES)
def test_reading_a_pack_gives_what_was_written(frames: list[list[bytes]]) -> None:
    """decode ∘ encode = identity, and the length is the promised one."""
    built = build(frames)
    data = b"".join(built.parts)
    assert len(data) == built.size
    assert read(data) == [blob for blobs in frames for blob in blobs]
    assert pack.split_digests(built.toc.blobs["digest"]) == [
        digest(blob) for blobs in frames for blob in blobs
    ]


@given(FRAMES, st.data())
def test_a_name_vouches_for_every_bit(frames: list[list[bytes]], data: st.DataObject) -> None:
    """Whichever bit of a pack is flipped, reading it does not go unnoticed."""
    whole = b"".join(build(frames).parts)
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    broken = bytearray(whole)
    broken[bit // 8] ^= 1 << bit % 8
    try:
        read(bytes(broken))
    except DamageError:
        return
    raise AssertionError(f"bit {bit} of {len(whole) * 8} was flipped and nobody noticed")


@given(FRAMES, st.data())
def test_no_part_of_a_pack_is_a_pack(frames: list[list[bytes]], data: st.DataObject) -> None:
    """A prefix of a pack is never taken for a pack."""
    whole = b"".join(build(frames).parts)
    length = data.draw(st.integers(0, len(whole) - 1))
    try:
        read(whole[:length])
    except DamageError:
        return
    raise AssertionError(f"{length} of {len(whole)} bytes passed for a pack")


@given(st.lists(FRAMES.filter(bool), max_size=3))
def test_an_index_places_every_blob(packs: list[list[list[bytes]]]) -> None:
    """index.decode(index.encode(of_packs(packs))) has each blob of each pack, sorted."""
    built_packs = [build(frames) for frames in packs]
    rows = index.decode(index.encode(index.of_packs(built_packs)))
    names = rows["blob"].to_pylist()
    assert names == sorted(digest(blob) for frames in packs for blobs in frames for blob in blobs)
    by_name = {written.digest: b"".join(written.parts) for written in built_packs}
    for row in rows.to_pylist():
        stored = by_name[row["pack"]][row["frame_offset"] : row["frame_offset"] + row["frame_stored"]]
        raw = pack.open_frame(stored, row["frame_raw"], row["codec"])
        assert digest(raw[row["offset"] : row["offset"] + row["size"]]) == row["blob"]


Layer = dict[str, tuple[int, bytes] | None]


def layer(changes: Layer) -> pa.Table:
    rows = [
        {"repo": "p/r", "commit": "c", "path": path, "kind": table.FILE if change else table.DELETED,
         "size": change[0] if change else 0, "digest": change[1] if change else None}
        for path, change in changes.items()
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=table.FILES)


def model(layers: list[Layer]) -> Layer:
    tree: Layer = {}
    for changes in layers:
        tree |= changes
    return {path: change for path, change in tree.items() if change is not None}


def as_model(tree: pa.Table) -> Layer:
    return {row["path"]: (row["size"], row["digest"]) for row in tree.to_pylist()}


@given(st.lists(CHANGES, max_size=6))
def test_folding_is_what_a_dict_would_do(layers: list[Layer]) -> None:
    """fold = the last change of each path, deletions left out, sorted by path."""
    tree = table.fold([layer(changes) for changes in layers])
    assert as_model(tree) == model(layers)
    paths = [path.encode() for path in tree["path"].to_pylist()]
    assert all(first < second for first, second in pairwise(paths))


@given(st.lists(CHANGES, max_size=6), st.integers(0, 6))
def test_folding_a_beginning_first_changes_nothing(layers: list[Layer], at: int) -> None:
    """fold(first ++ rest) = fold([fold(first)] ++ rest): what makes a checkpoint equal to its chain."""
    tables = [layer(changes) for changes in layers]
    folded = table.fold([table.fold(tables[:at]), *tables[at:]])
    assert folded.to_pylist() == table.fold(tables).to_pylist()


@given(st.lists(CHANGES, max_size=3))
def test_file_tables_survive_their_encoding(layers: list[Layer]) -> None:
    """decode ∘ encode = identity, over several chunks too."""
    stacked = pa.concat_tables([table.FILES.empty_table(), *map(layer, layers)])
    assert table.decode_files(table.encode_files(stacked)).to_pylist() == stacked.to_pylist()


PIECES = st.none() | st.lists(DIGESTS, min_size=1, max_size=4)


@given(
    st.lists(st.tuples(st.integers(0, 9), PIECES), max_size=8),
    st.integers(1, 8),
    st.sets(DIGESTS, max_size=3),
)
def test_files_with_is_the_inverse_of_digests_of(
    files: list[tuple[int, list[bytes] | None]], split: int, wanted: set[bytes]
) -> None:
    """A file is named by files_with(B) exactly if digests_of it and B have a blob in common."""
    rows = [
        {"repo": "p/r", "commit": "c", "path": f"/{number}", "kind": table.FILE,
         "size": size + bool(blobs), "digest": digest(b"0") if size or blobs else digest(b""), "blobs": blobs}
        for number, (size, blobs) in enumerate(files)
    ]  # fmt: skip
    whole = pa.Table.from_pylist(rows, schema=table.FILES)
    chunked = pa.concat_tables([whole.slice(at, split) for at in range(0, max(len(rows), 1), split)])
    expected = [
        f"p/r@c:/{number}"
        for number in range(len(rows))
        if wanted & set(table.digests_of(whole.slice(number, 1)).tolist())
    ]
    assert table.files_with(chunked, wanted) == expected

"""Packs: what was put in comes out, and what was changed on the way is noticed."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import zstandard

from pachvault.errors import DamageError
from pachvault.format import pack
from pachvault.format.ids import digest
from pachvault.format.pack import Frame, Pack, PackBuilder, Toc

COMPRESSOR = pack.new_compressor()


def frame(*blobs: bytes) -> Frame:
    return pack.make_frame(
        b"".join(blobs), [digest(blob) for blob in blobs], [len(blob) for blob in blobs], COMPRESSOR
    )


def build(*frames: Frame) -> Pack:
    builder = PackBuilder()
    for part in frames:
        builder.add(part)
    return builder.finish()


def read_toc(data: bytes) -> Toc:
    trailer = pack.parse_trailer(data[-pack.TRAILER_BYTES :])
    return pack.parse_toc(trailer, data[trailer.toc_offset : trailer.toc_offset + trailer.toc_bytes])


def contents(data: bytes) -> dict[bytes, bytes]:
    """Every blob of a pack by digest, from nothing but the pack's bytes."""
    toc = read_toc(data)
    blobs = {}
    for name, row in zip(pack.split_digests(toc.blobs["digest"]), toc.blobs, strict=True):
        at = toc.frames[row["frame"]]
        stored = data[int(at["offset"]) : int(at["offset"]) + int(at["stored"])]
        assert pack.frame_is_intact(stored, int(at["checksum"]))
        raw = pack.open_frame(stored, int(at["raw"]), int(at["codec"]))
        blobs[name] = raw[int(row["offset"]) : int(row["offset"]) + int(row["size"])]
    return blobs


def test_a_pack_is_read_from_its_own_bytes() -> None:
    blobs = [b"a", b"x" * 5000, bytes(range(256)), b""]
    built = build(frame(blobs[0], blobs[1]), frame(blobs[2]), frame(blobs[3]))
    data = b"".join(built.parts)
    assert len(data) == built.size
    assert contents(data) == {digest(blob): blob for blob in blobs}
    assert pack.parse_trailer(data[-64:]).digest == built.digest
    assert pack.parse_trailer(data[-64:]).pack_bytes == len(data)


def test_the_layout_has_the_lengths_that_the_format_gives() -> None:
    assert (pack.TRAILER_BYTES, pack.FRAME.itemsize, pack.BLOB.itemsize, len(pack.HEADER)) == (64, 32, 48, 8)


def test_the_same_frames_make_the_same_pack() -> None:
    first, second = build(frame(b"one"), frame(b"two")), build(frame(b"one"), frame(b"two"))
    assert first.digest == second.digest
    assert b"".join(first.parts) == b"".join(second.parts)
    assert build(frame(b"two"), frame(b"one")).digest != first.digest


def test_compressible_bytes_are_compressed_and_others_are_kept_raw() -> None:
    noise = np.random.default_rng(7).bytes(10_000)
    assert frame(b"z" * 10_000).codec == pack.CODEC_ZSTD
    assert len(frame(b"z" * 10_000).stored) < 100
    assert frame(noise).codec == pack.CODEC_RAW
    assert frame(noise).stored == noise
    assert frame(b"").codec == pack.CODEC_RAW


def test_an_empty_builder_is_false_and_knows_its_size() -> None:
    builder = PackBuilder()
    assert not builder
    assert builder.size == len(pack.HEADER) + pack.TRAILER_BYTES
    builder.add(frame(b"x"))
    assert builder
    assert builder.size == builder.finish().size


@pytest.mark.parametrize("length", [0, 1, 63, 64, 100])
def test_a_pack_cut_short_has_no_trailer(length: int) -> None:
    data = b"".join(build(frame(b"hello" * 100)).parts)[:-1][:length] if length < 100 else b"x" * 64
    with pytest.raises(DamageError, match="no trailer at the end"):
        pack.parse_trailer(data[-64:])


def test_every_flipped_bit_of_the_trailer_is_found() -> None:
    data = b"".join(build(frame(b"a"), frame(b"b")).parts)
    for bit in range(64 * 8):
        broken = bytearray(data)
        broken[len(data) - 64 + bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamageError):
            read_toc(bytes(broken))


def test_every_flipped_bit_of_the_table_of_contents_is_found() -> None:
    built = build(frame(b"a"), frame(b"b"))
    data = b"".join(built.parts)
    start = pack.parse_trailer(data[-64:]).toc_offset
    for bit in range(start * 8, (len(data) - 64) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamageError, match="table of contents"):
            read_toc(bytes(broken))


def test_a_sealed_pack_is_refused_by_its_seal() -> None:
    tail = pack.TRAILER.pack(8, 0, 0, 1, 0, bytes(32), pack.END)
    with pytest.raises(DamageError, match="is encrypted"):
        pack.parse_trailer(tail)


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(DamageError, match="codec 9"):
        pack.open_frame(b"abc", 3, 9)


def test_a_frame_of_another_length_than_promised_is_damaged() -> None:
    with pytest.raises(DamageError, match="3 bytes, 4 are recorded"):
        pack.open_frame(b"abc", 4, pack.CODEC_RAW)
    with pytest.raises(DamageError):
        pack.open_frame(COMPRESSOR.compress(b"abc" * 99), 296, pack.CODEC_ZSTD)
    with pytest.raises(DamageError, match="297 bytes, 298 are recorded"):
        pack.open_frame(COMPRESSOR.compress(b"abc" * 99), 298, pack.CODEC_ZSTD)


def test_a_damaged_frame_never_makes_us_allocate_what_it_claims() -> None:
    """Whatever bit is flipped, the answer is bytes of the promised length or DamageError."""
    stored = COMPRESSOR.compress(b"hello world" * 100)
    damaged = 0
    for bit in range(len(stored) * 8):
        broken = bytearray(stored)
        broken[bit // 8] ^= 1 << bit % 8
        try:
            assert len(pack.open_frame(bytes(broken), 1100, pack.CODEC_ZSTD)) == 1100
        except DamageError:
            damaged += 1
    assert damaged > 50


def test_a_flipped_bit_of_a_frame_changes_its_checksum() -> None:
    built = build(frame(b"hello" * 100))
    row = built.toc.frames[0]
    stored = bytearray(built.parts[1])
    assert pack.frame_is_intact(bytes(stored), int(row["checksum"]))
    for bit in range(len(stored) * 8):
        stored[bit // 8] ^= 1 << bit % 8
        assert not pack.frame_is_intact(bytes(stored), int(row["checksum"]))
        stored[bit // 8] ^= 1 << bit % 8


def test_a_frame_that_claims_gigabytes_is_refused_before_anything_is_allocated() -> None:
    small = pack.new_compressor().compress(b"x" * 1000)
    with pytest.raises(DamageError, match="4,294,967,295 bytes, no frame has more than 67,108,864"):
        pack.open_frame(small, 2**32 - 1, pack.CODEC_ZSTD)
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(2**27))
    with pytest.raises(DamageError, match="more than the 67,108,864 bytes that are recorded"):
        pack.open_frame(bomb, pack.MOST_FRAME_BYTES, pack.CODEC_ZSTD)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("frames", "raw", 2**27),
        ("frames", "stored", 2**31),
        ("frames", "offset", 2**63),
        ("frames", "offset", 0),
        ("blobs", "frame", 9),
        ("blobs", "offset", 2**31),
        ("blobs", "size", 2**32 - 1),
    ],
)
def test_a_toc_with_absurd_numbers_is_refused_though_its_digest_is_right(
    part: str, field: str, value: int
) -> None:
    builder = pack.PackBuilder()
    builder.add(pack.make_frame(b"abc", [digest(b"abc")], [3], pack.new_compressor()))
    built = builder.finish()
    frames, blobs = built.toc.frames.copy(), built.toc.blobs.copy()
    {"frames": frames, "blobs": blobs}[part][field][0] = value
    toc = frames.tobytes() + blobs.tobytes()
    counts = struct.pack("<QIIB3xI", 11, 1, 1, pack.SEAL_PLAIN, 0)
    trailer = pack.parse_trailer(counts + digest(toc + counts) + pack.END)
    with pytest.raises(DamageError, match="table of contents"):
        pack.parse_toc(trailer, toc)

"""Packs: objects that hold many blobs and list them (docs/format.md, section 5).

A pack is a header, frames, a table of contents (TOC) and a trailer. A frame holds one blob, or several small
ones that are compressed together. A pack is named by the digest of its TOC, and the TOC has a checksum of
each frame. So the name covers every byte, and a reader can verify it without a key.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
import zstandard
from numpy.typing import NDArray

from pachvault.errors import CorruptError
from pachvault.format.ids import DIGEST_BYTES, digest

HEADER = b"PVPACK\x01\x00"
END = b"PVPEND\x01\x00"
TRAILER = struct.Struct("<QIIB3xI32s8s")  # toc offset, frames, blobs, seal, salt, digest, END
_COUNTS = struct.Struct("<QIIB3xI")  # the trailer up to its digest
TRAILER_BYTES = TRAILER.size

MOST_FRAME_BYTES = 64 * 2**20
"""The most bytes of a decoded frame. Larger ones are refused before allocation (docs/format.md, 5.7)."""
MOST_STORED_BYTES = MOST_FRAME_BYTES + 2**20
MOST_TOC_BYTES = 2**30

CODEC_RAW = 0
CODEC_ZSTD = 1
SEAL_PLAIN = 0

_COMPRESSION = zstandard.ZstdCompressionParameters(
    window_log=20,  # a frame
    hash_log=17,
    chain_log=14,
    search_log=1,
    min_match=7,
    strategy=zstandard.STRATEGY_FAST,
    write_content_size=True,
)
"""zstd's fastest strategy with a hash table of the size of a frame. Measured on text, tables and source code:
0 to 5 % larger than level 3, in three fifths of its time."""
_SAMPLE_BYTES = 16 * 1024
_SLICE_BYTES = 2 * 1024

FRAME = np.dtype(
    [("offset", "<u8"), ("stored", "<u4"), ("raw", "<u4"), ("checksum", "<u8"), ("codec", "u1"), ("_", "V7")]
)
BLOB = np.dtype([("digest", "V32"), ("frame", "<u4"), ("offset", "<u4"), ("size", "<u4"), ("_", "V4")])


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame ready to be written: its stored bytes, and its blobs in order."""

    stored: bytes
    raw_bytes: int
    codec: int
    digests: tuple[bytes, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Toc:
    """A pack's table of contents: `frames` has dtype FRAME, `blobs` has dtype BLOB."""

    frames: NDArray[np.void]
    blobs: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Pack:
    """A complete pack: its digest, its bytes in parts, and its TOC."""

    digest: bytes
    parts: list[bytes]
    size: int
    toc: Toc


def new_compressor() -> zstandard.ZstdCompressor:
    """A compressor for `make_frame`. It must be used by one thread at a time."""
    return zstandard.ZstdCompressor(compression_params=_COMPRESSION)


def make_frame(
    data: bytes | memoryview, digests: list[bytes], sizes: list[int], compressor: zstandard.ZstdCompressor
) -> Frame:
    """A frame of `data`, the blobs one after the other; stored raw where compression gains little."""
    # small data is compressed at once: a sample of half of it would save nothing
    if len(data) < 2 * _SAMPLE_BYTES or _compressed(_sample(data), compressor) is not None:
        packed = _compressed(data, compressor)
        if packed is not None:
            return Frame(packed, len(data), CODEC_ZSTD, tuple(digests), tuple(sizes))
    return Frame(bytes(data), len(data), CODEC_RAW, tuple(digests), tuple(sizes))


def _compressed(data: bytes | memoryview, compressor: zstandard.ZstdCompressor) -> bytes | None:
    """`data` compressed; None where that saves less than a 32nd."""
    packed = compressor.compress(data)
    return packed if len(packed) < len(data) - len(data) // 32 else None


def _sample(data: bytes | memoryview) -> bytes:
    """Slices from all parts of `data`. If they do not compress, `data` is not compressed: that saves time."""
    slices, step = _SAMPLE_BYTES // _SLICE_BYTES, len(data) * _SLICE_BYTES // _SAMPLE_BYTES
    return b"".join(data[number * step : number * step + _SLICE_BYTES] for number in range(slices))


def open_frame(stored: bytes | memoryview, raw_bytes: int, codec: int) -> bytes:
    """The decoded frame: its blobs, one after the other.

    Raises CorruptError where the bytes do not decode to `raw_bytes` bytes.
    """
    if raw_bytes > MOST_FRAME_BYTES:
        raise CorruptError(
            f"a frame is recorded with {raw_bytes:,} bytes, no frame has more than {MOST_FRAME_BYTES:,}"
        )
    if codec == CODEC_RAW:
        data = bytes(stored)
    elif codec == CODEC_ZSTD:
        try:
            # a damaged frame may claim any size, and that much memory would be allocated
            if zstandard.frame_content_size(stored) > raw_bytes:
                raise CorruptError(f"the frame has more than the {raw_bytes:,} bytes that are recorded")
            # a new one for each call: a decompressor must not be shared by threads
            data = zstandard.ZstdDecompressor().decompress(stored, max_output_size=raw_bytes)
        except zstandard.ZstdError as error:
            # libzstd's message for real lack of memory; a frame that claims too much fails otherwise
            if "Allocation error" in str(error):
                raise MemoryError(str(error)) from error
            raise CorruptError(f"frame does not decompress: {error}") from error
    else:
        raise CorruptError(f"the frame is recorded with codec {codec}, which this version does not support")
    if len(data) != raw_bytes:
        raise CorruptError(f"the frame has {len(data)} bytes, {raw_bytes} are recorded")
    return data


@dataclass(slots=True)
class PackBuilder:
    """Builds one pack from frames, in the order in which they are added."""

    size: int = len(HEADER) + TRAILER_BYTES
    """The size of the pack if it were finished now."""
    _frames: list[tuple[bytes, int, int]] = field(default_factory=list)
    _blobs: list[NDArray[np.void]] = field(default_factory=list)

    def add(self, frame: Frame) -> None:
        """Append a frame. Its blobs become array rows at once: a million objects would take much memory."""
        blobs = np.zeros(len(frame.digests), BLOB)
        sizes = np.array(frame.sizes, "<u4")
        blobs["digest"] = np.frombuffer(b"".join(frame.digests), "V32")
        blobs["frame"] = len(self._frames)
        blobs["size"] = sizes
        blobs["offset"] = np.cumsum(sizes, dtype="<u4") - sizes
        self._frames.append((frame.stored, frame.raw_bytes, frame.codec))
        self._blobs.append(blobs)
        self.size += len(frame.stored) + FRAME.itemsize + blobs.nbytes

    def __bool__(self) -> bool:
        return bool(self._frames)

    def finish(self, salt: int = 0) -> Pack:
        """The complete pack. Each `salt` gives it another name (docs/format.md, 3.7)."""
        frames = np.zeros(len(self._frames), FRAME)
        offset = len(HEADER)
        for number, (stored, raw_bytes, codec) in enumerate(self._frames):
            checksum = xxhash.xxh3_64_intdigest(stored)
            frames[number] = (offset, len(stored), raw_bytes, checksum, codec, b"")
            offset += len(stored)
        blobs = np.concatenate([np.empty(0, BLOB), *self._blobs])
        toc_bytes = frames.tobytes() + blobs.tobytes()
        counts = (offset, len(frames), len(blobs), SEAL_PLAIN, salt)
        name = digest(toc_bytes + _COUNTS.pack(*counts))
        trailer = TRAILER.pack(*counts, name, END)
        # not joined: that would copy 64 MiB
        parts = [HEADER, *(stored for stored, _, _ in self._frames), toc_bytes, trailer]
        return Pack(name, parts, offset + len(toc_bytes) + TRAILER_BYTES, Toc(frames, blobs))


@dataclass(frozen=True, slots=True)
class Trailer:
    """The fields of a pack's last 64 bytes."""

    toc_offset: int
    frame_count: int
    blob_count: int
    seal: int
    salt: int
    digest: bytes

    @property
    def toc_bytes(self) -> int:
        """The length of the TOC, by the counts."""
        return self.frame_count * FRAME.itemsize + self.blob_count * BLOB.itemsize

    @property
    def pack_bytes(self) -> int:
        """The length of the pack, by the counts."""
        return self.toc_offset + self.toc_bytes + TRAILER_BYTES


def parse_trailer(tail: bytes) -> Trailer:
    """The trailer from a pack's last TRAILER_BYTES bytes, or CorruptError."""
    if len(tail) != TRAILER_BYTES or not tail.endswith(END):
        raise CorruptError("no trailer at the end: the object is incomplete or is not a pack")
    fields = TRAILER.unpack(tail)
    # format 5.4: the digest is computed with zeros here, so it would not notice other bytes
    if tail != TRAILER.pack(*fields):
        raise CorruptError("the pack's trailer holds bytes that should be zero")
    trailer = Trailer(*fields[:-1])
    if trailer.seal != SEAL_PLAIN:
        raise CorruptError("the pack is encrypted, and this version reads plain packs only")
    # format 5.7: before a reader allocates memory for it
    if trailer.toc_bytes > MOST_TOC_BYTES:
        raise CorruptError(f"the trailer records a table of contents of {trailer.toc_bytes:,} bytes")
    return trailer


def parse_toc(trailer: Trailer, toc_bytes: bytes) -> Toc:
    """The TOC, verified against the digest in the trailer, or CorruptError."""
    counts = (trailer.toc_offset, trailer.frame_count, trailer.blob_count, trailer.seal, trailer.salt)
    if digest(toc_bytes, _COUNTS.pack(*counts)) != trailer.digest:
        raise CorruptError("the table of contents does not have the digest in the trailer")
    split = trailer.frame_count * FRAME.itemsize
    frames = np.frombuffer(toc_bytes, FRAME, trailer.frame_count)
    toc = Toc(frames, np.frombuffer(toc_bytes, BLOB, trailer.blob_count, split))
    _check(toc, trailer.toc_offset)
    return toc


def _check(toc: Toc, end: int) -> None:
    """CorruptError where a frame is outside the pack, a blob is outside its frame, or a size is too large."""
    # 64 bits: the sums below could wrap around in 32
    stored, raw = toc.frames["stored"].astype(np.uint64), toc.frames["raw"]
    # the first comparison catches offsets so large that the sum of the second wraps around
    is_outside = (toc.frames["offset"] > end) | (toc.frames["offset"] + stored > end)
    if is_outside.any() or (toc.frames["offset"] < len(HEADER)).any():
        raise CorruptError("its table of contents places a frame outside the pack")
    if (raw > MOST_FRAME_BYTES).any() or (stored > MOST_STORED_BYTES).any():
        raise CorruptError(f"its table of contents has a frame of more than {MOST_FRAME_BYTES:,} bytes")
    # before the frame is used as an index below
    if (toc.blobs["frame"] >= len(toc.frames)).any():
        raise CorruptError("its table of contents places a blob in a frame that it does not list")
    ends = toc.blobs["offset"].astype(np.uint64) + toc.blobs["size"]
    if (ends > raw[toc.blobs["frame"]]).any():
        raise CorruptError("its table of contents places a blob outside its frame")


def frame_is_intact(stored: bytes | memoryview, checksum: int) -> bool:
    """Whether a frame's stored bytes have the checksum that the TOC gives."""
    return xxhash.xxh3_64_intdigest(stored) == checksum


def split_digests(column: NDArray[Any]) -> list[bytes]:
    """A column of dtype V32 or S32 as a list of 32-byte digests; numpy's own `tolist` cuts zeros off S32."""
    data = column.tobytes()
    return [data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES)]

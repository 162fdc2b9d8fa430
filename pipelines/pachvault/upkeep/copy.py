"""Blobs from packs into new packs: for repack, repair and erase. Each is checked on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import zstandard

from pachvault.backup.cut import FRAME_BLOBS, FRAME_BYTES, ZSTD_LEVEL
from pachvault.errors import DamageError
from pachvault.format import pack
from pachvault.vault.blobs import BlobIndex
from pachvault.vault.reader import BlobReader
from pachvault.vault.writer import PackWriter

_AT_ONCE = 1000
_BYTES_AT_ONCE = 16 * 1024 * 1024


def copy(reader: BlobReader, writer: PackWriter, blobs: Iterable[bytes]) -> list[bytes]:
    """Write the blobs to new packs, in their order; those that cannot be read."""
    lost: list[bytes] = []
    names: list[bytes] = []
    data: list[bytes] = []
    held = 0
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)

    def close() -> None:
        nonlocal held
        if names:
            writer.add(pack.make_frame(b"".join(data), list(names), [len(each) for each in data], compressor))
        names.clear()
        data.clear()
        held = 0

    for blob, content in read(reader, blobs):
        if content is None:
            lost.append(blob)
            continue
        if held + len(content) > FRAME_BYTES or len(names) >= FRAME_BLOBS:
            close()
        names.append(blob)
        data.append(content)
        held += len(content)
    close()
    return lost


def read(reader: BlobReader, blobs: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
    """Each blob with its bytes, which are checked; None where it cannot be read."""
    for some in _batches(reader.index, blobs):
        try:
            found: Sequence[bytes | None] = reader.read_many(some)
        except DamageError:
            found = [_tried(reader, blob) for blob in some]
        yield from zip(some, found, strict=True)


def in_order(places: BlobIndex, wanted: Sequence[bytes]) -> list[bytes]:
    """Blobs as they lie in the packs, so that a frame is decoded once."""
    if not wanted:
        return []
    order = np.argsort(places.place_order()[places.rows(wanted)], kind="stable")
    return [wanted[number] for number in order]


def _batches(places: BlobIndex, blobs: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Many blobs where they are small, few where they are large."""
    source = iter(blobs)
    while some := list(islice(source, _AT_ONCE)):
        rows = places.rows(some)
        batch: list[bytes] = []
        held = 0
        sizes = (size for *_, size in places.spots(rows)) if len(places) else [0] * len(some)
        for blob, size in zip(some, sizes, strict=True):
            if batch and held + size > _BYTES_AT_ONCE:
                yield batch
                batch, held = [], 0
            batch.append(blob)
            held += size
        yield batch


def _tried(reader: BlobReader, blob: bytes) -> bytes | None:
    try:
        return reader.read(blob)
    except DamageError:
        return None

"""Blobs from packs into new packs: for repack, repair and erase. Each is checked on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pachvault.backup.export.frame_writer import FRAME_BLOBS, FRAME_BYTES
from pachvault.errors import DamageError
from pachvault.format import pack
from pachvault.format.digests import Digests
from pachvault.vault.blob_places import BlobPlaces
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.pack_writer import PackWriter

_AT_ONCE = 1000
_BYTES_AT_ONCE = 16 * 1024 * 1024


def copy(reader: BlobReader, writer: PackWriter, blobs: Digests) -> list[bytes]:
    """Write the blobs to new packs, in their order; those that cannot be read."""
    lost: list[bytes] = []
    names: list[bytes] = []
    data: list[bytes] = []
    held = 0
    compressor = pack.new_compressor()

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


def read(reader: BlobReader, blobs: Digests) -> Iterator[tuple[bytes, bytes | None]]:
    """Each blob with its bytes, which are checked; None where it cannot be read."""
    for some in _batches(reader.index, blobs):
        try:
            found: Sequence[bytes | None] = reader.read_many(some)
        except DamageError:
            found = [_tried(reader, blob) for blob in some]
        yield from zip(some, found, strict=True)


def in_order(places: BlobPlaces, wanted: Digests) -> Digests:
    """Blobs as they lie in the packs, so that a frame is decoded once."""
    return wanted.take(places.place_order(places.find(wanted)))


def _batches(places: BlobPlaces, blobs: Digests) -> Iterator[list[bytes]]:
    """Many blobs where they are small, few where they are large."""
    for first in range(0, len(blobs), _AT_ONCE):
        some = blobs[first : first + _AT_ONCE]
        sizes = places.sizes(places.find(some))
        of_blob = np.cumsum(sizes, dtype=np.int64) // _BYTES_AT_ONCE
        for batch in np.split(some, np.flatnonzero(np.diff(of_blob)) + 1):
            yield pack.split_digests(batch)


def _tried(reader: BlobReader, blob: bytes) -> bytes | None:
    try:
        return reader.read(blob)
    except DamageError:
        return None

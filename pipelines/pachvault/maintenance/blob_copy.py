"""Copies blobs from packs to new packs, for repack, repair and erase. The digest of each is verified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pachvault.backup.export.frame_writer import FRAME_BLOBS, FRAME_BYTES
from pachvault.errors import DamageError
from pachvault.format import pack
from pachvault.format.digests import Digests
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index.blob_places import BlobPlaces
from pachvault.vault.pack_writer import PackWriter

_AT_ONCE = 1000
_BYTES_AT_ONCE = 16 * 1024 * 1024


def copy(reader: BlobReader, writer: PackWriter, blobs: Digests) -> list[bytes]:
    """Write blobs to new packs, in the given order; returns those that cannot be read."""
    unread: list[bytes] = []
    names: list[bytes] = []
    data: list[bytes] = []
    frame_bytes = 0
    compressor = pack.new_compressor()

    def close() -> None:
        nonlocal frame_bytes
        if names:
            writer.add(
                pack.make_frame(b"".join(data), list(names), [len(content) for content in data], compressor)
            )
        names.clear()
        data.clear()
        frame_bytes = 0

    for blob, content in read(reader, blobs):
        if content is None:
            unread.append(blob)
            continue
        # format 5.2, with the limits of an export: a repack must not make frames that cost a reader more
        if frame_bytes + len(content) > FRAME_BYTES or len(names) >= FRAME_BLOBS:
            close()
        names.append(blob)
        data.append(content)
        frame_bytes += len(content)
    close()
    return unread


def read(reader: BlobReader, blobs: Digests) -> Iterator[tuple[bytes, bytes | None]]:
    """Each blob with its verified bytes; None where it cannot be read."""
    for batch in _batches(reader.index, blobs):
        try:
            contents: Sequence[bytes | None] = reader.read_many(batch)
        except DamageError:
            # one by one: only the damaged ones of the batch are lost
            contents = [_content(reader, blob) for blob in batch]
        yield from zip(batch, contents, strict=True)


def in_order(places: BlobPlaces, wanted: Digests) -> Digests:
    """Blobs in the order of their places in packs, so that each frame is decoded once."""
    return wanted.take(places.place_order(places.find(wanted)))


def _batches(places: BlobPlaces, blobs: Digests) -> Iterator[list[bytes]]:
    """Batches of up to 1000 blobs and about 16 MiB."""
    for first in range(0, len(blobs), _AT_ONCE):
        part = blobs[first : first + _AT_ONCE]
        sizes = places.sizes(places.find(part))
        batch_numbers = np.cumsum(sizes, dtype=np.int64) // _BYTES_AT_ONCE
        for batch in np.split(part, np.flatnonzero(np.diff(batch_numbers)) + 1):
            yield pack.split_digests(batch)


def _content(reader: BlobReader, blob: bytes) -> bytes | None:
    try:
        return reader.read(blob)
    except DamageError:
        return None

"""Blobs from packs into new packs: for repack, repair and erase. Each is checked on the way."""

from __future__ import annotations

from collections.abc import Iterable

import zstandard

from pachvault.backup.cut import FRAME_BLOBS, FRAME_BYTES, ZSTD_LEVEL
from pachvault.errors import DamageError
from pachvault.format import pack
from pachvault.vault.reader import BlobReader
from pachvault.vault.writer import PackWriter


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

    for blob in blobs:
        try:
            content = reader.read(blob)
        except DamageError:
            lost.append(blob)
            continue
        if held + len(content) > FRAME_BYTES or len(names) >= FRAME_BLOBS:
            close()
        names.append(blob)
        data.append(content)
        held += len(content)
    close()
    return lost

"""Tables of contents of packs in a vault, read and checked without reading the frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pachvault.errors import CorruptError
from pachvault.format import layout, pack
from pachvault.format.ids import digest
from pachvault.vault.vault import Vault


def read_toc(vault: Vault, name: str, size: int) -> pack.Toc:
    """The TOC of the pack at a path, `size` bytes long; DamageError where anything but a frame is damaged."""
    actual, toc = read_any_toc(vault, name, size)
    # format 3.2
    if actual != layout.named_digest(name):
        raise CorruptError("the content is a pack with another name")
    return toc


def read_any_toc(vault: Vault, name: str, size: int) -> tuple[bytes, pack.Toc]:
    """The digest and the TOC of the pack at a path, whatever its name; DamageError where it is none."""
    if size < pack.TRAILER_BYTES:
        raise CorruptError("too short for a pack")
    if vault.store.get_range(name, 0, len(pack.HEADER)) != pack.HEADER:
        raise CorruptError("does not begin with the header of a pack")
    tail = vault.store.get_range(name, size - pack.TRAILER_BYTES, pack.TRAILER_BYTES)
    trailer = pack.parse_trailer(tail)
    # before the TOC is read: it bounds the range that is asked for by the real size
    if trailer.pack_bytes != size:
        raise CorruptError(f"the object has {size} bytes, its trailer records {trailer.pack_bytes}")
    return trailer.digest, pack.parse_toc(
        trailer, vault.store.get_range(name, trailer.toc_offset, trailer.toc_bytes)
    )


def blobs_by_frame(toc: pack.Toc) -> Iterator[tuple[np.void, NDArray[np.intp]]]:
    """Every frame of a pack, with the numbers of its blobs in the TOC."""
    of_blob = toc.blobs["frame"]
    order = np.argsort(of_blob, kind="stable")
    bounds = np.searchsorted(of_blob[order], np.arange(len(toc.frames) + 1)).tolist()
    for frame, first, last in zip(toc.frames, bounds[:-1], bounds[1:], strict=True):
        yield frame, order[first:last]


def damaged_blobs(toc: pack.Toc, rows: NDArray[np.intp], data: bytes) -> list[int]:
    """Those of a frame's blobs that do not have their digest; `rows` are their numbers in the TOC."""
    entries: Iterable[tuple[int, bytes, int, int]] = zip(
        rows.tolist(), *_columns(toc.blobs[rows]), strict=True
    )
    return [row for row, name, first, size in entries if digest(data[first : first + size]) != name]


def _columns(blobs: NDArray[np.void]) -> tuple[list[Any], ...]:
    return pack.split_digests(blobs["digest"]), blobs["offset"].tolist(), blobs["size"].tolist()

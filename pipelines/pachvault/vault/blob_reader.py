"""Reads blobs: fetches frames by byte range, decodes them, and verifies every blob's digest.

Where a blob is damaged in one place, every other place that the index has for it is tried.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from blake3 import blake3

from pachvault.errors import AbsentError, CorruptError, DamageError
from pachvault.format import layout, pack
from pachvault.format.ids import digest
from pachvault.store.store import object_url
from pachvault.vault.index.blob_places import BlobLocation, BlobPlaces
from pachvault.vault.vault import Vault

CACHE_BYTES = 64 * 1024 * 1024


class BlobReader:
    """Reads blobs of one vault; threads may share it. Caches at most `cache_bytes` of decoded frames."""

    def __init__(self, vault: Vault, index: BlobPlaces, cache_bytes: int | None = None) -> None:
        self.vault = vault
        self.index = index
        self._frames: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        self._cached_bytes = 0
        self._cache_bytes = CACHE_BYTES if cache_bytes is None else cache_bytes
        self._lock = threading.Lock()

    def place(self, blob: bytes) -> BlobLocation:
        """The first place of a blob; AbsentError where the index has none."""
        row = int(self.index.find_all([blob])[0])
        if row < 0:
            raise AbsentError(f"blob {blob.hex()} is in no usable pack")
        return self.index.location(row)

    def read(self, blob: bytes) -> bytes:
        """A blob's bytes, verified; DamageError where no place has them intact."""
        first = self.place(blob)
        try:
            return self._blob_at(first, blob)
        except DamageError:
            # only now: the first lookup of all places computes arrays over the whole index
            for other in self.index.locations(blob):
                if other != first and (data := self._blob_if_intact(other, blob)) is not None:
                    return data
            raise

    def read_many(self, blobs: list[bytes]) -> list[bytes]:
        """Several blobs, as `read` gives them. Blobs of one frame that follow each other cost one fetch."""
        if not len(self.index):
            return list(self.stream(blobs))
        rows = self.index.find_all(blobs)
        contents: list[bytes] = []
        last, frame = None, b""
        for blob, row, (pack_code, frame_offset, offset, size) in zip(
            blobs, rows.tolist(), self.index.positions(rows), strict=True
        ):
            if last != (pack_code, frame_offset):
                last, frame = (pack_code, frame_offset), self._frame_or_nothing(row)
            # a blob without a place has row -1 and the position of the last row: `row >= 0` below drops that
            data = frame[offset : offset + size]
            contents.append(data if row >= 0 and digest(data) == blob else self.read(blob))
        return contents

    def stream(self, blobs: list[bytes]) -> Iterator[bytes]:
        """The bytes of several blobs, one after the other."""
        return map(self.read, blobs)

    def file(self, size: int, content: bytes, blobs: Sequence[bytes]) -> Iterator[bytes]:
        """The content of a file, as its row in a file table describes it: size, digest, blobs (may be none).

        Raises CorruptError after the last piece where intact blobs do not make up the file.
        """
        hasher = blake3() if blobs else None  # the digest of a single blob was checked
        read_bytes = 0
        for data in self.stream(list(blobs) or ([content] if size else [])):
            read_bytes += len(data)
            if hasher is not None:
                hasher.update(data)
            yield data
        if read_bytes != size or (hasher is not None and hasher.digest() != content):
            raise CorruptError("its blobs are intact, but they do not make up the file")

    def _blob_at(self, place: BlobLocation, blob: bytes) -> bytes:
        frame = self._frame(place)
        data = frame[place.offset : place.offset + place.size]
        # format 6.4: the index only says where to look; the checksum of the frame is no identity
        if len(data) != place.size or digest(data) != blob:
            raise CorruptError(f"blob {blob.hex()} is damaged", where=self._where(place))
        return data

    def _blob_if_intact(self, place: BlobLocation, blob: bytes) -> bytes | None:
        try:
            return self._blob_at(place, blob)
        except DamageError:
            return None

    def _frame_or_nothing(self, row: int) -> bytes:
        """The frame of a row; empty where it is damaged: then `read` tries the other places."""
        try:
            return self._frame(self.index.location(row))
        except DamageError:
            return b""

    def _frame(self, place: BlobLocation) -> bytes:
        key = (place.pack, place.frame_offset)
        with self._lock:
            if key in self._frames:
                self._frames.move_to_end(key)
                return self._frames[key]
        name = layout.pack_path(place.pack)
        try:
            # without the lock: two threads may fetch the same frame, but none waits for the other's read
            stored = self.vault.store.get_range(name, place.frame_offset, place.frame_stored)
            data = pack.open_frame(stored, place.frame_raw, place.codec)
        except DamageError as error:
            raise type(error)(error.what, where=self._where(place)) from error
        with self._lock:
            if key not in self._frames:
                self._frames[key] = data
                self._cached_bytes += len(data)
            while self._cached_bytes > self._cache_bytes:
                self._cached_bytes -= len(self._frames.popitem(last=False)[1])
        return data

    def _where(self, place: BlobLocation) -> str:
        pack = object_url(self.vault.store.url, layout.pack_path(place.pack))
        return f"{pack}, frame at byte {place.frame_offset}"

"""Reading blobs back: frames by range, decoded, every blob checked against its digest.

Where a blob is damaged in one place, every other place that the index has for it is tried.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

from pachvault.errors import AbsentError, CorruptError, DamageError
from pachvault.format import layout, pack
from pachvault.format.ids import digest
from pachvault.vault.blob_places import BlobLocation, BlobPlaces
from pachvault.vault.vault import Vault

CACHE_BYTES = 64 * 1024 * 1024


class BlobReader:
    """Reads blobs of one vault; safe to share between threads. Holds at most `cache_bytes` of frames."""

    def __init__(self, vault: Vault, index: BlobPlaces, cache_bytes: int | None = None) -> None:
        self.vault = vault
        self.index = index
        self._frames: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        self._held = 0
        self._cache_bytes = CACHE_BYTES if cache_bytes is None else cache_bytes
        self._lock = threading.Lock()

    def place(self, blob: bytes) -> BlobLocation:
        """Where a blob is; DamageError where no index names it."""
        row = int(self.index.find_all([blob])[0])
        if row < 0:
            raise AbsentError(f"blob {blob.hex()} is in no pack that is there")
        return self.index.location(row)

    def read(self, blob: bytes) -> bytes:
        """A blob's bytes, checked; DamageError where no place of it has them whole."""
        first = self.place(blob)
        try:
            return self._blob_at(first, blob)
        except DamageError:
            for other in self.index.locations(blob):
                if other != first and (data := self._tried(other, blob)) is not None:
                    return data
            raise

    def read_many(self, blobs: list[bytes]) -> list[bytes]:
        """Several blobs, as `read` gives them; quick where neighbours lie in one frame."""
        if not len(self.index):
            return list(self.stream(blobs))
        rows = self.index.find_all(blobs)
        found: list[bytes] = []
        last, frame = None, b""
        for blob, row, (pack_code, frame_offset, offset, size) in zip(
            blobs, rows.tolist(), self.index.positions(rows), strict=True
        ):
            if last != (pack_code, frame_offset):
                last, frame = (pack_code, frame_offset), self._whole_frame(row)
            data = frame[offset : offset + size]
            found.append(data if row >= 0 and digest(data) == blob else self.read(blob))
        return found

    def stream(self, blobs: list[bytes]) -> Iterator[bytes]:
        """The bytes of several blobs, one after the other."""
        return map(self.read, blobs)

    def _blob_at(self, place: BlobLocation, blob: bytes) -> bytes:
        frame = self._frame(place)
        data = frame[place.offset : place.offset + place.size]
        if len(data) != place.size or digest(data) != blob:
            raise CorruptError(f"blob {blob.hex()} is damaged", where=self._where(place))
        return data

    def _tried(self, place: BlobLocation, blob: bytes) -> bytes | None:
        try:
            return self._blob_at(place, blob)
        except DamageError:
            return None

    def _whole_frame(self, row: int) -> bytes:
        """The frame that a row places its blob in; nothing where it is damaged: `read` says how."""
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
            stored = self.vault.store.get_range(name, place.frame_offset, place.frame_stored)
            data = pack.open_frame(stored, place.frame_raw, place.codec)
        except DamageError as error:
            raise type(error)(error.what, where=self._where(place)) from error
        with self._lock:
            if key not in self._frames:
                self._frames[key] = data
                self._held += len(data)
            while self._held > self._cache_bytes:
                self._held -= len(self._frames.popitem(last=False)[1])
        return data

    def _where(self, place: BlobLocation) -> str:
        return f"{self.vault.store.url}/{layout.pack_path(place.pack)}, frame at byte {place.frame_offset}"

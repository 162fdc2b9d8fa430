"""File content: append-only segment files, addressed by segment, offset and length.

A writer reserves an extent, fills it, and syncs before anything names it. What is reserved and
never named is a hole that costs nothing. A segment is deleted once no layer names it, and only
when the server starts, when nobody can be writing.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

SEGMENT_BYTES = 256 << 20
READ_BYTES = 2 << 20

PART = struct.Struct("<IQQ")  # segment, offset, length


def parts_of(packed: bytes) -> Iterator[tuple[int, int, int]]:
    """The places a file's content lies in, in order."""
    return PART.iter_unpack(packed)


def join_parts(first: bytes, second: bytes) -> bytes:
    """The parts of one content followed by another; neighbours in a segment become one."""
    if first and second:
        segment, offset, length = PART.unpack_from(first, len(first) - PART.size)
        next_segment, next_offset, next_length = PART.unpack_from(second)
        if segment == next_segment and offset + length == next_offset:
            merged = PART.pack(segment, offset, length + next_length)
            return first[: -PART.size] + merged + second[PART.size :]
    return first + second


class Segments:
    """The folder of segment files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.Lock()
        self._files: dict[int, int] = {}
        taken = [int(path.stem) for path in folder.glob("*.seg")]
        self._current = max(taken, default=0) + 1
        self._end = 0

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:08d}.seg"

    def _file(self, segment: int) -> int:
        with self._lock:
            descriptor = self._files.get(segment)
            if descriptor is None:
                new = not self._path(segment).exists()
                descriptor = os.open(self._path(segment), os.O_RDWR | os.O_CREAT, 0o600)
                self._files[segment] = descriptor
                if new:
                    _sync_folder(self._folder)
            return descriptor

    def reserve(self, length: int) -> tuple[int, int]:
        """Room for so many bytes: the segment and the offset."""
        with self._lock:
            if self._end and self._end + length > SEGMENT_BYTES:
                self._current += 1
                self._end = 0
            offset = self._end
            self._end += length
            return self._current, offset

    def give_back(self, segment: int, start: int, end: int) -> None:
        """Return the unused end of an extent, if nobody reserved behind it."""
        with self._lock:
            if segment == self._current and end == self._end:
                self._end = start

    def write(self, segment: int, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Put bytes where room was reserved."""
        view = memoryview(data)
        file = self._file(segment)
        while view:
            written = os.pwrite(file, view, offset)
            offset += written
            view = view[written:]

    def sync(self, segment: int) -> None:
        """Make a segment's bytes survive a power cut."""
        os.fdatasync(self._file(segment))

    def read(self, packed: bytes, start: int = 0) -> Iterator[bytes]:
        """The content from `start` on, in pieces of a bounded size."""
        for segment, part_offset, part_length in parts_of(packed):
            if start >= part_length:
                start -= part_length
                continue
            offset, length = part_offset + start, part_length - start
            start = 0
            file = self._file(segment)
            while length:
                piece = os.pread(file, min(length, READ_BYTES), offset)
                if not piece:
                    raise OSError(f"segment {segment} ends before offset {offset}")
                yield piece
                offset += len(piece)
                length -= len(piece)

    def read_small(self, packed: bytes) -> bytes:
        """The content of a small file."""
        if len(packed) == PART.size:
            segment, offset, length = PART.unpack(packed)
            file = self._files.get(segment)
            data = os.pread(self._file(segment) if file is None else file, length, offset)
            if len(data) == length:
                return data
        return b"".join(self.read(packed))

    def digest(self, packed: bytes) -> bytes:
        """The content's digest: what makes two files' hashes equal."""
        hasher = blake3()
        for piece in self.read(packed):
            hasher.update(piece)
        return hasher.digest()

    def keep_only(self, segments: set[int]) -> None:
        """Delete the segments that nothing names."""
        for path in self._folder.glob("*.seg"):
            if int(path.stem) not in segments:
                path.unlink()

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for file in self._files.values():
                os.close(file)
            self._files.clear()


def _sync_folder(folder: Path) -> None:
    """Make a new file's name survive a power cut, as its content will."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

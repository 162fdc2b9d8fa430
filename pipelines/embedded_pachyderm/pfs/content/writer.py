"""Writing: a stream of puts, deletes and copies becomes one layer.

Operations take effect in order. Content goes to the segments as it comes; only names and places
are held in memory. `finish` syncs, so that whoever stores the layer names nothing that may vanish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from blake3 import blake3

from embedded_pachyderm.pfs.content.layers import DEFAULT_DATUM, Entry, Key, Layer
from embedded_pachyderm.pfs.content.segments import PART, Segments, join_parts
from embedded_pachyderm.pfs.metadata.names import as_directory, check_path, clean_path

EXTENT_BYTES = 4 << 20
_NO_DIGEST = b""  # written in several goes with others between: to be read back at the end
_EMPTY_DIGEST = blake3(b"").digest()


class Writer:
    """One write. `parent` gives the files there are before it, for deletes of whole directories."""

    def __init__(self, segments: Segments, parent: Callable[[], list[Entry]]) -> None:
        self._segments = segments
        self._parent = parent
        self._puts: dict[Key, Entry] = {}
        self._deletes: set[Key] = set()
        self._buffer = bytearray()
        self._extent: tuple[int, int] = (0, 0)  # segment and offset of the buffer's first byte
        self._touched: set[int] = set()
        self._last: Key | None = None  # the file written to last, and its hash so far
        self._hasher = blake3()

    def put(self, path: str, datum: str, data: bytes) -> None:
        """Append to a file, which is made if need be."""
        check_path(path)
        key = (clean_path(path), datum or DEFAULT_DATUM)
        parts = self._place(data) if data else b""
        old = self._puts.get(key)
        if old is None:
            self._flush_digest()
            self._last, self._hasher = key, blake3(data)
            self._puts[key] = Entry(*key, len(data), _NO_DIGEST, parts)
            return
        if key == self._last:
            self._hasher.update(data)
        # the digest is set when another file follows; what is appended to later is read back at the end
        self._puts[key] = Entry(*key, old.size + len(data), _NO_DIGEST, join_parts(old.parts, parts))

    def delete(self, path: str, datum: str) -> None:
        """Delete a file, or with a slash at its end everything below a directory."""
        check_path(path)
        datum = datum or DEFAULT_DATUM
        if not path.endswith("/"):
            self._delete_file((clean_path(path), datum))
            return
        directory = as_directory(path)
        for key in [key for key in self._puts if key[0].startswith(directory)]:
            self._forget(key)
        for entry in self._parent():
            if entry.path.startswith(directory):
                self._delete_file((entry.path, datum))

    def copy(self, entries: Iterable[Entry], datum: str, *, append: bool) -> None:
        """Put files that exist elsewhere, by reference."""
        self._flush_digest()
        for entry in entries:
            key = (entry.path, datum or DEFAULT_DATUM)
            if not append:
                self._delete_file(key)
            old = self._puts.get(key)
            if old is None:
                self._puts[key] = Entry(*key, entry.size, entry.digest, entry.parts)
            else:
                parts = join_parts(old.parts, entry.parts)
                self._puts[key] = Entry(*key, old.size + entry.size, _NO_DIGEST, parts)

    def finish(self) -> Layer:
        """The layer, with its content on disk."""
        self._flush_digest()
        self._flush_buffer()
        for segment in self._touched:
            self._segments.sync(segment)
        puts = []
        for entry in sorted(self._puts.values()):
            if entry.digest == _NO_DIGEST:
                entry = entry._replace(digest=self._segments.digest(entry.parts))  # noqa: PLW2901
            puts.append(entry)
        return Layer(tuple(sorted(self._deletes)), tuple(puts))

    def _delete_file(self, key: Key) -> None:
        self._forget(key)
        self._deletes.add(key)

    def _forget(self, key: Key) -> None:
        self._puts.pop(key, None)
        if key == self._last:
            self._last = None

    def _flush_digest(self) -> None:
        """Note the digest of the file written last; a later append to it makes it unknown again."""
        if self._last is not None:
            entry = self._puts[self._last]
            digest = self._hasher.digest() if entry.size else _EMPTY_DIGEST
            self._puts[self._last] = entry._replace(digest=digest)
            self._last = None

    def _place(self, data: bytes) -> bytes:
        """Where the bytes go: in the buffer's extent, or when they are many in one of their own."""
        if len(self._buffer) + len(data) > EXTENT_BYTES:
            self._flush_buffer()
        if len(data) > EXTENT_BYTES // 4:
            self._flush_buffer()
            segment, offset = self._segments.reserve(len(data))
            self._segments.write(segment, offset, data)
            self._touched.add(segment)
            return PART.pack(segment, offset, len(data))
        if not self._buffer:
            self._extent = self._segments.reserve(EXTENT_BYTES)
        segment, start = self._extent
        offset = start + len(self._buffer)
        self._buffer += data
        return PART.pack(segment, offset, len(data))

    def _flush_buffer(self) -> None:
        if not self._buffer:
            return
        segment, start = self._extent
        self._segments.write(segment, start, self._buffer)
        # else each small write would leave a hole of 4 MiB in the segment
        self._segments.give_back(segment, start + len(self._buffer), start + EXTENT_BYTES)
        self._touched.add(segment)
        self._buffer = bytearray()

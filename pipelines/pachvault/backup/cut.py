"""Files into blobs, blobs into frames: many at a time, in order, on all cores, in bounded memory.

Small files are blobs of their own and are gathered into batches of about FRAME_BYTES; large files are
cut by content. A batch is digested in one thread, checked against the vault's index, and what is new
of it compressed in another, while the stream is read on. Results are taken in the order of the stream,
so the same stream gives the same packs.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import zstandard
from blake3 import blake3
from pyfastcdc import FastCDC

from pachvault.format import pack
from pachvault.format.documents import Cutting
from pachvault.format.ids import digest
from pachvault.vault.blobs import BlobIndex
from pachvault.vault.writer import PackWriter

FRAME_BYTES = 1024 * 1024
FRAME_BLOBS = 4096
_ZSTD_LEVEL = 3

Emit = Callable[[str, int, bytes, list[bytes] | None], None]
"""Takes a finished file: path, size, digest, blobs (None where the file is one blob or empty)."""


def ignore(*_: object) -> None:
    """An `Emit` for files that nobody waits for any more."""


@dataclass(slots=True)
class _LargeFile:
    path: str
    size: int
    hasher: blake3 = field(default_factory=blake3)
    digest: bytes = b""
    blobs: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """Blobs to store, and for each the file it is: a path, or the large file it is a piece of."""

    blobs: list[bytes | memoryview] = field(default_factory=list)
    owners: list[str | _LargeFile] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)
    size: int = 0


class Cutter:
    """Turns pieces of files into stored blobs. Use within `with`; one at a time."""

    def __init__(self, writer: PackWriter, index: BlobIndex, cutting: Cutting) -> None:
        self._writer, self._index = writer, index
        self._cutting = cutting
        self._cdc = FastCDC(cutting.avg_bytes, min_size=cutting.min_bytes, max_size=cutting.max_bytes)
        threads = max(2, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(threads, "cut")
        self._in_flight = threads + 2
        self._local = threading.local()
        self._digested: deque[tuple[_Batch, Future[tuple[list[bytes], list[bool]]]]] = deque()
        self._compressed: deque[Future[pack.Frame]] = deque()
        self._seen: set[bytes] = set()
        self._batch = _Batch()
        self._buffer = bytearray()
        self._large: _LargeFile | None = None
        self.emit: Emit = ignore

    def close(self) -> None:
        """Stop the threads; what was not finished is dropped."""
        self._pool.shutdown(cancel_futures=True)

    def has(self, blob: bytes) -> bool:
        """Whether a blob is in the vault, or on its way there."""
        return blob in self._seen or bool(self._index.has([blob])[0])

    def add(self, path: str, size: int, offset: int, data: memoryview) -> None:
        """A piece of a file, in order; offset 0 again begins the file anew."""
        if offset == 0:
            self._large = None
            self._buffer.clear()
            if size == 0:
                self.emit(path, 0, digest(b""), None)
                return
            if size == len(data) and size <= self._cutting.min_bytes:
                self._put(data, path, ends=True)
                return
            self._large = _LargeFile(path, size)
        large = self._large
        if large is None:
            raise ValueError(f"a piece of {path} at {offset} without its beginning")
        large.hasher.update(data)
        self._buffer += data
        is_last = offset + len(data) == size
        if is_last:
            large.digest = large.hasher.digest()
        if is_last or len(self._buffer) >= 2 * self._cutting.max_bytes:
            self._cut(large, is_last=is_last)

    def abandon(self) -> None:
        """Drop the file that was begun and forget those on their way; their blobs are stored all the same."""
        self.emit = ignore
        self._large = None
        self._buffer.clear()
        self.flush()

    def flush(self) -> None:
        """Finish every file added so far: all `emit` calls are made, all frames handed to the writer."""
        self._submit()
        while self._digested:
            self._take_digests()
        while self._compressed:
            self._writer.add(self._compressed.popleft().result())

    def _cut(self, large: _LargeFile, *, is_last: bool) -> None:
        """Cut what is buffered; a cut is final where the longest possible blob could be seen."""
        done = 0
        data = bytes(self._buffer)
        for chunk in self._cdc.cut_buf(data):
            if not is_last and len(data) - chunk.offset < self._cutting.max_bytes:
                break
            done = chunk.offset + chunk.length
            piece = memoryview(data)[chunk.offset : done]
            self._put(piece, large, ends=is_last and done == len(data))
        del self._buffer[:done]
        if is_last:
            self._large = None

    def _put(self, data: bytes | memoryview, owner: str | _LargeFile, *, ends: bool) -> None:
        batch = self._batch
        batch.blobs.append(data)
        batch.owners.append(owner)
        batch.ends.append(ends)
        batch.size += len(data)
        if batch.size >= FRAME_BYTES or len(batch.blobs) >= FRAME_BLOBS:
            self._submit()

    def _submit(self) -> None:
        if not self._batch.blobs:
            return
        batch, self._batch = self._batch, _Batch()
        self._digested.append((batch, self._pool.submit(self._digest, batch)))
        while len(self._digested) > self._in_flight:
            self._take_digests()

    def _digest(self, batch: _Batch) -> tuple[list[bytes], list[bool]]:
        digests = [digest(blob) for blob in batch.blobs]
        return digests, self._index.has(digests).tolist()

    def _take_digests(self) -> None:
        batch, future = self._digested.popleft()
        digests, stored = future.result()
        new: list[int] = []
        for number, (blob, is_stored) in enumerate(zip(digests, stored, strict=True)):
            if not is_stored and blob not in self._seen:
                self._seen.add(blob)
                new.append(number)
        if new:
            chosen = [batch.blobs[number] for number in new]
            names = [digests[number] for number in new]
            self._compressed.append(self._pool.submit(self._compress, chosen, names))
            while len(self._compressed) > self._in_flight:
                self._writer.add(self._compressed.popleft().result())
        for blob, data, owner, ends in zip(digests, batch.blobs, batch.owners, batch.ends, strict=True):
            if isinstance(owner, str):
                self.emit(owner, len(data), blob, None)
            else:
                owner.blobs.append(blob)
                if ends:
                    blobs = owner.blobs if len(owner.blobs) > 1 else None
                    self.emit(owner.path, owner.size, owner.digest, blobs)

    def _compress(self, blobs: list[bytes | memoryview], digests: list[bytes]) -> pack.Frame:
        compressor = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = self._local.compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
        data = blobs[0] if len(blobs) == 1 else b"".join(blobs)
        return pack.make_frame(data, digests, [len(blob) for blob in blobs], compressor)

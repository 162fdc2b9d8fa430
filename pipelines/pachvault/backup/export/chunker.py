"""Files into blobs, blobs into frames: many at a time, in order, on all cores, in bounded memory.

Small files are blobs of their own and are digested in batches; large files are cut by content, segment
by segment. What the vault's index does not have is gathered into frames of about FRAME_BYTES and
compressed, while the stream is read on. Results are taken in the order of the stream, and frames filled
in that order, so the same stream gives the same packs.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from blake3 import blake3
from pyfastcdc import FastCDC

from pachvault.format import digests, pack
from pachvault.format.documents import Cutting
from pachvault.format.ids import digest
from pachvault.vault.blob_places import BlobPlaces
from pachvault.vault.pack_writer import PackWriter

FRAME_BYTES = 1024 * 1024
FRAME_BLOBS = 4096
_BATCH_BYTES = 1024 * 1024
_AHEAD_BYTES = 8 * 1024 * 1024
"""On their way from the stream to their digests, or one segment where that is more."""
_TAR_BYTES = 1024
"""What a file takes in the stream besides its content, which a view of the content keeps in memory."""
_SEGMENT_BLOBS = 2
"""A segment is so many of the longest blobs; the last of them is cut again, with the next segment."""

Emit = Callable[[str, int, bytes, list[bytes] | None], None]
"""Takes a finished file: path, size, digest, blobs (None where the file is one blob or empty)."""
Data = bytes | memoryview


def ignore(*_: object) -> None:
    """An `Emit` for files that nobody waits for any more."""


@dataclass(slots=True)
class _LargeFile:
    """A file that is cut; its segments wait for each other."""

    path: str
    size: int
    hasher: blake3 = field(default_factory=blake3)
    blobs: list[bytes] = field(default_factory=list)
    rest: Future[Data] | None = None
    """What the newest segment leaves to the next."""


class _Digested(NamedTuple):
    """Blobs in order, their digests, and whether the vault has them."""

    blobs: list[Data]
    names: list[bytes]
    stored: list[bool]


class _OnTheirWay(NamedTuple):
    """Blobs that a thread digests: whole files by their paths, or a segment of a large one."""

    owner: list[str] | _LargeFile
    ends: bool
    """Whether the large file ends here."""
    size: int
    result: Future[_Digested]


class Chunker:
    """Turns pieces of files into stored blobs. Use within `with`; one at a time."""

    def __init__(self, writer: PackWriter, index: BlobPlaces, cutting: Cutting) -> None:
        self._writer, self._index = writer, index
        self._cutting = cutting
        self._cdc = FastCDC(cutting.avg_bytes, min_size=cutting.min_bytes, max_size=cutting.max_bytes)
        threads = max(2, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(threads, "cut")
        self._frames_ahead = threads + 2
        self._local = threading.local()
        self._digested: deque[_OnTheirWay] = deque()
        self._ahead = 0
        self._compressed: deque[Future[pack.Frame]] = deque()
        self._seen = digests.Seen()
        self._paths: list[str] = []
        self._batch: list[Data] = []
        self._batch_bytes = 0
        self._frame: list[Data] = []
        self._frame_digests: list[bytes] = []
        self._frame_bytes = 0
        self._large: _LargeFile | None = None
        self._parts: list[Data] = []
        self._held = 0
        self.emit: Emit = ignore

    def close(self) -> None:
        """Stop the threads; what was not finished is dropped."""
        self._pool.shutdown(cancel_futures=True)
        self._seen = digests.Seen()

    def has(self, blob: bytes) -> bool:
        """Whether a blob is in the vault, or on its way there."""
        return bool(self._index.has([blob])[0]) or blob in self._seen

    def add(self, path: str, size: int, offset: int, data: memoryview) -> None:
        """A piece of a file, in order; offset 0 again begins the file anew."""
        if offset == 0:
            self._drop()
            if size == 0:
                self.emit(path, 0, digest(b""), None)
                return
            if size == len(data) and size <= self._cutting.min_bytes:
                self._put(path, data)
                return
            self._large = _LargeFile(path, size)
        large = self._large
        if large is None:
            raise ValueError(f"a piece of {path} at {offset} without its beginning")
        self._parts.append(data)
        self._held += len(data)
        ends = offset + len(data) == size
        if ends and size <= self._cutting.min_bytes:
            self._put(path, b"".join(self._parts))
        elif ends or self._held >= _SEGMENT_BLOBS * self._cutting.max_bytes:
            self._submit()
            self._cut(large, ends=ends)
        if ends:
            self._drop()

    def add_files(self, paths: list[str], data: list[memoryview]) -> int:
        """Whole files, in order; how many bytes they hold."""
        sizes = [len(each) for each in data]
        if min(sizes) == 0 or max(sizes) > self._cutting.min_bytes:
            for path, each in zip(paths, data, strict=True):
                self.add(path, len(each), 0, each)
            return sum(sizes)
        self._drop()
        self._paths += paths
        self._batch += data
        self._batch_bytes += sum(sizes)
        self._submit_full()
        return sum(sizes)

    def abandon(self) -> None:
        """Drop the file that was begun and forget those on their way; their blobs are stored all the same."""
        self.emit = ignore
        self._drop()
        self.flush()

    def flush(self) -> None:
        """Finish every file added so far: all `emit` calls are made, all frames handed to the writer."""
        self._submit()
        while self._digested:
            self._take()
        self._compress()
        while self._compressed:
            self._writer.add(self._compressed.popleft().result())

    def _drop(self) -> None:
        self._large = None
        self._parts, self._held = [], 0

    def _put(self, path: str, data: Data) -> None:
        self._paths.append(path)
        self._batch.append(data)
        self._batch_bytes += len(data)
        self._submit_full()

    def _submit_full(self) -> None:
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= FRAME_BLOBS:
            self._submit()

    def _submit(self) -> None:
        """Send the batch on its way."""
        if self._batch:
            future = self._pool.submit(self._digest, self._batch)
            held = self._batch_bytes + len(self._batch) * _TAR_BYTES
            self._send(_OnTheirWay(self._paths, ends=True, size=held, result=future))
            self._paths, self._batch, self._batch_bytes = [], [], 0

    def _cut(self, large: _LargeFile, *, ends: bool) -> None:
        """Send a segment on its way."""
        before, large.rest = large.rest, Future()
        future = self._pool.submit(self._cut_segment, large, before, self._parts, large.rest, ends=ends)
        self._send(_OnTheirWay(large, ends, self._held, future))
        self._parts, self._held = [], 0

    def _send(self, sent: _OnTheirWay) -> None:
        self._digested.append(sent)
        self._ahead += sent.size
        while self._ahead > _AHEAD_BYTES and len(self._digested) > 1:
            self._take()

    def _digest(self, blobs: list[Data]) -> _Digested:
        names = [digest(blob) for blob in blobs]
        return _Digested(blobs, names, self._index.has(names).tolist())

    def _cut_segment(
        self,
        large: _LargeFile,
        before: Future[Data] | None,
        parts: list[Data],
        rest: Future[Data],
        *,
        ends: bool,
    ) -> _Digested:
        """Cut as far as it is final: where the longest possible blob can be seen, or the file ends.

        A segment waits for the one before it, which was begun earlier.
        """
        try:
            held = [before.result(), *parts] if before else parts
            data = held[0] if len(held) == 1 else b"".join(held)
            blobs: list[Data] = []
            done = 0
            for chunk in self._cdc.cut_buf(data):
                if not ends and len(data) - chunk.offset < self._cutting.max_bytes:
                    break
                done = chunk.offset + chunk.length
                # a view would do, but the whole is no copy
                blobs.append(data if chunk.length == len(data) else memoryview(data)[chunk.offset : done])
            if before is not None or not ends or len(blobs) > 1:
                large.hasher.update(memoryview(data)[:done])
            rest.set_result(memoryview(data)[done:])
        except BaseException as error:
            rest.set_exception(error)
            raise
        return self._digest(blobs)

    def _take(self) -> None:
        """The next blobs that are digested: what is new of them into frames, finished files to `emit`."""
        owner, ends, size, result = self._digested.popleft()
        self._ahead -= size
        blobs, names, stored = result.result()
        new = [number for number, is_stored in enumerate(stored) if not is_stored]
        for number, is_first in zip(new, self._seen.add([names[number] for number in new]), strict=True):
            if is_first:
                self._store(blobs[number], names[number])
        if isinstance(owner, _LargeFile):
            owner.blobs += names
            if ends:
                is_one = len(owner.blobs) == 1
                content = owner.blobs[0] if is_one else owner.hasher.digest()
                self.emit(owner.path, owner.size, content, None if is_one else owner.blobs)
            return
        for path, data, name in zip(owner, blobs, names, strict=True):
            self.emit(path, len(data), name, None)

    def _store(self, data: Data, name: bytes) -> None:
        if self._frame_bytes + len(data) > FRAME_BYTES or len(self._frame) >= FRAME_BLOBS:
            self._compress()
        if len(data) <= self._cutting.min_bytes:
            data = bytes(data)  # or a frame that fills slowly would hold a whole message for each small file
        self._frame.append(data)
        self._frame_digests.append(name)
        self._frame_bytes += len(data)

    def _compress(self) -> None:
        """Send the frame on its way."""
        if not self._frame:
            return
        self._compressed.append(self._pool.submit(self._make_frame, self._frame, self._frame_digests))
        self._frame, self._frame_digests, self._frame_bytes = [], [], 0
        while len(self._compressed) > self._frames_ahead:
            self._writer.add(self._compressed.popleft().result())

    def _make_frame(self, blobs: list[Data], names: list[bytes]) -> pack.Frame:
        compressor = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = self._local.compressor = pack.new_compressor()
        data = blobs[0] if len(blobs) == 1 else b"".join(blobs)
        return pack.make_frame(data, names, [len(blob) for blob in blobs], compressor)

"""The chunker: files to blobs, on all cores and in bounded memory.

Small files are one blob each and are digested in batches. Large files are split by content, segment by
segment. Blobs that the vault's index lacks go into frames (`frame_writer`). Threads digest while the stream
is read on; results are collected in the order of the stream, so that the same stream gives the same packs.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from blake3 import blake3
from pyfastcdc import FastCDC

from pachvault.backup.export.frame_writer import FRAME_BLOBS, Data, FrameWriter
from pachvault.errors import PachydermError
from pachvault.format import digests
from pachvault.format.config import Cutting
from pachvault.format.ids import digest
from pachvault.pach.tar import FilePiece, FileRun
from pachvault.vault.index.blob_places import BlobPlaces
from pachvault.vault.pack_writer import PackWriter

_BATCH_BYTES = 1024 * 1024
_AHEAD_BYTES = 8 * 1024 * 1024
"""How much is being digested at a time, or one segment where that is more."""
_TAR_BYTES = 1024
"""What a file takes in the stream besides its content, which a view of the content keeps in memory."""
_SEGMENT_BLOBS = 2
"""A segment is so many of the longest blobs; the last of them is split again, with the next segment."""


class StoredFiles(NamedTuple):
    """Files whose blobs are in the vault, or on their way there: in columns, as many come at a time."""

    paths: list[str]
    sizes: list[int]
    digests: list[bytes]
    """Each of the whole content."""
    blobs: list[list[bytes] | None]
    """None for a file that is one blob or empty."""


@dataclass(slots=True)
class _LargeFile:
    """A file that is split; its segments wait for each other."""

    path: str
    size: int
    hasher: blake3 = field(default_factory=blake3)
    blobs: list[bytes] = field(default_factory=list)
    rest: Future[Data] | None = None
    """What the newest segment leaves to the next."""


class _Digested(NamedTuple):
    """Blobs in order, their digests, and whether the vault has them."""

    blobs: list[Data]
    digests: list[bytes]
    is_stored: list[bool]


class _Batch(NamedTuple):
    """Blobs that a thread digests: whole files by their paths, or a segment of a large one."""

    owner: list[str] | _LargeFile
    ends: bool
    """Whether the large file ends here."""
    size: int
    result: Future[_Digested]


class Chunker:
    """Stores files in a vault, each as one blob or several. A context manager; its threads end with it."""

    def __init__(self, writer: PackWriter, index: BlobPlaces, cutting: Cutting) -> None:
        self._index = index
        self._cutting = cutting
        self._cdc = FastCDC(cutting.avg_bytes, min_size=cutting.min_bytes, max_size=cutting.max_bytes)
        threads = max(2, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(threads, "chunker")
        self._frames = FrameWriter(writer, self._pool, cutting.min_bytes, threads + 2)
        self._digesting: deque[_Batch] = deque()
        self._digesting_bytes = 0
        self._seen = digests.SeenDigests()
        """The new blobs of this chunker: the index does not have them yet."""
        self._paths: list[str] = []
        self._small: list[Data] = []
        self._small_bytes = 0
        self._large: _LargeFile | None = None
        self._parts: list[Data] = []
        self._part_bytes = 0
        self._stored = StoredFiles([], [], [], [])
        """Those that are not yielded yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._seen = digests.SeenDigests()

    def has(self, blob: bytes) -> bool:
        """Whether a blob is in the vault, or on its way there."""
        return bool(self._index.has([blob])[0]) or blob in self._seen

    def store(self, pieces: Iterable[FilePiece | FileRun]) -> Iterator[StoredFiles]:
        """Store files, and yield them once their blobs are, in order. Take all of them before the next call.

        The pieces of a file follow one another. One with offset 0 begins its file again; a file that does
        not end is left out. At the end every frame was handed to the writer. Where `pieces` raises
        PachydermError, so does this; the blobs of files that were not yielded are stored all the same, for
        `has` has reported them.
        """
        try:
            for piece in pieces:
                if isinstance(piece, FileRun):
                    self._add_files(piece.paths, piece.data)
                else:
                    self._add(piece)
                if self._stored.paths:
                    yield self._take_stored()
        except PachydermError:
            self._flush()
            self._take_stored()
            raise
        self._flush()
        yield self._take_stored()

    def _take_stored(self) -> StoredFiles:
        stored, self._stored = self._stored, StoredFiles([], [], [], [])
        return stored

    def _add_stored(self, path: str, size: int, content_digest: bytes, blobs: list[bytes] | None) -> None:
        self._stored.paths.append(path)
        self._stored.sizes.append(size)
        self._stored.digests.append(content_digest)
        self._stored.blobs.append(blobs)

    def _add(self, piece: FilePiece) -> None:
        path, size, offset, data = piece
        if offset == 0:
            self._drop()
            if size == 0:
                self._add_stored(path, 0, digest(b""), None)
                return
            if size == len(data) and size <= self._cutting.min_bytes:
                self._add_small(path, data)
                return
            self._large = _LargeFile(path, size)
        large = self._large
        if large is None:
            raise ValueError(f"a piece of {path} at {offset} without its beginning")
        self._parts.append(data)
        self._part_bytes += len(data)
        ends = offset + len(data) == size
        if ends and size <= self._cutting.min_bytes:
            self._add_small(path, b"".join(self._parts))
        elif ends or self._part_bytes >= _SEGMENT_BLOBS * self._cutting.max_bytes:
            # small files that came before go first: the order of blobs is part of the name of a pack (5.4)
            self._submit_small()
            self._submit_segment(large, ends=ends)
        if ends:
            self._drop()

    def _add_files(self, paths: list[str], contents: list[memoryview]) -> None:
        """Whole files, in order."""
        sizes = [len(content) for content in contents]
        if min(sizes) == 0 or max(sizes) > self._cutting.min_bytes:
            for path, content in zip(paths, contents, strict=True):
                self._add(FilePiece(path, len(content), 0, content))
            return
        self._drop()
        self._paths += paths
        self._small += contents
        self._small_bytes += sum(sizes)
        self._submit_full()

    def _flush(self) -> None:
        """Store what was added so far, without a file that has not ended."""
        self._drop()
        self._submit_small()
        while self._digesting:
            self._collect()
        self._frames.flush()

    def _drop(self) -> None:
        """Forget the file that has begun."""
        self._large = None
        self._parts, self._part_bytes = [], 0

    def _add_small(self, path: str, content: Data) -> None:
        self._paths.append(path)
        self._small.append(content)
        self._small_bytes += len(content)
        self._submit_full()

    def _submit_full(self) -> None:
        if self._small_bytes >= _BATCH_BYTES or len(self._small) >= FRAME_BLOBS:
            self._submit_small()

    def _submit_small(self) -> None:
        """Have the small files digested."""
        if self._small:
            future = self._pool.submit(self._digest, self._small)
            size = self._small_bytes + len(self._small) * _TAR_BYTES
            self._submit(_Batch(self._paths, ends=True, size=size, result=future))
            self._paths, self._small, self._small_bytes = [], [], 0

    def _submit_segment(self, large: _LargeFile, *, ends: bool) -> None:
        """Have a segment split and digested."""
        before, large.rest = large.rest, Future()
        future = self._pool.submit(self._split_segment, large, before, self._parts, large.rest, ends=ends)
        self._submit(_Batch(large, ends, self._part_bytes, future))
        self._parts, self._part_bytes = [], 0

    def _submit(self, batch: _Batch) -> None:
        self._digesting.append(batch)
        self._digesting_bytes += batch.size
        while self._digesting_bytes > _AHEAD_BYTES and len(self._digesting) > 1:
            self._collect()

    def _digest(self, blobs: list[Data]) -> _Digested:
        blob_digests = [digest(blob) for blob in blobs]
        return _Digested(blobs, blob_digests, self._index.has(blob_digests).tolist())

    def _split_segment(
        self,
        large: _LargeFile,
        before: Future[Data] | None,
        parts: list[Data],
        rest: Future[Data],
        *,
        ends: bool,
    ) -> _Digested:
        """Split as far as it is final: where the longest possible blob can be seen, or the file ends.

        A segment waits for the one before it. That one was submitted earlier, so that a thread has it
        already: the pool cannot fill up with segments that wait.
        """
        try:
            held = [before.result(), *parts] if before else parts
            data = held[0] if len(held) == 1 else b"".join(held)
            blobs: list[Data] = []
            split_bytes = 0
            for chunk in self._cdc.cut_buf(data):
                # a boundary that the end of the segment caused would depend on how the stream was divided
                if not ends and len(data) - chunk.offset < self._cutting.max_bytes:
                    break
                split_bytes = chunk.offset + chunk.length
                # a view would do, but all of the bytes are no copy
                is_all = chunk.length == len(data)
                blobs.append(data if is_all else memoryview(data)[chunk.offset : split_bytes])
            # format 2.4: the digest of a file of one blob is that of the blob, so it is not computed twice
            if before is not None or not ends or len(blobs) > 1:
                large.hasher.update(memoryview(data)[:split_bytes])
            rest.set_result(memoryview(data)[split_bytes:])
        except BaseException as error:
            # or the next segment would wait for ever
            rest.set_exception(error)
            raise
        return self._digest(blobs)

    def _collect(self) -> None:
        """Collect the oldest batch: its new blobs go into frames, files that end with it are stored."""
        owner, ends, size, result = self._digesting.popleft()
        self._digesting_bytes -= size
        blobs, blob_digests, is_stored = result.result()
        new = [number for number, stored in enumerate(is_stored) if not stored]
        # here, not in the threads: in the order of the stream, so that the same stream makes the same packs
        is_first = self._seen.add([blob_digests[number] for number in new])
        for number, first in zip(new, is_first, strict=True):
            if first:
                self._frames.add(blobs[number], blob_digests[number])
        if isinstance(owner, _LargeFile):
            owner.blobs += blob_digests
            if ends:
                is_one = len(owner.blobs) == 1
                content_digest = owner.blobs[0] if is_one else owner.hasher.digest()
                self._add_stored(owner.path, owner.size, content_digest, None if is_one else owner.blobs)
            return
        stored = self._stored
        stored.paths.extend(owner)
        stored.sizes.extend(map(len, blobs))
        stored.digests.extend(blob_digests)
        stored.blobs.extend([None] * len(owner))

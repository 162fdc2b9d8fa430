"""Writes a change into Pachyderm: vault to file sets, every byte checked, memory bounded.

A large change is written as several file sets at a time, each of paths that follow one another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from threading import Event

import numpy as np
import pyarrow as pa

from pachvault.errors import CorruptError, DamageError
from pachvault.format import table
from pachvault.pach.source import CommitRef
from pachvault.pach.target import Target
from pachvault.restore.changes import FILE_BYTES, Changes, part_of, spans
from pachvault.runtime.progress import Progress
from pachvault.vault.blob_reader import BlobReader

_AHEAD = 8
"""Batches that are read ahead of the stream: at most 8 × 5 MiB."""
_BATCH_BYTES = 1024 * 1024
_BATCH_BLOBS = 4096
_THREADS = 4
_FILE_SETS = 2
"""File sets of one change that are written at a time. More were no faster on a real pachd and cost memory."""
_LEAST_BYTES = 64 * 1024 * 1024
"""A change of less is one file set. So are small files, whatever their number: one thread limits them."""


@dataclass(slots=True)
class _PieceBatch:
    """Pieces of files that are read together."""

    paths: list[str] = field(default_factory=list)
    has_blob: list[bool] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)
    size: int = 0
    files: int = 0

    def add(self, path: str, blob: bytes | None, *, is_last: bool, size: int) -> None:
        """A file's piece; without a blob an empty file."""
        self.paths.append(path)
        self.has_blob.append(blob is not None)
        if blob is not None:
            self.blobs.append(blob)
        self.size += size
        self.files += is_last


def write_change(
    target: Target, reader: BlobReader, ref: CommitRef, change: Changes, progress: Progress
) -> None:
    """Write a change into an open commit.

    Raises DamageError where a blob is missing or wrong: nothing of the change is in the commit then.
    """
    if not change.deletes and not change.puts.num_rows:
        return
    if bad := _bad_paths(change):
        raise _bad_path(bad[0])
    # all file sets are complete before the first is added: damage in the last one leaves the commit empty
    for file_set in _file_sets(target, reader, _split(change), progress):
        target.add_file_set(ref, file_set)


def readable(reader: BlobReader, change: Changes) -> tuple[Changes, dict[str, DamageError]]:
    """The change without its damaged files, and the damage of each of these.

    Pachyderm refuses a path that no writer makes; what a restored commit deletes of such paths is left out.
    Reads every blob: only for a change that is known to be damaged.
    """
    bad = set(_bad_paths(change))
    lost: dict[str, DamageError] = {
        path: _bad_path(path) for path in change.puts["path"].to_pylist() if path in bad
    }
    for path, blob, _, _ in _blobs(change.puts):
        if blob is not None and path not in lost:
            try:
                reader.read(blob)
            except DamageError as error:
                lost[path] = error
    is_readable = pa.array([path not in lost for path in change.puts["path"].to_pylist()], pa.bool_())
    deletes = [path for path in change.deletes if path not in bad]
    return replace(change, puts=change.puts.filter(is_readable), deletes=deletes), lost


def _bad_paths(change: Changes) -> list[str]:
    bad: list[str] = []
    for paths in (change.puts["path"], pa.array(change.deletes, pa.string())):
        bad += paths.filter(pa.array(table.is_bad_path(paths))).to_pylist()
    return bad


def _bad_path(path: str) -> CorruptError:
    return CorruptError(f"the table has a path that no writer makes: {path!r}")


def _split(change: Changes) -> list[Changes]:
    """The change in parts of about equal size, in order: the rest of a file comes after its beginning."""
    size = change.bytes
    if size < _FILE_SETS * _LEAST_BYTES:
        return [change]
    weight = size + change.puts.num_rows * FILE_BYTES
    parts = (part_of(change, span) for span in spans(change, -(-weight // _FILE_SETS)))
    return [part for part in parts if part.deletes or part.puts.num_rows]


def _file_sets(target: Target, reader: BlobReader, parts: Sequence[Changes], progress: Progress) -> list[str]:
    """A file set of each part, written at the same time. A failure in one ends them all."""
    stopped = Event()

    def make(part: Changes) -> str:
        # a put appends to what is there. Where nothing was there a delete for each file would only cost time
        replaced = [] if part.is_added else part.puts["path"].to_pylist()
        return target.make_file_set(
            [*part.deletes, *replaced], _contents(reader, part.puts, progress, stopped)
        )

    with ThreadPoolExecutor(len(parts), "change") as pool:
        futures = [pool.submit(make, part) for part in parts]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stopped.set()
    failures = [error for future in futures if (error := future.exception()) is not None]
    # the failure that stopped the others is reported, not their being stopped
    for error in sorted(failures, key=lambda error: isinstance(error, CancelledError)):
        raise error
    return [future.result() for future in futures]


def _contents(
    reader: BlobReader, puts: pa.Table, progress: Progress, stopped: Event
) -> Iterator[tuple[str, bytes]]:
    """The files' bytes, piece by piece, in the order in which they lie in the vault.

    Raises CancelledError once `stopped` is set.
    """
    order = _by_place(reader, puts)
    with ThreadPoolExecutor(_THREADS, "restore") as pool:
        # at most `_AHEAD` batches: without a bound a slow cluster would let the whole change pile up in
        # memory
        ahead: deque[tuple[_PieceBatch, Future[list[bytes]]]] = deque()
        for batch in _batches(puts.take(order)):
            if stopped.is_set():
                raise CancelledError
            ahead.append((batch, pool.submit(reader.read_many, batch.blobs)))
            if len(ahead) >= _AHEAD:
                yield from _read(*ahead.popleft(), progress)
        while ahead:
            yield from _read(*ahead.popleft(), progress)


def _read(batch: _PieceBatch, read: Future[list[bytes]], progress: Progress) -> Iterator[tuple[str, bytes]]:
    data = iter(read.result())
    for path, has_blob in zip(batch.paths, batch.has_blob, strict=True):
        yield path, next(data) if has_blob else b""
    progress.add(batch.size, batch.files)


def _batches(puts: pa.Table) -> Iterator[_PieceBatch]:
    """About a megabyte of small files each, or one blob."""
    batch = _PieceBatch()
    for path, blob, is_last, size in _blobs(puts):
        batch.add(path, blob, is_last=is_last, size=size)
        if batch.size >= _BATCH_BYTES or len(batch.paths) >= _BATCH_BLOBS:
            yield batch
            batch = _PieceBatch()
    yield batch


def _blobs(puts: pa.Table) -> Iterator[tuple[str, bytes | None, bool, int]]:
    """Path, blob (None where the file is empty), whether the file ends with it, and about its size."""
    columns = (puts[name].to_pylist() for name in ("path", "size", "digest", "blobs"))
    for path, size, digest, blobs in zip(*columns, strict=True):
        names = blobs or ([digest] if size else [None])
        for number, blob in enumerate(names):
            is_last = number == len(names) - 1
            share = size // len(names)
            yield path, blob, is_last, size - share * number if is_last else share


def _by_place(reader: BlobReader, puts: pa.Table) -> np.ndarray:
    first = [
        blobs[0] if blobs else digest
        for blobs, digest in zip(puts["blobs"].to_pylist(), puts["digest"].to_pylist(), strict=True)
    ]
    if not first or not len(reader.index):
        return np.arange(puts.num_rows)
    return reader.index.place_order(reader.index.find_all(first))

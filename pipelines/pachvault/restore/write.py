"""Writing a change into Pachyderm: vault to file sets, every byte checked, memory bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa

from pachvault.errors import DamageError
from pachvault.pach.source import CommitRef
from pachvault.pach.target import Target
from pachvault.progress import Progress
from pachvault.restore.changes import Changes
from pachvault.vault.reader import BlobReader

_AHEAD = 16
"""Blobs read ahead of the stream: at most 16 × 4 MiB."""
_THREADS = 4


def write_change(
    target: Target, reader: BlobReader, ref: CommitRef, found: Changes, progress: Progress
) -> None:
    """Write a change into an open commit, as one file set.

    Raises DamageError where a blob is missing or wrong: nothing of the change is in the commit then.
    """
    if not found.deletes and not found.puts.num_rows:
        return
    replaced = [] if found.is_rest else found.puts["path"].to_pylist()
    file_set = target.make_file_set([*found.deletes, *replaced], _contents(reader, found.puts, progress))
    target.add_file_set(ref, file_set)


def readable(reader: BlobReader, found: Changes) -> tuple[Changes, dict[str, DamageError]]:
    """A change without the files that the vault has not whole, and what is wrong with each of these.

    Reads all of it: for where something is known to be damaged.
    """
    lost: dict[str, DamageError] = {}
    for path, blob, _ in _blobs(found.puts):
        if blob is not None and path not in lost:
            try:
                reader.read(blob)
            except DamageError as error:
                lost[path] = error
    whole = pa.array([path not in lost for path in found.puts["path"].to_pylist()], pa.bool_())
    return replace(found, puts=found.puts.filter(whole)), lost


def _contents(reader: BlobReader, puts: pa.Table, progress: Progress) -> Iterator[tuple[str, bytes]]:
    """The files' bytes, piece by piece, in the order in which they lie in the vault."""
    order = _by_place(reader, puts)
    with ThreadPoolExecutor(_THREADS, "restore") as pool:
        ahead: deque[tuple[str, bool, Future[bytes] | None]] = deque()
        for path, blob, is_last in _blobs(puts.take(order)):
            ahead.append((path, is_last, pool.submit(reader.read, blob) if blob else None))
            if len(ahead) >= _AHEAD:
                yield _next(ahead, progress)
        while ahead:
            yield _next(ahead, progress)


def _next(ahead: deque[tuple[str, bool, Future[bytes] | None]], progress: Progress) -> tuple[str, bytes]:
    path, is_last, future = ahead.popleft()
    data = future.result() if future else b""
    progress.add(len(data), int(is_last))
    return path, data


def _blobs(puts: pa.Table) -> Iterator[tuple[str, bytes | None, bool]]:
    columns = (puts[name].to_pylist() for name in ("path", "size", "digest", "blobs"))
    for path, size, digest, blobs in zip(*columns, strict=True):
        names = blobs or ([digest] if size else [None])
        for number, blob in enumerate(names):
            yield path, blob, number == len(names) - 1


def _by_place(reader: BlobReader, puts: pa.Table) -> np.ndarray:
    first = [
        blobs[0] if blobs else digest
        for blobs, digest in zip(puts["blobs"].to_pylist(), puts["digest"].to_pylist(), strict=True)
    ]
    if not first or not len(reader.index):
        return np.arange(puts.num_rows)
    return np.argsort(reader.index.place_order()[reader.index.rows(first)], kind="stable")

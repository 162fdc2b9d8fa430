"""One commit, in the vault and in the cluster, file by file: which differ, and which side is to blame."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import pyarrow as pa
from blake3 import blake3

from pachvault.errors import DamageError
from pachvault.pach.source import CommitRef, Source, after
from pachvault.runtime.progress import Progress
from pachvault.vault import blob_index
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_ROWS = 10_000


class ClusterFile(NamedTuple):
    """A file of the cluster: its digest where it was read, Pachyderm's own hash where it was listed."""

    path: str
    size: int
    digest: bytes | None
    pfs_hash: bytes | None


@dataclass(frozen=True, slots=True)
class FileDifference:
    """A file that the two sides do not have alike; what a side lacks is None."""

    path: str
    row: dict[str, Any] | None
    """Of the vault: path, size, digest, blobs, pfs_hash."""
    live: ClusterFile | None


def read_files(source: Source, ref: CommitRef, progress: Progress) -> Iterator[ClusterFile]:
    """Every file of a commit, read."""
    hasher = blake3()
    for piece in source.read(ref):
        if piece.offset == 0:  # a file begins again after a cut, too
            hasher = blake3()
        hasher.update(piece.data)
        if piece.is_last:
            progress.add(piece.size, 1)
            yield ClusterFile(piece.path, piece.size, hasher.digest(), None)


def listed_files(source: Source, ref: CommitRef, progress: Progress) -> Iterator[ClusterFile]:
    """Every file of a commit, as the cluster lists it."""
    for path, size, pfs_hash in source.walk(ref):
        progress.add(size, 1)
        yield ClusterFile(path, size, None, pfs_hash)


def differences(
    source: Source, ref: CommitRef, tree: pa.Table, files: Iterable[ClusterFile]
) -> list[FileDifference]:
    """How a commit's files differ from the vault's tree, sorted by path.

    Both come in order of path; where they do not the result is the same, and only costs memory.
    """
    only_live: dict[str, ClusterFile] = {}
    only_vault: dict[str, dict[str, Any]] = {}
    found = []
    rows = _rows(tree)
    row = next(rows, None)
    for live in files:
        while row is not None and row["path"] < live.path:
            only_vault[row["path"]] = row
            row = next(rows, None)
        if row is not None and row["path"] == live.path:
            if not _is_same(source, ref, row, live):
                found.append(FileDifference(live.path, row, live))
            row = next(rows, None)
        else:
            only_live[live.path] = live
    for each in chain([row] if row is not None else [], rows):
        only_vault[each["path"]] = each
    for path in only_live.keys() | only_vault.keys():
        one, other = only_vault.get(path), only_live.get(path)
        if one is None or other is None or not _is_same(source, ref, one, other):
            found.append(FileDifference(path, one, other))
    return sorted(found, key=lambda each: each.path)


class Judge:
    """Says which side is to blame, by reading what the vault has."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    @cached_property
    def _reader(self) -> BlobReader:
        return BlobReader(self._vault, blob_index.load_places(self._vault))

    def has(self, row: dict[str, Any]) -> bool:
        """Whether the vault has a file's bytes, and they are what the table promises.

        Raises PachvaultError where it cannot be told.
        """
        hasher, size = blake3(), 0
        try:
            for data in self._reader.stream(row["blobs"] or ([row["digest"]] if row["size"] else [])):
                hasher.update(data)
                size += len(data)
        except DamageError as error:
            _log.info("a file of the vault is damaged: %s", error)
            return False
        return bool(size == row["size"] and hasher.digest() == row["digest"])


def _rows(tree: pa.Table) -> Iterator[dict[str, Any]]:
    columns = tree.select(["path", "size", "digest", "blobs", "pfs_hash"])
    for start in range(0, columns.num_rows, _ROWS):
        yield from columns.slice(start, _ROWS).to_pylist()


def _is_same(source: Source, ref: CommitRef, row: dict[str, Any], live: ClusterFile) -> bool:
    if row["size"] != live.size:
        return False
    if live.digest is not None:
        return bool(live.digest == row["digest"])
    if row["pfs_hash"] is None or row["pfs_hash"] == live.pfs_hash:
        return True
    # unequal hashes do not prove different content: only its bytes tell
    read = _read_one(source, ref, live.path)
    return read is not None and bool(read.digest == row["digest"])


def _read_one(source: Source, ref: CommitRef, path: str) -> ClusterFile | None:
    """One file of a commit, read; None where it is not there."""
    hasher = blake3()
    for piece in source.read(ref, path, after(path)):
        if piece.offset == 0:
            hasher = blake3()
        hasher.update(piece.data)
        if piece.is_last and piece.path == path:
            return ClusterFile(piece.path, piece.size, hasher.digest(), None)
    return None

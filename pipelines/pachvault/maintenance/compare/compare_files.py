"""Compares one commit file by file: which files differ, and whether those of the vault are intact."""

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
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_ROWS = 10_000


class ClusterFile(NamedTuple):
    """A file of the cluster: with its digest if it was read, with Pachyderm's own hash if it was listed."""

    path: str
    size: int
    digest: bytes | None
    pfs_hash: bytes | None


@dataclass(frozen=True, slots=True)
class FileDifference:
    """A file that differs. A side that lacks the file is None."""

    path: str
    row: dict[str, Any] | None
    """Of the vault: path, size, digest, blobs, pfs_hash."""
    live: ClusterFile | None


def read_files(source: Source, ref: CommitRef, progress: Progress) -> Iterator[ClusterFile]:
    """Every file of a commit, with its digest: all are read."""
    hasher = blake3()
    for piece in source.read(ref):
        if piece.offset == 0:  # also after the stream broke: the file begins again
            hasher = blake3()
        hasher.update(piece.data)
        if piece.is_last:
            progress.add(piece.size, 1)
            yield ClusterFile(piece.path, piece.size, hasher.digest(), None)


def listed_files(source: Source, ref: CommitRef, progress: Progress) -> Iterator[ClusterFile]:
    """Every file of a commit, with the hash that the cluster lists."""
    for path, size, pfs_hash in source.walk(ref):
        progress.add(size, 1)
        yield ClusterFile(path, size, None, pfs_hash)


def differences(
    source: Source, ref: CommitRef, tree: pa.Table, files: Iterable[ClusterFile]
) -> list[FileDifference]:
    """How a commit's files differ from the vault's tree, sorted by path.

    Both sides are sorted by path as a rule, and are merged. Where they are not, the result is the same: files
    that do not match at once are kept in memory, and compared at the end.
    """
    only_live: dict[str, ClusterFile] = {}
    only_vault: dict[str, dict[str, Any]] = {}
    file_differences = []
    rows = _rows(tree)
    row = next(rows, None)
    for live in files:
        while row is not None and row["path"] < live.path:
            only_vault[row["path"]] = row
            row = next(rows, None)
        if row is not None and row["path"] == live.path:
            if not _is_same(source, ref, row, live):
                file_differences.append(FileDifference(live.path, row, live))
            row = next(rows, None)
        else:
            only_live[live.path] = live
    for rest in chain([row] if row is not None else [], rows):
        only_vault[rest["path"]] = rest
    for path in only_live.keys() | only_vault.keys():
        vault_row, live_file = only_vault.get(path), only_live.get(path)
        if vault_row is None or live_file is None or not _is_same(source, ref, vault_row, live_file):
            file_differences.append(FileDifference(path, vault_row, live_file))
    return sorted(file_differences, key=lambda difference: difference.path)


class VaultFileCheck:
    """Reads files from the vault, to find which side of a difference is damaged."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    @cached_property
    def _reader(self) -> BlobReader:
        return BlobReader(self._vault, blob_index.load_places(self._vault))

    def is_intact(self, row: dict[str, Any]) -> bool:
        """Whether the vault has a file's bytes, with the size and digest that the table records.

        Raises StoreError where they cannot be read.
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
    # equal hashes of Pachyderm mean equal content within one cluster; a row without one cannot be checked
    # quickly
    if row["pfs_hash"] is None or row["pfs_hash"] == live.pfs_hash:
        return True
    # Pachyderm's hash depends on how a file was written: equal content may have unequal hashes
    file = _read_one(source, ref, live.path)
    return file is not None and bool(file.digest == row["digest"])


def _read_one(source: Source, ref: CommitRef, path: str) -> ClusterFile | None:
    """One file of a commit, with its digest; None where the commit does not have it."""
    hasher = blake3()
    for piece in source.read(ref, path, after(path)):
        if piece.offset == 0:
            hasher = blake3()
        hasher.update(piece.data)
        if piece.is_last and piece.path == path:
            return ClusterFile(piece.path, piece.size, hasher.digest(), None)
    return None

"""The graph walker: from manifests to pipelines records, repo records, commit lists and file tables.

Verify, repair, erase, prune and forget are its consumers; they decide what an unreadable
object means. File tables are listed and not read, because each consumer needs other columns of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice
from typing import TypeVar

import pyarrow as pa

from pachvault.errors import CorruptError, PachvaultError
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Manifest, RepoEntry
from pachvault.format.records import RepoRecord
from pachvault.format.table import tables_of
from pachvault.vault import snapshots
from pachvault.vault.snapshots import Snapshot, SnapshotName
from pachvault.vault.vault import Vault

Content = TypeVar("Content")
Reference = TypeVar("Reference")

_READS_AT_ONCE = 4


class NodeKind(StrEnum):
    """What an object of the graph is."""

    MANIFEST = "manifest"
    PIPELINES = "pipelines"
    RECORD = "record"
    COMMIT_LIST = "commit-list"
    FILE_TABLE = "table"


@dataclass(frozen=True, slots=True)
class Reached:
    """An object that a snapshot needs. The field of its kind has its content; the others are None."""

    kind: NodeKind
    path: str
    digest: bytes
    """The digest in its name."""
    repo: RepoName | None = None
    """The repo of a record or commit list; of a file table the first repo that names it."""
    parent: str = ""
    """The path of the object that names it; of several the first one."""
    manifest: Manifest | None = None
    record: RepoRecord | None = None
    commits: pa.Table | None = None
    """Of a commit list the columns that the caller named."""


OnError = Callable[[Reached, PachvaultError], None]
"""Called with an unreadable object and the error. If it returns, the walk continues without that object."""


def stop(_: Reached, error: PachvaultError) -> None:
    """The OnError of a walk that must be complete: raises the error."""
    raise error


def walk(
    vault: Vault,
    roots: Iterable[SnapshotName | Snapshot],
    on_error: OnError = stop,
    *,
    columns: Sequence[str] = ("tables",),
    is_skipped: Callable[[str], bool] = lambda _: False,
) -> Iterator[Reached]:
    """Every object that snapshots need, a parent before its children; each is returned and read once.

    `roots`: snapshots by name, or opened: then their manifests are not read again.
    `columns`: the columns of commit lists to decode (schema table.COMMITS); "tables" must be one of them.
    `is_skipped`: called with a path; where it is true, the object and what it names are left out. A commit
    list is returned once for each repo that names it. A few threads read ahead. MemoryError, and errors that
    `on_error` or `is_skipped` raise, end the walk.
    """
    with ThreadPoolExecutor(_READS_AT_ONCE, "walk") as pool:
        yield from _Walk(vault, pool, on_error, columns, is_skipped).all(roots)


@dataclass(slots=True)
class _Walk:
    vault: Vault
    pool: ThreadPoolExecutor
    on_error: OnError
    columns: Sequence[str]
    is_skipped: Callable[[str], bool]
    visited: set[tuple[str, RepoName | None]] = field(default_factory=set)

    def all(self, roots: Iterable[SnapshotName | Snapshot]) -> Iterator[Reached]:
        for at, snapshot in self._read_ahead(map(_node_of, roots), self._opened):
            yield replace(at, manifest=snapshot.manifest)
            yield from self._below_manifest(at.path, snapshot.manifest)

    def _below_manifest(self, parent: str, manifest: Manifest) -> Iterator[Reached]:
        name = manifest.pipelines
        pipelines = Reached(NodeKind.PIPELINES, layout.record_path(name), name, parent=parent)
        for at, _ in self._read_ahead(self._new([(pipelines, name)]), self.vault.pipelines_record):
            yield at
        records = (
            (
                Reached(
                    NodeKind.RECORD,
                    layout.record_path(entry.record),
                    entry.record,
                    RepoName(entry.project, entry.repo),
                    parent,
                ),
                entry,
            )
            for entry in manifest.repos
        )
        for at, record in self._read_ahead(self._new(records), self._record):
            yield replace(at, record=record)
            yield from self._below_record(at, record)

    def _below_record(self, of_record: Reached, record: RepoRecord) -> Iterator[Reached]:
        commit_lists = (
            (
                Reached(
                    NodeKind.COMMIT_LIST,
                    layout.table_path(segment.table),
                    segment.table,
                    of_record.repo,
                    of_record.path,
                ),
                segment.table,
            )
            for segment in record.segments
        )
        for at, commits in self._read_ahead(
            self._new(commit_lists), lambda name: self.vault.commit_list(name, self.columns)
        ):
            yield replace(at, commits=commits)
            tables = (
                Reached(NodeKind.FILE_TABLE, layout.table_path(name), name, at.repo, at.path)
                for name in tables_of(commits)
            )
            yield from (table for table, _ in self._new((table, None) for table in tables))

    def _opened(self, root: SnapshotName | Snapshot) -> Snapshot:
        return root if isinstance(root, Snapshot) else snapshots.load(self.vault, root)

    def _record(self, entry: RepoEntry) -> RepoRecord:
        record = self.vault.repo_record(entry.record)
        expected, actual = RepoName(entry.project, entry.repo), RepoName(record.project, record.repo)
        # the digest proves the bytes, not that the manifest names the record for the right repo
        if actual != expected:
            raise CorruptError(f"the manifest names this record for {expected}, it is one of {actual}")
        return record

    def _new(self, objects: Iterable[tuple[Reached, Reference]]) -> Iterator[tuple[Reached, Reference]]:
        """Those that were not visited before and are not skipped."""
        for at, name in objects:
            # two repos with the same history share a list, and each has rows of its own in the file tables
            key = at.path, at.repo if at.kind is NodeKind.COMMIT_LIST else None
            if key not in self.visited and not self.is_skipped(at.path):
                self.visited.add(key)
                yield at, name

    def _read_ahead(
        self, objects: Iterable[tuple[Reached, Reference]], read: Callable[[Reference], Content]
    ) -> Iterator[tuple[Reached, Content]]:
        """The readable objects, in order, each with the result of `read`."""
        waiting: deque[tuple[Reached, Future[Content]]] = deque()
        following = iter(objects)
        while True:
            # bounded: each read result stays in memory until its turn
            for at, reference in islice(following, _READS_AT_ONCE - len(waiting)):
                waiting.append((at, self.pool.submit(read, reference)))
            if not waiting:
                return
            at, reading = waiting.popleft()
            try:
                content = reading.result()
            except PachvaultError as error:
                self.on_error(at, error)
            else:
                yield at, content


def _node_of(root: SnapshotName | Snapshot) -> tuple[Reached, SnapshotName | Snapshot]:
    name = root.name if isinstance(root, Snapshot) else root
    return Reached(NodeKind.MANIFEST, name.path, bytes.fromhex(name.id)), root


def manifests(vault: Vault) -> Iterator[SnapshotName]:
    """The names of all manifests, those of forgotten snapshots included."""
    seen: set[str] = set()
    # twice around: one that is forgotten or brought back meanwhile is in one of the three listings
    for folder in (layout.FORGOTTEN, layout.SNAPSHOTS, layout.FORGOTTEN):
        for info in vault.objects(folder):
            name = snapshots.parse_path(info.name)
            if name is not None and name.path not in seen:
                seen.add(name.path)
                yield name

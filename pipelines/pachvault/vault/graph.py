"""Which snapshots need an object: the graph of manifests, records, commit lists and file tables, in memory.

It is small: it has no rows of files, and of commit lists only the columns that the caller names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pachvault.errors import PachvaultError
from pachvault.format.manifest import Manifest
from pachvault.format.table import tables_of
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault
from pachvault.vault.walk import NodeKind, Reached, walk


@dataclass(slots=True)
class RecordNode:
    """A repo record, and the snapshots that name it."""

    repo: str
    snapshots: list[str] = field(default_factory=list)
    """Short ids, in the order of the walk."""
    lists: dict[bytes, int] = field(default_factory=dict)
    """Its commit lists, each with its number of commits; empty where the record is unreadable."""
    heads: dict[str, str] = field(default_factory=dict)
    """The head of each branch that has one."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An object that is unreadable or damaged."""

    at: Reached
    error: PachvaultError


@dataclass(slots=True)
class Graph:
    """Which object names which."""

    snapshots: list[str] = field(default_factory=list)
    """Short ids, in the order of the walk; those with a damaged manifest, too."""
    pipelines: dict[bytes, list[str]] = field(default_factory=dict)
    """The snapshots that name a pipelines record."""
    records: dict[bytes, RecordNode] = field(default_factory=dict)
    lists: dict[tuple[str, bytes], pa.Table] = field(default_factory=dict)
    """Readable commit lists by repo and digest."""
    tables: dict[bytes, None] = field(default_factory=dict)
    """Every file table, in the order of the walk."""
    failures: list[Failure] = field(default_factory=list)
    _lists_by_table: dict[bytes, list[tuple[str, bytes]]] = field(default_factory=dict)

    @classmethod
    def read(cls, vault: Vault, names: Sequence[SnapshotName], columns: Sequence[str]) -> Graph:
        """Walk these snapshots. A damaged object is recorded in `failures`, and the walk continues."""
        graph = cls(snapshots=[name.id[:12] for name in names])

        def record_failure(at: Reached, error: PachvaultError) -> None:
            graph.failures.append(Failure(at, error))

        for at in walk(vault, names, record_failure, columns=columns):
            if at.manifest is not None:
                graph._add_manifest(at.digest.hex()[:12], at.manifest)
            elif at.record is not None:
                # there already: the walk yields a parent before its children
                node = graph.records[at.digest]
                node.lists = {segment.table: segment.commits for segment in at.record.segments}
                node.heads = {branch.name: branch.head for branch in at.record.branches if branch.head}
            elif at.commits is not None:
                # by repo, too: two repos with the same history share one commit list
                graph.lists[str(at.repo), at.digest] = at.commits
            elif at.kind is NodeKind.FILE_TABLE:
                graph.tables[at.digest] = None
        return graph

    def affected(self, at: Reached) -> list[str]:
        """The snapshots that need a damaged object."""
        if at.kind is NodeKind.MANIFEST:
            return [at.digest.hex()[:12]]
        if at.kind is NodeKind.PIPELINES:
            return self.pipelines[at.digest]
        if at.kind is NodeKind.RECORD:
            return self.records[at.digest].snapshots
        if at.kind is NodeKind.COMMIT_LIST:
            return self.affected_by_lists(str(at.repo), [at.digest])
        owners = self.lists_that_name(at.digest)
        affected = {name for repo, digest in owners for name in self.affected_by_lists(repo, [digest])}
        return [name for name in self.snapshots if name in affected]

    def affected_by_commits(self, repo: str, commits: pa.Array, tables: Iterable[bytes]) -> list[str]:
        """The snapshots that have any of these commits of a repo, with rows in any of these file tables."""
        lists = {
            digest
            for table in tables
            for owner, digest in self.lists_that_name(table)
            if owner == repo and pc.any(pc.is_in(self.lists[owner, digest]["commit"], commits)).as_py()
        }
        return self.affected_by_lists(repo, lists)

    def affected_by_lists(self, repo: str, lists: Iterable[bytes]) -> list[str]:
        """The snapshots whose record of a repo names any of these commit lists."""
        wanted = frozenset(lists)
        records = [record for record in self.records.values() if record.repo == repo]
        affected = {
            name for record in records if not wanted.isdisjoint(record.lists) for name in record.snapshots
        }
        return [name for name in self.snapshots if name in affected]

    def lists_that_name(self, table: bytes) -> list[tuple[str, bytes]]:
        """The commit lists, each with its repo, that name a file table."""
        # computed at the first damage only: an intact vault never needs it
        if not self._lists_by_table:
            for key, rows in self.lists.items():
                for name in tables_of(rows):
                    self._lists_by_table.setdefault(name, []).append(key)
        return self._lists_by_table.get(table, [])

    def _add_manifest(self, short_id: str, manifest: Manifest) -> None:
        self.pipelines.setdefault(manifest.pipelines, []).append(short_id)
        for entry in manifest.repos:
            node = self.records.setdefault(entry.record, RecordNode(f"{entry.project}/{entry.repo}"))
            node.snapshots.append(short_id)

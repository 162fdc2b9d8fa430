"""What the vault already knows: sealed records of the repos, and content by Pachyderm's file hash."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pachvault.backup.backup_messages import Link
from pachvault.errors import DamageError
from pachvault.format import layout, table
from pachvault.format.documents import METADATA_LOST, Problem
from pachvault.format.ids import RepoName
from pachvault.pach.records import Change, CommitInfo
from pachvault.store.store import ObjectInfo
from pachvault.vault import snapshots
from pachvault.vault.snapshots import RepoHistory, Snapshot
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownContent:
    """A file's content as the vault has it."""

    digest: bytes
    blobs: list[bytes] | None


@dataclass(frozen=True, slots=True)
class SealedCommits:
    """The newest sealed record of a repo."""

    digest: bytes
    history: RepoHistory
    lost: frozenset[str] = frozenset()
    """Its commits of which the vault has lost rows: they are exported again."""

    def commits(self) -> set[str]:
        """Every commit that the vault holds the rows of."""
        return set(self.history.by_id) - self.lost

    def can_be_base(self, commit: str, now: CommitInfo | None) -> bool:
        """Whether a delta may stand on a sealed commit: it did not fail, and its chain is undamaged.

        Where the cluster still has the commit, as `now`, the vault must have all of it: nothing was erased.
        """
        if self.history.commit(commit)["error"]:
            return False
        if now is not None and now.size_bytes != self.history.size_of(commit):
            return False
        try:
            for row in self.history.chain(commit):
                for name in self.history.commits["tables"][row].as_py():
                    self.history.vault.read(layout.table_path(name))
        except DamageError as error:
            _log.info("commit %s is stored again, its tables are damaged: %s", commit, error)
            return False
        return True


@dataclass(frozen=True, slots=True)
class NewestRecords:
    """What a run builds on."""

    records: dict[RepoName, SealedCommits]
    """The newest record of each repo that reads."""
    snapshot: Snapshot | None
    """The cluster's newest one."""
    notes: list[Problem]
    """What was passed over because it does not read, and what is therefore exported again."""


def newest_records(vault: Vault, cluster_id: str, repos: Iterable[RepoName]) -> NewestRecords:
    """The newest sealed record of each repo; one that no snapshot of this cluster has is left out.

    A backup goes on from what is whole: damaged manifests and records are passed over, commits whose file
    tables are lost count as not stored, and notes say so.
    """
    wanted = set(repos)
    records: dict[RepoName, SealedCommits] = {}
    newest: Snapshot | None = None
    notes: list[Problem] = []
    tables = {info.name: info for info in vault.objects(layout.TABLES)}
    for name in reversed(snapshots.names(vault)):
        if newest is not None and not wanted:
            break
        try:
            snapshot = snapshots.load(vault, name)
        except DamageError as error:
            notes.append(_passed_over("*", f"snapshot {name.id[:12]}", error))
            continue
        if snapshot.manifest.cluster.id != cluster_id:
            continue
        newest = newest or snapshot
        sealed_at = vault.store.stat(name.path)
        for entry in snapshot.manifest.repos:
            repo = RepoName(entry.project, entry.repo)
            if repo not in wanted:
                continue
            try:
                history = RepoHistory(vault, vault.repo_record(entry.record))
                _ = history.commits  # read here, where damage can be passed over
            except DamageError as error:
                notes.append(_passed_over(str(repo), f"its record in snapshot {name.id[:12]}", error))
                continue
            wanted.discard(repo)
            lost = _lost_commits(history, tables, sealed_at.modified_at if sealed_at else None)
            records[repo] = SealedCommits(entry.record, history, lost)
            if lost:
                message = f"the vault has lost file tables of {len(lost)} commits: they are exported again"
                notes.append(Problem(repo=str(repo), kind=METADATA_LOST, message=message))
    return NewestRecords(records, newest, notes)


def _passed_over(repo: str, what: str, error: DamageError) -> Problem:
    message = f"{what} does not read and is passed over: {error.what}; `pachvault verify` names what it hits"
    return Problem(repo=repo, kind=METADATA_LOST, message=message)


def _lost_commits(
    history: RepoHistory, tables: Mapping[str, ObjectInfo], sealed_at: datetime | None
) -> frozenset[str]:
    """The commits whose own tables, or those of a base, are missing or not what their names promise.

    `sealed_at`: when the manifest was written, by the store's clock. What was there by then the seal has
    vouched for; what was written since is read again.
    """
    vault = history.vault

    def is_lost(name: bytes) -> bool:
        info = tables.get(layout.table_path(name))
        if info is None:
            return True
        if sealed_at is not None and info.modified_at <= sealed_at:
            return False
        try:
            vault.read(info.name)
        except DamageError as error:
            _log.info("commits of a damaged table are stored again: %s", error)
            return True
        return False

    gone = {name for name in table.tables_of(history.commits) if is_lost(name)}
    if not gone:
        return frozenset()
    lost: set[str] = set()
    for row in history.commits.select(["commit", "base", "tables"]).to_pylist():
        if row["base"] in lost or not gone.isdisjoint(row["tables"]):
            lost.add(row["commit"])
    return frozenset(lost)


def chain_links(history: RepoHistory, commit_id: str) -> list[Link]:
    """The tables that hold a sealed commit's tree, a full commit's first."""
    commits, tables = history.commits["commit"], history.commits["tables"]
    return [Link(commit=commits[row].as_py(), tables=tables[row].as_py()) for row in history.chain(commit_id)]


def sealed_layers(vault: Vault, repo: RepoName, chain: Sequence[Link]) -> list[pa.Table]:
    """The rows of a sealed commit's chain, a full commit's first; none where a table is damaged."""
    try:
        return [
            snapshots.rows_of(vault.file_table(name), repo, link.commit)
            for link in chain
            for name in link.tables
        ]
    except DamageError:
        return []  # the files are read then


def known_contents(
    base_layers: Callable[[], Sequence[pa.Table]], changes: Sequence[Change]
) -> dict[bytes, KnownContent]:
    """By Pachyderm hash, the content of changed files that the base's rows already hold.

    Equal hashes mean equal content within a cluster. A renamed file is found by its old path; a file
    whose hash a table has noted, by that.
    """
    wanted = {change.new_hash for change in changes if change.new_size > 0}
    layers = base_layers() if wanted else []
    if not layers:
        return {}
    found = _by_noted_hash(layers, wanted)
    moved = {
        change.old_hash: change.path
        for change in changes
        if change.old_size > 0 and change.old_hash in wanted and change.old_hash not in found
    }
    if moved:
        tree = table.fold(list(layers))
        tree = tree.filter(pc.is_in(tree["path"], pa.array(list(moved.values()), pa.string())))
        by_path = {row["path"]: KnownContent(row["digest"], row["blobs"]) for row in tree.to_pylist()}
        found |= {pfs_hash: by_path[path] for pfs_hash, path in moved.items() if path in by_path}
    return found


def _by_noted_hash(layers: Sequence[pa.Table], wanted: set[bytes]) -> dict[bytes, KnownContent]:
    rows = pa.concat_tables(layers).select(["pfs_hash", "digest", "blobs", "kind"])
    rows = rows.filter(pc.is_in(rows["pfs_hash"], pa.array(list(wanted), pa.binary())))
    return {
        row["pfs_hash"]: KnownContent(row["digest"], row["blobs"])
        for row in rows.to_pylist()
        if row["kind"] == table.FILE
    }

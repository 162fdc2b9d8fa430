"""What the vault already has: the sealed records of the repos, and file contents by Pachyderm's hash."""

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
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Problem
from pachvault.format.problem_kinds import METADATA_LOST
from pachvault.pach.records import Change, CommitInfo
from pachvault.store.store import ObjectInfo
from pachvault.vault import snapshots
from pachvault.vault.repo_history import RepoHistory, rows_of_commit
from pachvault.vault.snapshots import Snapshot
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
    """Its commits whose file tables are missing or damaged: they are exported again."""
    history_listed_at: datetime | None = None
    """When a run last listed all commits of the repo in the cluster; None where no run recorded it."""

    def listed(self) -> dict[str, CommitInfo]:
        """The commits that are part of the snapshot, by id, as a run last listed them.

        Those that are only bases are left out: nobody records how the cluster has them now.
        """
        columns = [
            "commit", "parent", "origin", "started", "finished", "description", "error", "size",
            "metadata", "created_by",
        ]  # fmt: skip
        return {
            row["commit"]: CommitInfo(
                id=row["commit"],
                parent=row["parent"],
                origin=row["origin"],
                started_at=row["started"],
                finished_at=row["finished"],
                description=row["description"],
                error=row["error"],
                size_bytes=row["size"],
                metadata=table.decode_metadata(row["metadata"]),
                created_by=row["created_by"] or "",
            )
            for row in self.history.commits.filter(self.history.commits["listed"]).select(columns).to_pylist()
        }

    def commits(self) -> set[str]:
        """The commits whose rows the vault has."""
        return set(self.history.by_id) - self.lost

    def can_be_base(self, commit: str, now: CommitInfo | None) -> bool:
        """Whether a delta may build on a sealed commit: it did not fail, and its chain is intact.

        `now` is the commit as the cluster has it, if it still has it. The sizes must be equal then: no file
        was erased from the vault. Reads the tables of the chain.
        """
        if self.history.commit(commit)["error"]:
            return False
        if now is not None and now.size_bytes != self.history.size_of(commit):
            return False
        try:
            # read here, not only listed: a damaged table would affect every later delta on this commit
            for row in self.history.chain(commit):
                for name in self.history.commits["tables"][row].as_py():
                    self.history.vault.read(layout.table_path(name))
        except DamageError as error:
            _log.info("commit %s is stored again, its tables are damaged: %s", commit, error)
            return False
        return True


@dataclass(frozen=True, slots=True)
class NewestRecords:
    """The sealed state that a run builds on."""

    records: dict[RepoName, SealedCommits]
    """The newest readable record of each repo."""
    snapshot: Snapshot | None
    """The newest readable snapshot of the cluster."""
    notes: list[Problem]
    """What was skipped because it is damaged, and what is exported again because of that."""


def newest_records(vault: Vault, cluster_id: str, repos: Iterable[RepoName]) -> NewestRecords:
    """The newest sealed record of each repo that any snapshot of this cluster has.

    Damaged manifests and records are skipped, and commits whose file tables are lost count as not stored.
    There is a note about each of them.
    """
    wanted = set(repos)
    records: dict[RepoName, SealedCommits] = {}
    newest: Snapshot | None = None
    notes: list[Problem] = []
    # the snapshots first: tables of one that is sealed between the two listings must not look lost
    names = snapshots.names(vault)
    tables = {info.name: info for info in vault.objects(layout.TABLES)}
    for name in reversed(names):
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
        # None where it was forgotten since the listing: all its tables are read then
        sealed_at = vault.store.stat(name.path)
        for entry in snapshot.manifest.repos:
            repo = RepoName(entry.project, entry.repo)
            if repo not in wanted:
                continue
            try:
                history = RepoHistory(vault, vault.repo_record(entry.record))
                _ = history.commits  # read here, where damage can be skipped
            except DamageError as error:
                notes.append(_passed_over(str(repo), f"its record in snapshot {name.id[:12]}", error))
                continue
            wanted.discard(repo)
            lost = _lost_commits(history, tables, sealed_at.modified_at if sealed_at else None)
            records[repo] = SealedCommits(entry.record, history, lost, entry.history_listed_at)
            if lost:
                message = f"the vault has lost file tables of {len(lost)} commits: they are exported again"
                notes.append(Problem(repo=str(repo), kind=METADATA_LOST, message=message))
    return NewestRecords(records, newest, notes)


def _passed_over(repo: str, what: str, error: DamageError) -> Problem:
    message = f"{what} is unreadable and skipped: {error.what}; `pachvault verify` lists what is affected"
    return Problem(repo=repo, kind=METADATA_LOST, message=message)


def _lost_commits(
    history: RepoHistory, tables: Mapping[str, ObjectInfo], sealed_at: datetime | None
) -> frozenset[str]:
    """The commits whose own tables, or those of a base, are missing or damaged.

    `sealed_at`: when the manifest was written, by the store's clock. The seal checked the tables that were
    there by then; those written since are read again.
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
    # format 8.2.2: a commit comes after its base, so one pass finds all that build on a lost one
    for row in history.commits.select(["commit", "base", "tables"]).to_pylist():
        if row["base"] in lost or not gone.isdisjoint(row["tables"]):
            lost.add(row["commit"])
    return frozenset(lost)


def chain_links(history: RepoHistory, commit_id: str) -> list[Link]:
    """The tables that hold a sealed commit's tree, from a full commit on."""
    commits, tables = history.commits["commit"], history.commits["tables"]
    return [Link(commit=commits[row].as_py(), tables=tables[row].as_py()) for row in history.chain(commit_id)]


def sealed_layers(vault: Vault, repo: RepoName, chain: Sequence[Link]) -> list[pa.Table]:
    """The rows of a sealed commit's chain, from a full commit on; none where a table is damaged."""
    try:
        return [
            rows_of_commit(vault.file_table(name), repo, link.commit)
            for link in chain
            for name in link.tables
        ]
    except DamageError:
        return []  # the files are read from the cluster then


def known_contents(
    base_layers: Callable[[], Sequence[pa.Table]], changes: Sequence[Change]
) -> dict[bytes, KnownContent]:
    """The content of changed files that the rows of the base have, by Pachyderm's hash.

    Equal hashes mean equal content within a cluster. A file is found by the hash that a row has, a renamed
    one by the row of its old path.
    """
    wanted = {change.new_hash for change in changes if change.new_size > 0}
    layers = base_layers() if wanted else []
    if not layers:
        return {}
    contents = _by_noted_hash(layers, wanted)
    # folding a tree is expensive: it is done only for files that were renamed or copied
    moved = {
        change.old_hash: change.path
        for change in changes
        if change.old_size > 0 and change.old_hash in wanted and change.old_hash not in contents
    }
    if moved:
        tree = table.fold(list(layers))
        tree = tree.filter(pc.is_in(tree["path"], pa.array(list(moved.values()), pa.string())))
        by_path = {row["path"]: KnownContent(row["digest"], row["blobs"]) for row in tree.to_pylist()}
        contents |= {pfs_hash: by_path[path] for pfs_hash, path in moved.items() if path in by_path}
    return contents


def _by_noted_hash(layers: Sequence[pa.Table], wanted: set[bytes]) -> dict[bytes, KnownContent]:
    rows = pa.concat_tables(layers).select(["pfs_hash", "digest", "blobs", "kind"])
    rows = rows.filter(pc.is_in(rows["pfs_hash"], pa.array(list(wanted), pa.binary())))
    # rows of several commits may have one hash; which one is taken does not matter: the content is equal
    return {
        row["pfs_hash"]: KnownContent(row["digest"], row["blobs"])
        for row in rows.to_pylist()
        if row["kind"] == table.FILE
    }

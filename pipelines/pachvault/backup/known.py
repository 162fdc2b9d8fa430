"""What the vault already knows: sealed records of the repos, and content by Pachyderm's file hash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pachvault.backup.work import Link
from pachvault.errors import DamageError
from pachvault.format import table
from pachvault.format.ids import RepoName
from pachvault.pach.records import Change
from pachvault.vault import snapshots
from pachvault.vault.snapshots import RepoHistory, Snapshot
from pachvault.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class Content:
    """A file's content as the vault has it."""

    digest: bytes
    blobs: list[bytes] | None


def newest_records(
    vault: Vault, cluster_id: str, repos: Iterable[RepoName]
) -> tuple[dict[RepoName, tuple[bytes, RepoHistory]], Snapshot | None]:
    """The newest sealed record of each repo, and the cluster's newest snapshot.

    A repo that no snapshot of this cluster has is left out. Damaged manifests and records are passed
    over: verify names them, and a backup goes on from what is whole.
    """
    wanted = set(repos)
    found: dict[RepoName, tuple[bytes, RepoHistory]] = {}
    newest: Snapshot | None = None
    for name in reversed(snapshots.names(vault)):
        if newest is not None and not wanted:
            break
        try:
            snapshot = snapshots.load(vault, name)
        except DamageError:
            continue
        if snapshot.manifest.cluster.id != cluster_id:
            continue
        newest = newest or snapshot
        for entry in snapshot.manifest.repos:
            repo = RepoName(entry.project, entry.repo)
            if repo in wanted and (history := _whole_history(vault, entry.record)) is not None:
                wanted.discard(repo)
                found[repo] = (entry.record, history)
    return found, newest


def _whole_history(vault: Vault, record: bytes) -> RepoHistory | None:
    """A sealed record with its commit lists read; None where one of them is damaged."""
    try:
        history = RepoHistory(vault, vault.repo_record(record))
        _ = history.commits  # read here, where damage can be passed over
    except DamageError:
        return None
    return history


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
) -> dict[bytes, Content]:
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
        by_path = {row["path"]: Content(row["digest"], row["blobs"]) for row in tree.to_pylist()}
        found |= {pfs_hash: by_path[path] for pfs_hash, path in moved.items() if path in by_path}
    return found


def _by_noted_hash(layers: Sequence[pa.Table], wanted: set[bytes]) -> dict[bytes, Content]:
    rows = pa.concat_tables(layers).select(["pfs_hash", "digest", "blobs", "kind"])
    rows = rows.filter(pc.is_in(rows["pfs_hash"], pa.array(list(wanted), pa.binary())))
    return {
        row["pfs_hash"]: Content(row["digest"], row["blobs"])
        for row in rows.to_pylist()
        if row["kind"] == table.FILE
    }

"""The upper part of a vault: manifests, records, commit lists, each read once and checked.

What it leaves is slim: who names whom, without any file's row, so that it can be asked later whom a
damage hits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachvault.errors import CorruptError
from pachvault.format import layout, table
from pachvault.format.documents import RepoRecord
from pachvault.format.ids import RepoName
from pachvault.format.table import tables_of
from pachvault.maintenance.retrying_store import is_gone
from pachvault.maintenance.verify.findings import Damage, tried
from pachvault.vault import snapshots
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class Record:
    """A repo record: whose it is, and who names it."""

    repo: str
    snapshots: list[str]
    """Short ids, oldest first."""
    lists: tuple[bytes, ...]


@dataclass(slots=True)
class Structure:
    """What names what."""

    snapshots: list[str] = field(default_factory=list)
    records: dict[bytes, Record] = field(default_factory=dict)
    lists: dict[tuple[str, bytes], pa.Table] = field(default_factory=dict)
    """By repo and digest: commit, base, rows, tables."""
    tables: dict[bytes, None] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)
    _naming: dict[bytes, list[tuple[str, bytes]]] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether all of it was read, so that what it does not name is named by nobody."""
        return all(damage.is_read and not damage.is_vital for damage in self.damages)

    def of_commits(self, repo: str, commits: pa.Array, tables: Iterable[bytes]) -> list[str]:
        """The snapshots that have any of these commits of a repo, with rows in any of these file tables."""
        lists = {
            digest
            for table in tables
            for owner, digest in self.naming(table)
            if owner == repo and pc.any(pc.is_in(self.lists[owner, digest]["commit"], commits)).as_py()
        }
        return self.of_lists(repo, lists)

    def naming(self, table: bytes) -> list[tuple[str, bytes]]:
        """The commit lists, each with its repo, that name a file table."""
        if not self._naming:
            for key, rows in self.lists.items():
                for each in tables_of(rows):
                    self._naming.setdefault(each, []).append(key)
        return self._naming.get(table, [])

    def of_lists(self, repo: str, lists: Iterable[bytes]) -> list[str]:
        """The snapshots whose record of a repo names any of these commit lists."""
        wanted = frozenset(lists)
        records = [each for each in self.records.values() if each.repo == repo]
        hit = {name for each in records if not wanted.isdisjoint(each.lists) for name in each.snapshots}
        return [name for name in self.snapshots if name in hit]


def walk(vault: Vault, names: Iterable[SnapshotName]) -> Structure:
    """Read the snapshots' manifests, records and commit lists; `verify_tables` reads the rest."""
    found = Structure()
    pipelines: dict[bytes, list[str]] = {}
    unread: dict[bytes, list[str]] = {}
    whose: dict[bytes, str] = {}
    for name in names:
        short = name.id[:12]
        found.snapshots.append(short)
        about = Damage(kind="manifest", object=name.path, snapshots=frozenset([short]))
        snapshot, damages = tried(about, partial(snapshots.load, vault, name))
        if snapshot is None:
            # one that is gone since the listing was forgotten
            found.damages += [] if is_gone(vault, name.path) else damages
            continue
        pipelines.setdefault(snapshot.manifest.pipelines, []).append(short)
        for entry in snapshot.manifest.repos:
            unread.setdefault(entry.record, []).append(short)
            whose[entry.record] = f"{entry.project}/{entry.repo}"
    for digest, shorts in pipelines.items():
        about = Damage(kind="record", object=layout.record_path(digest), snapshots=frozenset(shorts))
        found.damages += tried(about, partial(vault.pipelines_record, digest))[1]
    for digest, shorts in unread.items():
        _record(vault, found, digest, whose[digest], shorts)
    return found


def _record(vault: Vault, found: Structure, digest: bytes, repo: str, shorts: list[str]) -> None:
    about = Damage(
        kind="record",
        object=layout.record_path(digest),
        repo=repo,
        snapshots=frozenset(shorts),
    )
    record, damages = tried(about, partial(_read_record, vault, digest, repo))
    found.damages += damages
    if record is None:
        return
    lists = tuple(segment.table for segment in record.segments)
    found.records[digest] = Record(repo, shorts, lists)
    is_complete = True
    for each in lists:
        if (repo, each) not in found.lists:
            whose = Damage(kind="commit-list", object=layout.table_path(each), repo=repo, listing=each)
            commits, damages = tried(whose, partial(_read_list, vault, each))
            found.damages += damages
            if commits is not None:
                found.lists[repo, each] = commits
                found.tables.update(dict.fromkeys(tables_of(commits)))
        is_complete &= (repo, each) in found.lists
    if is_complete:
        found.damages += _chains(about, [found.lists[repo, each] for each in lists])


def _read_record(vault: Vault, digest: bytes, repo: str) -> RepoRecord:
    record = vault.repo_record(digest)
    said = str(RepoName(record.project, record.repo))
    if said != repo:
        raise CorruptError(f"the manifest names it for {repo}, it is that of {said}")
    return record


def _read_list(vault: Vault, digest: bytes) -> pa.Table:
    return vault.commit_list(digest).select(["commit", "base", "rows", "tables"])


def _chains(about: Damage, lists: list[pa.Table]) -> list[Damage]:
    """Every commit after its base: then every chain ends at a full commit."""
    rows = pa.concat_tables([table.COMMITS.empty_table().select(["commit", "base"]), *(
        each.select(["commit", "base"]) for each in lists
    )])  # fmt: skip
    at = pc.index_in(rows["base"], rows["commit"].combine_chunks()).to_numpy(zero_copy_only=False)
    has_base = pc.is_valid(rows["base"]).to_numpy(zero_copy_only=False)
    is_before = np.nan_to_num(at.astype(float), nan=np.inf) < np.arange(rows.num_rows)
    bad = np.flatnonzero(has_base & ~is_before)
    if not len(bad):
        return []
    first = rows.slice(int(bad[0]), 1).to_pylist()[0]
    message = f"{len(bad)} commits lack their base: {first['commit']} needs {first['base']} before it"
    return [
        Damage(
            kind="chain-damaged",
            object=about.object,
            message=message,
            is_vital=True,
            repo=about.repo,
            snapshots=about.snapshots,
        )
    ]

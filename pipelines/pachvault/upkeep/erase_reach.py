"""The file tables of a vault, and which of their rows go: what an erasure is planned from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pachvault.errors import DamageError
from pachvault.format import layout, pack, table
from pachvault.format.documents import Manifest, RepoRecord
from pachvault.format.ids import RepoName
from pachvault.upkeep.erase_selection import Selection
from pachvault.vault import snapshots
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault

NAMED = 20
"""Files that are named of those that keep a blob."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A snapshot that is written anew, and how much goes of it."""

    name: SnapshotName
    manifest: Manifest
    files: int
    size: int
    """Of the files its commits put, each time they did."""


@dataclass(slots=True)
class Reach:
    """The tables of a vault, and the rows of them that go."""

    vault: Vault
    selection: Selection
    names: set[str] = field(default_factory=set)
    hits: dict[bytes, pa.Table] = field(default_factory=dict)
    _tables: dict[bytes, None] = field(default_factory=dict)
    _records: dict[bytes, RepoRecord] = field(default_factory=dict)
    _of_list: dict[bytes, tuple[int, int, bool]] = field(default_factory=dict)

    def read(self, alive: list[tuple[SnapshotName, Manifest]]) -> None:
        """Find all file tables, those of dead runs too, and what goes of each."""
        try:
            for _, manifest in alive:
                self.names.add(layout.record_path(manifest.pipelines))
                for entry in manifest.repos:
                    self._record(entry.record)
            for name in self._tables:
                self._file_table(name, self.vault.file_table(name))
        except DamageError as error:
            raise unknown(error) from error
        for info in self.vault.store.list(layout.TABLES):
            stray = layout.named_digest(info.name)
            if stray is None or info.name in self.names:
                continue
            try:
                self._file_table(stray, self.vault.file_table(stray))
            except DamageError:
                continue  # a commit list, or what died half-written: nothing that a reader could read
            self._tables[stray] = None

    @property
    def file_tables(self) -> list[bytes]:
        """All file tables that were read."""
        return list(self._tables)

    def hit(self, name: SnapshotName, manifest: Manifest) -> Hit | None:
        """What goes of a snapshot; None where it stays as it is."""
        sums = [each for entry in manifest.repos for each in self._sums(entry.record)]
        if not any(is_hit for _, _, is_hit in sums):
            return None
        return Hit(name, manifest, sum(files for files, _, _ in sums), sum(size for _, size, _ in sums))

    def hit_rows(self) -> pa.Table:
        """The files that go, each once however many tables have it."""
        columns = ["repo", "commit", "path", "size"]
        rows = pa.concat_tables([table.FILES.empty_table(), *self.hits.values()])
        rows = rows.filter(pc.equal(rows["kind"], table.FILE)).select(columns)
        return rows.group_by(["repo", "commit", "path"]).aggregate([("size", "max")]).rename_columns(columns)

    def contents(self) -> tuple[NDArray[np.void], int, list[str]]:
        """The blobs that nothing else needs, how many of the others stay, and some files that have them."""
        mine = [table.digests_of(rows) for rows in self.hits.values()]
        wanted = np.unique(np.concatenate([np.empty(0, "V32"), *mine]))
        shared: list[NDArray[np.void]] = [np.empty(0, "V32")]
        keepers: dict[str, None] = {}
        for name in self._tables if len(wanted) else ():
            files = self.vault.file_table(name)
            if name in self.hits:
                files = files.filter(pa.array(~self.selection.hits(files)))
            both = np.intersect1d(wanted, table.digests_of(files))
            if len(both):
                shared.append(both)
                if len(keepers) < NAMED and layout.table_path(name) in self.names:
                    keepers.update(dict.fromkeys(table.files_with(files, pack.split_digests(both))))
        kept = np.unique(np.concatenate(shared))
        return np.setdiff1d(wanted, kept), len(kept), list(keepers)[:NAMED]

    def _record(self, name: bytes) -> None:
        if name in self._records:
            return
        self._records[name] = self.vault.repo_record(name)
        self.names.add(layout.record_path(name))
        for segment in self._records[name].segments:
            path = layout.table_path(segment.table)
            if path in self.names:
                continue
            self.names.add(path)
            commits = self.vault.commit_list(segment.table)
            for each in pc.unique(pc.list_flatten(commits["tables"])).to_pylist():
                self.names.add(layout.table_path(each))
                self._tables[each] = None

    def _file_table(self, name: bytes, files: pa.Table) -> None:
        mask = self.selection.hits(files)
        if mask.any():
            self.hits[name] = files.filter(pa.array(mask)).combine_chunks()

    def _sums(self, name: bytes) -> Iterator[tuple[int, int, bool]]:
        """For each commit list: files and bytes that go of its commits, and whether it is written anew."""
        record = self._records[name]
        repo = RepoName(record.project, record.repo)
        for segment in record.segments:
            if segment.table not in self._of_list:
                self._of_list[segment.table] = self._sums_of(repo, self.vault.commit_list(segment.table))
            yield self._of_list[segment.table]

    def _sums_of(self, repo: RepoName, commits: pa.Table) -> tuple[int, int, bool]:
        files = size = 0
        is_hit = False
        for commit, tables in zip(commits["commit"].to_pylist(), commits["tables"].to_pylist(), strict=True):
            for rows in (self.hits[each] for each in tables if each in self.hits):
                is_hit = True
                mine = snapshots.rows_of(rows, repo, commit)
                files += pc.sum(pc.equal(mine["kind"], table.FILE)).as_py() or 0
                size += pc.sum(mine["size"]).as_py() or 0
        return files, size, is_hit


def unknown(error: DamageError) -> DamageError:
    """The damage, with what it means here."""
    return DamageError(
        f"{error.what}: what it holds is not known, and nothing was erased",
        where=error.where,
        hint="`pachvault repair`; or forget the snapshots that it hits, and prune",
    )

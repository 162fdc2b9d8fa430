"""The file tables of a vault, and which of their rows go: what an erasure is planned from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachvault.errors import DamageError
from pachvault.format import layout, table
from pachvault.format.digests import Digests, SortedDigests
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Manifest
from pachvault.format.records import RepoRecord
from pachvault.maintenance.erase.erase_selection import EraseSelection
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault
from pachvault.vault.walk import NodeKind, walk

NAMED = 20
"""Files that are named of those that keep a blob."""
_CONTENTS = ("size", "digest", "blobs")
_HIT = pa.schema([each for each in table.FILES if each.name != "pfs_hash"])


@dataclass(frozen=True, slots=True)
class AffectedSnapshot:
    """A snapshot that is written anew, and how much goes of it."""

    name: SnapshotName
    manifest: Manifest
    files: int
    size: int
    """Of the files its commits put, each time they did."""


@dataclass(slots=True)
class TableScan:
    """The tables of a vault, and the rows of them that go."""

    vault: Vault
    selection: EraseSelection
    names: set[str] = field(default_factory=set)
    hits: dict[bytes, pa.Table] = field(default_factory=dict)
    """Of each file table with rows that go those."""
    _tables: dict[bytes, None] = field(default_factory=dict)
    _records: dict[bytes, RepoRecord] = field(default_factory=dict)
    _of_list: dict[bytes, tuple[int, int, bool]] = field(default_factory=dict)

    def read(self, names: list[SnapshotName]) -> None:
        """Find all file tables, those of dead runs too, and what goes of each."""
        try:
            for at in walk(self.vault, names):
                if at.kind is NodeKind.MANIFEST:
                    continue
                self.names.add(at.path)
                if at.record is not None:
                    self._records[at.digest] = at.record
                if at.kind is NodeKind.FILE_TABLE:
                    self._tables[at.digest] = None
            for name in self._tables:
                self._file_table(name)
        except DamageError as error:
            raise unknown(error) from error
        for info in self.vault.objects(layout.TABLES):
            stray = layout.named_digest(info.name)
            if stray is None or info.name in self.names:
                continue
            try:
                self._file_table(stray)
            except DamageError:
                continue  # a commit list, or what died half-written: nothing that a reader could read
            self._tables[stray] = None

    @property
    def file_tables(self) -> list[bytes]:
        """All file tables that were read."""
        return list(self._tables)

    def hit(self, name: SnapshotName, manifest: Manifest) -> AffectedSnapshot | None:
        """What goes of a snapshot; None where it stays as it is."""
        sums = [each for entry in manifest.repos for each in self._sums(entry.record)]
        if not any(is_hit for _, _, is_hit in sums):
            return None
        return AffectedSnapshot(
            name, manifest, sum(files for files, _, _ in sums), sum(size for _, size, _ in sums)
        )

    def hit_rows(self) -> pa.Table:
        """The files that go, each once however many tables have it."""
        columns = ["repo", "commit", "path", "size"]
        rows = pa.concat_tables([_HIT.empty_table(), *self.hits.values()])
        rows = rows.filter(pc.equal(rows["kind"], table.FILE)).select(columns)
        return rows.group_by(["repo", "commit", "path"]).aggregate([("size", "max")]).rename_columns(columns)

    def contents(self) -> tuple[Digests, int, list[str]]:
        """The blobs that nothing else needs, how many of the others stay, and some files that have them."""
        mine = [table.digests_by_row(rows)[1] for rows in self.hits.values()]
        wanted = SortedDigests.of(mine)
        # what is named more often than by the rows that go is named by others, too
        left = -sum(map(wanted.count, mine), np.zeros(len(wanted), np.int64))
        for name in self._tables if len(wanted) else ():
            for rows in self.vault.file_batches(name, _CONTENTS):
                left += wanted.count(table.digests_by_row(rows)[1])
        stays = left > 0
        kept = wanted.digests[stays]
        return wanted.digests[~stays], len(kept), self._keepers(kept)

    def _keepers(self, kept: Digests) -> list[str]:
        keepers: dict[str, None] = {}
        blobs = SortedDigests(kept)
        for name in self._tables if len(kept) else ():
            if layout.table_path(name) not in self.names:
                continue
            for files in self.vault.file_batches(name, _HIT.names):
                numbers, named = table.digests_by_row(files)
                rows = np.unique(numbers[blobs.has(named)])
                found = files.take(rows).filter(pa.array(~self.selection.hits(files.take(rows))))
                keepers.update(dict.fromkeys(table.file_names(found.slice(0, NAMED))))
                if len(keepers) >= NAMED:
                    return list(keepers)[:NAMED]
        return list(keepers)

    def _file_table(self, name: bytes) -> None:
        hits = []
        for files in self.vault.file_batches(name, _HIT.names):
            mask = self.selection.hits(files)
            if mask.any():
                hits.append(files.filter(pa.array(mask)).combine_chunks())
        if hits:
            self.hits[name] = pa.concat_tables(hits)

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
        owners: dict[bytes, list[str]] = {}
        for commit, tables in zip(commits["commit"].to_pylist(), commits["tables"].to_pylist(), strict=True):
            for name in tables:
                if name in self.hits:
                    owners.setdefault(name, []).append(commit)
        for name, mine in owners.items():
            rows = self.hits[name]
            is_mine = pc.is_in(rows["commit"], pa.array(mine, pa.string()))
            rows = rows.filter(pc.and_(pc.equal(rows["repo"], str(repo)), is_mine))
            files += pc.sum(pc.equal(rows["kind"], table.FILE)).as_py() or 0
            size += pc.sum(rows["size"]).as_py() or 0
        return files, size, bool(owners)


def unknown(error: DamageError) -> DamageError:
    """The damage, with what it means here."""
    return type(error)(
        f"{error.what}: what it holds is not known, and nothing was erased",
        where=error.where,
        hint="`pachvault repair`; or forget the snapshots that it hits, and prune",
    )

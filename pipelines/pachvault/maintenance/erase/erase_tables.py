"""The file tables of a vault, and which of their rows are erased: the input of an erasure's plan."""

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
from pachvault.vault.snapshots import Snapshot, SnapshotName
from pachvault.vault.vault import Vault
from pachvault.vault.walk import NodeKind, walk

NAMED = 20
"""The most files that are named as keeping a blob."""
_CONTENTS = ("size", "digest", "blobs")
_ERASED = pa.schema([column for column in table.FILES if column.name != "pfs_hash"])


@dataclass(frozen=True, slots=True)
class AffectedSnapshot:
    """A snapshot that is rewritten, and how much is erased from it."""

    name: SnapshotName
    manifest: Manifest
    files: int
    size: int
    """In bytes. A file is counted once for each commit that put it."""


@dataclass(slots=True)
class TableScan:
    """The tables of a vault, and the rows of them that are erased."""

    vault: Vault
    selection: EraseSelection
    names: set[str] = field(default_factory=set)
    erased: dict[bytes, pa.Table] = field(default_factory=dict)
    """For each file table, the rows to erase."""
    _tables: dict[bytes, None] = field(default_factory=dict)
    _records: dict[bytes, RepoRecord] = field(default_factory=dict)
    _of_list: dict[bytes, tuple[int, int, bool]] = field(default_factory=dict)

    def read(self, readable: list[Snapshot]) -> None:
        """Find all file tables, those of dead runs too, and the erased rows of each."""
        try:
            for at in walk(self.vault, readable):
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
        # tables of dead runs hold erased paths, and a later run would use them through a receipt
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

    def affected(self, snapshot: Snapshot) -> AffectedSnapshot | None:
        """How a snapshot is affected; None where it is not."""
        sums = [of_list for entry in snapshot.manifest.repos for of_list in self._sums(entry.record)]
        if not any(is_affected for _, _, is_affected in sums):
            return None
        return AffectedSnapshot(
            snapshot.name,
            snapshot.manifest,
            sum(files for files, _, _ in sums),
            sum(size for _, size, _ in sums),
        )

    def erased_rows(self) -> pa.Table:
        """The erased files, each once however many tables have it."""
        columns = ["repo", "commit", "path", "size"]
        rows = pa.concat_tables([_ERASED.empty_table(), *self.erased.values()])
        rows = rows.filter(pc.equal(rows["kind"], table.FILE)).select(columns)
        return rows.group_by(["repo", "commit", "path"]).aggregate([("size", "max")]).rename_columns(columns)

    def contents(self) -> tuple[Digests, int, list[str]]:
        """The blobs that nothing else needs, how many of the others stay, and some files that have them."""
        blobs = [table.digests_by_row(rows)[1] for rows in self.erased.values()]
        wanted = SortedDigests.of(blobs)
        # a blob that is named more often than by the erased rows is named by other rows, too
        other_uses = -sum(map(wanted.count, blobs), np.zeros(len(wanted), np.int64))
        for name in self._tables if len(wanted) else ():
            for rows in self.vault.file_batches(name, _CONTENTS):
                other_uses += wanted.count(table.digests_by_row(rows)[1])
        is_kept = other_uses > 0
        kept = wanted.digests[is_kept]
        return wanted.digests[~is_kept], len(kept), self._keepers(kept)

    def _keepers(self, kept: Digests) -> list[str]:
        keepers: dict[str, None] = {}
        blobs = SortedDigests(kept)
        for name in self._tables if len(kept) else ():
            if layout.table_path(name) not in self.names:
                continue
            for files in self.vault.file_batches(name, _ERASED.names):
                numbers, named = table.digests_by_row(files)
                rows = np.unique(numbers[blobs.has(named)])
                others = files.take(rows).filter(pa.array(~self.selection.matches(files.take(rows))))
                keepers.update(dict.fromkeys(table.file_names(others.slice(0, NAMED))))
                if len(keepers) >= NAMED:
                    return list(keepers)[:NAMED]
        return list(keepers)

    def _file_table(self, name: bytes) -> None:
        erased = []
        for files in self.vault.file_batches(name, _ERASED.names):
            mask = self.selection.matches(files)
            if mask.any():
                erased.append(files.filter(pa.array(mask)).combine_chunks())
        if erased:
            self.erased[name] = pa.concat_tables(erased)

    def _sums(self, name: bytes) -> Iterator[tuple[int, int, bool]]:
        """For each commit list: erased files and bytes of its commits, and whether it is rewritten."""
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
                if name in self.erased:
                    owners.setdefault(name, []).append(commit)
        for name, commit_ids in owners.items():
            rows = self.erased[name]
            is_theirs = pc.is_in(rows["commit"], pa.array(commit_ids, pa.string()))
            rows = rows.filter(pc.and_(pc.equal(rows["repo"], str(repo)), is_theirs))
            files += pc.sum(pc.equal(rows["kind"], table.FILE)).as_py() or 0
            size += pc.sum(rows["size"]).as_py() or 0
        return files, size, bool(owners)


def unknown(error: DamageError) -> DamageError:
    """The damage, with what it means for an erasure."""
    return type(error)(
        f"{error.what}: its content is not known, and nothing was erased",
        where=error.where,
        hint="`pachvault repair`; or forget the affected snapshots, and prune",
    )

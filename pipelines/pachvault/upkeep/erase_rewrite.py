"""A snapshot written anew without some of its files: tables, commit lists, records, and a new manifest.

The order is that of every writer: what is named is durable, and read back, before what names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pachvault.format import documents, layout, table
from pachvault.format.documents import Erased, Manifest, Problem, RepoEntry, RepoRecord, Segment
from pachvault.format.ids import digest
from pachvault.upkeep.erase_plan import Hit
from pachvault.upkeep.erase_selection import REMOVED, Selection
from pachvault.vault import snapshots
from pachvault.vault.snapshots import RepoHistory, SnapshotName
from pachvault.vault.vault import Vault

_Layers = dict[tuple[str, str], pa.Table]
"""Rows that go, by repo and commit."""


@dataclass(slots=True)
class Rewriter:
    """Writes snapshots anew; what they share is written once."""

    vault: Vault
    """For writing: it avoids the names of what is to be deleted."""
    selection: Selection
    at: datetime
    replaced: set[str] = field(default_factory=set)
    """The records and commit lists that new ones stand for."""
    _tables: dict[bytes, bytes | None] = field(default_factory=dict)
    """Every file table seen, and the one that stands for it; None where nothing is left."""
    _gone: dict[bytes, _Layers] = field(default_factory=dict)
    _records: dict[bytes, tuple[bytes, dict[str, int]]] = field(default_factory=dict)
    """Every record seen, the one that stands for it, and the sizes of its commits."""

    def rewrite(self, hit: Hit) -> SnapshotName:
        """Write all that the new snapshot needs, then its manifest; its name. The old one is not touched."""
        manifest = hit.manifest
        erased = Erased(what=str(self.selection), at=self.at, files=hit.files)
        new = manifest.model_copy(
            update={
                "repos": [self._entry(entry) for entry in manifest.repos],
                "problems": [self._problem(problem) for problem in manifest.problems],
                "erased": [*manifest.erased, erased],
            }
        )
        return self._manifest(new, hit.name)

    def _manifest(self, manifest: Manifest, old: SnapshotName) -> SnapshotName:
        data = documents.encode(manifest)
        name = digest(data)
        path = layout.stamped_path(old.path.partition("/")[0], manifest.frozen_at, name)
        self.vault.store.put(path, [data], len(data))
        written = SnapshotName(path, old.frozen_at, name.hex())
        snapshots.load(self.vault, written)
        return written

    def _entry(self, entry: RepoEntry) -> RepoEntry:
        record, sizes = self._record(entry.record)
        if record == entry.record:
            return entry
        heads = {branch.head for branch in self.vault.repo_record(record).branches if branch.head}
        return entry.model_copy(update={"record": record, "size_bytes": sum(sizes[head] for head in heads)})

    def _problem(self, problem: Problem) -> Problem:
        if self.selection.mentions(problem.repo, problem.message):
            return problem.model_copy(update={"message": REMOVED})
        return problem

    def _record(self, name: bytes) -> tuple[bytes, dict[str, int]]:
        if name not in self._records:
            record = self.vault.repo_record(name)
            segments, sizes = self._segments(record)
            if segments == record.segments:
                self._records[name] = (name, sizes)
            else:
                new = self.vault.put_record(record.model_copy(update={"segments": segments}))
                self.vault.repo_record(new)
                self.replaced.add(layout.record_path(name))
                self._records[name] = (new, sizes)
        return self._records[name]

    def _segments(self, record: RepoRecord) -> tuple[list[Segment], dict[str, int]]:
        """The record's commit lists, those that name what is gone written anew; and the commits' sizes."""
        history = RepoHistory(self.vault, record)
        commits = self._commits(history)
        sizes = dict(zip(commits["commit"].to_pylist(), commits["size"].to_pylist(), strict=True))
        segments, start = [], 0
        for segment in record.segments:
            rows = commits.slice(start, segment.commits)
            if rows.equals(history.commits.slice(start, segment.commits)):
                segments.append(segment)
            else:
                new = self.vault.put_table(table.encode_commits(rows)).digest
                self.vault.commit_list(new)
                self.replaced.add(layout.table_path(segment.table))
                segments.append(Segment(table=new, commits=segment.commits))
            start += segment.commits
        return segments, sizes

    def _commits(self, history: RepoHistory) -> pa.Table:
        """The history's rows as they are to be."""
        names = history.commits["tables"].to_pylist()
        standing = [[new for each in tables if (new := self._table(each)) is not None] for tables in names]
        if standing == names:
            return history.commits
        rows = history.commits.to_pylist()
        for number, (row, tables) in enumerate(zip(rows, standing, strict=True)):
            layers = [self._gone_of(history, at) for at in history.chain(row["commit"])]
            row["tables"] = tables
            row["rows"] -= layers[-1].num_rows
            if any(layer.num_rows for layer in layers) and not row["error"]:
                row["size"] -= pc.sum(table.fold(layers)["size"]).as_py() or 0
            rows[number] = row
        return pa.Table.from_pylist(rows, schema=table.COMMITS)

    def _gone_of(self, history: RepoHistory, row: int) -> pa.Table:
        """The rows that go of the commit in a row of the history."""
        key = (str(history.name), history.commits["commit"][row].as_py())
        names = history.commits["tables"][row].as_py()
        layers = [self._gone[name][key] for name in names if key in self._gone.get(name, {})]
        return pa.concat_tables([table.FILES.empty_table(), *layers])

    def _table(self, name: bytes) -> bytes | None:
        """The table that stands for a file table; itself, where nothing of it goes."""
        if name not in self._tables:
            files = self.vault.file_table(name)
            mask = self.selection.hits(files)
            if not mask.any():
                self._tables[name] = name
                return name
            self._gone[name] = _by_commit(files.filter(pa.array(mask)))
            left = files.filter(pa.array(~mask))
            new = None
            if left.num_rows:
                new = self.vault.put_table(table.encode_files(left)).digest
                self.vault.file_table(new)
            self._tables[name] = new
        return self._tables[name]


def _by_commit(files: pa.Table) -> _Layers:
    """Rows grouped by repo and commit."""
    files = files.sort_by([("repo", "ascending"), ("commit", "ascending")]).combine_chunks()
    return dict(_runs(files))


def _runs(files: pa.Table) -> Iterator[tuple[tuple[str, str], pa.Table]]:
    counts = files.group_by(["repo", "commit"], use_threads=False).aggregate([("path", "count")])
    ordered = counts.sort_by([("repo", "ascending"), ("commit", "ascending")]).to_pylist()
    start = 0
    for row in ordered:
        yield (row["repo"], row["commit"]), files.slice(start, row["path_count"])
        start += row["path_count"]

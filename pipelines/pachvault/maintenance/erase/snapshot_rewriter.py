"""A snapshot rewritten without some of its files: tables, commit lists, records, and a new manifest.

As every writer does, it makes an object durable, and reads it back, before it writes one that names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pachvault.errors import CorruptError
from pachvault.format import documents, layout, table
from pachvault.format.ids import digest
from pachvault.format.manifest import ErasureNote, Manifest, Problem, RepoEntry
from pachvault.format.records import Segment
from pachvault.maintenance.erase.erase_selection import REMOVED, EraseSelection
from pachvault.maintenance.erase.erase_tables import AffectedSnapshot
from pachvault.vault import snapshots
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault

_Layers = dict[tuple[str, str], pa.Table]
"""Erased rows, by repo and commit."""
_NOTHING = table.FILES.empty_table()


@dataclass(slots=True)
class Rewriter:
    """Rewrites snapshots; what they share is written once."""

    vault: Vault
    """For writing: it avoids the names of objects to be deleted."""
    selection: EraseSelection
    affected: frozenset[bytes]
    """The file tables with erased rows."""
    at: datetime
    replaced: set[str] = field(default_factory=set)
    """The records and commit lists that were replaced by new ones."""
    _tables: dict[bytes, bytes | None] = field(default_factory=dict)
    """Each of these that was seen, and the new one; None where no row is left."""
    _gone: dict[bytes, _Layers] = field(default_factory=dict)
    _records: dict[bytes, bytes] = field(default_factory=dict)
    """Each record that was seen, and the new one, or itself."""
    _segments: dict[bytes, Segment] = field(default_factory=dict)
    """Each commit list that was seen, and the new one, or itself."""
    _sizes: dict[tuple[str, str], int] = field(default_factory=dict)
    """Erased bytes of a commit's tree, by repo and commit: the tree is the same in every snapshot."""

    def rewrite(self, affected: AffectedSnapshot) -> SnapshotName:
        """Write all that the new snapshot needs, then its manifest; its name. The old one is not touched."""
        manifest = affected.manifest
        erased = ErasureNote(
            what=str(self.selection),
            at=self.at,
            files=affected.files,
            repos=list(self.selection.repos),
            paths=list(self.selection.paths),
        )
        new = manifest.model_copy(
            update={
                "repos": [self._entry(entry) for entry in manifest.repos],
                "problems": [self._problem(problem) for problem in manifest.problems],
                "erased": [*manifest.erased, erased],
            }
        )
        return self._manifest(new, affected.name)

    def _manifest(self, manifest: Manifest, old: SnapshotName) -> SnapshotName:
        data = documents.encode(manifest)
        name = digest(data)
        folder = old.path.partition("/")[0]
        # time and number stay, so its place in the order does, too (format 8.5.1); only the digest is another
        path = layout.snapshot_path(manifest.frozen_at, manifest.sequence, name, folder)
        self.vault.store.put(path, [data], len(data))
        written = replace(old, path=path, id=name.hex())
        # format 9.11: read back before the old manifest is deleted
        snapshots.load(self.vault, written)
        return written

    def _entry(self, entry: RepoEntry) -> RepoEntry:
        record = self._record(entry.record)
        if record == entry.record:
            return entry
        history = RepoHistory(self.vault, self.vault.repo_record(entry.record))
        heads = {branch.head for branch in history.record.branches if branch.head}
        size = entry.size_bytes - sum(self._gone_size(history, head) for head in heads)
        return entry.model_copy(update={"record": record, "size_bytes": size})

    def _problem(self, problem: Problem) -> Problem:
        if self.selection.mentions(problem.repo, problem.message):
            return problem.model_copy(update={"message": REMOVED})
        return problem

    def _record(self, name: bytes) -> bytes:
        if name not in self._records:
            record = self.vault.repo_record(name)
            history = RepoHistory(self.vault, record)
            segments = [self._segment(history, segment) for segment in record.segments]
            self._records[name] = name
            if segments != record.segments:
                new = self.vault.put_record(record.model_copy(update={"segments": segments}))
                self.vault.repo_record(new)
                self.replaced.add(layout.record_path(name))
                self._records[name] = new
        return self._records[name]

    def _segment(self, history: RepoHistory, segment: Segment) -> Segment:
        """A commit list; a new one where a commit of it has erased rows in its tables or its tree."""
        if segment.table not in self._segments:
            old = self.vault.commit_list(segment.table)
            rows = self._commits(history, old)
            self._segments[segment.table] = segment
            if not rows.equals(old):
                new = self.vault.put_table(table.encode_commits(rows)).digest
                self.vault.commit_list(new)
                self.replaced.add(layout.table_path(segment.table))
                self._segments[segment.table] = Segment(table=new, commits=segment.commits)
        return self._segments[segment.table]

    def _commits(self, history: RepoHistory, commits: pa.Table) -> pa.Table:
        """The rows of a commit list as they are to be."""
        rows = commits.to_pylist()
        for row in rows:
            replacements = [(name, self._table(name)) for name in row["tables"]]
            row["tables"] = [new for _, new in replacements if new is not None]
            row["rows"] -= sum(self._rows_of(history, row["commit"], old).num_rows for old, _ in replacements)
            row["size"] -= self._gone_size(history, row["commit"])
        return pa.Table.from_pylist(rows, schema=table.COMMITS)

    def _gone_size(self, history: RepoHistory, commit: str) -> int:
        """How many bytes of a commit's tree are erased."""
        key = (str(history.name), commit)
        if key not in self._sizes:
            layers = [layer for at in history.chain(commit) for layer in self._gone_of(history, at)]
            is_affected = any(layer.num_rows for layer in layers)
            self._sizes[key] = pc.sum(table.fold(layers)["size"]).as_py() or 0 if is_affected else 0
        return self._sizes[key]

    def _gone_of(self, history: RepoHistory, row: int) -> list[pa.Table]:
        """The erased rows of the commit in a row of the history."""
        commit = history.commits["commit"][row].as_py()
        names = history.commits["tables"][row].as_py()
        return [self._rows_of(history, commit, name) for name in names]

    def _rows_of(self, history: RepoHistory, commit: str, name: bytes) -> pa.Table:
        """The erased rows of a commit in a file table."""
        self._table(name)
        return self._gone.get(name, {}).get((str(history.name), commit), _NOTHING)

    def _table(self, name: bytes) -> bytes | None:
        """The table that replaces a file table; itself, where no row of it is erased."""
        if name not in self.affected:
            return name
        if name not in self._tables:
            gone: list[pa.Table] = []
            left = 0

            def staying() -> Iterator[pa.Table]:
                nonlocal left
                for files in self.vault.file_batches(name):
                    mask = self.selection.matches(files)
                    gone.append(files.filter(pa.array(mask)).combine_chunks())
                    left += len(files) - len(gone[-1])
                    yield files.filter(pa.array(~mask))

            data = table.encode_file_batches(staying())
            self._gone[name] = _by_commit(pa.concat_tables([_NOTHING, *gone]))
            self._tables[name] = self._written(data, left) if left else None
        return self._tables[name]

    def _written(self, data: bytes, rows: int) -> bytes:
        name = self.vault.put_table(data).digest
        if sum(map(len, self.vault.file_batches(name))) != rows:
            raise CorruptError(
                "the table was just written and cannot be read back", where=layout.table_path(name)
            )
        return name


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

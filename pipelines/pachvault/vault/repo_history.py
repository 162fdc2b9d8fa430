"""The history of a repo in a snapshot: its commits, and the tree of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from pachvault.errors import CorruptError, UsageError
from pachvault.format import table
from pachvault.format.ids import RepoName
from pachvault.format.records import Branch, RepoRecord
from pachvault.syntax import selection
from pachvault.syntax.selection import SourcePattern
from pachvault.vault.vault import Vault

_CACHED_TABLES, _CACHED_TABLE_BYTES = 4, 16_000_000
"""How many file tables a history caches, and the most bytes that a cached one has in memory."""


@dataclass(frozen=True)
class RepoHistory:
    """The commits of one repo record, and their trees."""

    vault: Vault
    record: RepoRecord

    @property
    def name(self) -> RepoName:
        """The repo."""
        return RepoName(self.record.project, self.record.repo)

    @cached_property
    def commits(self) -> pa.Table:
        """All commits, in the order of the segments: each after its base (schema table.COMMITS)."""
        lists = [self.vault.commit_list(segment.table) for segment in self.record.segments]
        # the empty table gives a record without segments its columns
        return pa.concat_tables([table.COMMITS.empty_table(), *lists])

    @cached_property
    def by_id(self) -> dict[str, int]:
        """The row of each commit in `commits`."""
        return {commit: row for row, commit in enumerate(self.commits["commit"].to_pylist())}

    def row_of(self, commit_id: str) -> int:
        """The row of a commit in `commits`; CorruptError where the record lacks it."""
        if commit_id not in self.by_id:
            raise CorruptError(f"the record of {self.name} names commit {commit_id} and does not list it")
        return self.by_id[commit_id]

    def commit(self, commit_id: str) -> dict[str, object]:
        """One commit's row."""
        row: dict[str, object] = self.commits.slice(self.row_of(commit_id), 1).to_pylist()[0]
        return row

    def size_of(self, commit_id: str) -> int:
        """Size in bytes of a commit's tree."""
        return int(self.commits["size"][self.row_of(commit_id)].as_py())

    def chain(self, commit_id: str) -> list[int]:
        """The rows of the commits that give this commit's tree: the full one, then each delta."""
        rows: list[int] = []
        bases = self.commits["base"]
        current: str | None = commit_id
        while current is not None:
            # the count ends a cycle of bases, which a damaged or hostile record may have
            if current not in self.by_id or len(rows) > len(self.by_id):
                raise CorruptError(f"commit {commit_id} needs commit {current}, which the record lacks")
            rows.append(self.by_id[current])
            current = bases[rows[-1]].as_py()
        return rows[::-1]

    def tree(self, commit_id: str) -> pa.Table:
        """The commit's files, sorted by path (schema table.FILES)."""
        return table.fold([self.changes(row) for row in self.chain(commit_id)])

    def changes(self, row: int) -> pa.Table:
        """What the commit in a row of `commits` changed against its base (schema table.FILES)."""
        commit = self.commits["commit"][row].as_py()
        tables = [self._file_table(name) for name in self.commits["tables"][row].as_py()]
        rows_by_table = [rows_of_commit(files, self.name, commit) for files in tables]
        return pa.concat_tables([table.FILES.empty_table(), *rows_by_table])

    def _file_table(self, name: bytes) -> pa.Table:
        """A file table. Small ones are cached, because the next commits often have rows in the same table."""
        cache = self._table_cache
        if name in cache:
            return cache[name]
        files = self.vault.file_table(name)
        # a table may have 2 GiB (format 3.9): four of those must not stay in memory
        if files.nbytes <= _CACHED_TABLE_BYTES:
            while len(cache) >= _CACHED_TABLES:
                del cache[next(iter(cache))]
            cache[name] = files
        return files

    @cached_property
    def _table_cache(self) -> dict[bytes, pa.Table]:
        return {}

    def branch(self, name: str) -> Branch:
        """A branch by name; UsageError where there is none."""
        for branch in self.record.branches:
            if branch.name == name:
                return branch
        branches = ", ".join(branch.name for branch in self.record.branches) or "none"
        raise UsageError(f"{self.name} has no branch {name!r} in this snapshot", hint=f"branches: {branches}")

    def branches(self, source: SourcePattern) -> list[Branch]:
        """The branches that a source selects. A commit named by id counts as a branch of that name."""
        selected = [branch for branch in self.record.branches if source.means(self.name, branch.name)]
        if selected or source.literal_reference is None or not source.means_repo(self.name):
            return selected
        commit = self.commit_id(source.literal_reference)
        return [Branch(name=commit, head=commit)] if commit else []

    def commit_id(self, prefix: str) -> str | None:
        """The commit whose id begins with `prefix`; None where none does, UsageError where several do."""
        if len(prefix) < selection.COMMIT_DIGITS:
            return None
        # a commit that is only a base is not part of the snapshot (format 7.2)
        listed = self.commits.filter(self.commits["listed"])["commit"].to_pylist()
        return selection.pick(listed, prefix, f"commit of {self.name}", selection.COMMIT_DIGITS)


def rows_of_commit(files: pa.Table, repo: RepoName, commit: str) -> pa.Table:
    """One commit's rows of a file table, which may have rows of many commits."""
    # the id alone is not enough: the commits of one commit set share it across repos
    return files.filter(pc.and_(pc.equal(files["commit"], commit), pc.equal(files["repo"], str(repo))))

"""Lost file tables: which commits have rows in them, and in what order a run wrote these.

Commit lists name the tables of each commit, and its base. With the same rows in the same order the encoder
gives the same bytes (docs/format.md, section 4). The table then has its old name, and every snapshot that
needs it is readable again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pachvault.format import layout, parquet, table
from pachvault.format.ids import RepoName, digest
from pachvault.vault import repo_history
from pachvault.vault.graph import Graph
from pachvault.vault.vault import SALTS, Vault

COLUMNS = ["commit", "base", "size", "rows", "tables"]
"""Of commit lists, what is needed here."""


@dataclass(frozen=True, slots=True)
class StoredCommit:
    """A commit as a commit list has it."""

    repo: RepoName
    id: str
    base: str | None
    size: int
    """Of its tree, in bytes."""
    rows: int
    """In all of its file tables."""
    tables: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class LostTable:
    """A file table that is missing or corrupt."""

    digest: bytes
    commits: tuple[StoredCommit, ...]
    """Those with rows in it, in the order of an export: repos by name, commits as in the commit list."""

    @property
    def path(self) -> str:
        """Its object's name."""
        return layout.table_path(self.digest)


RowsOf = Callable[[StoredCommit], pa.Table | None]
"""All rows of a commit (schema table.FILES), in the order of its export; None where nobody has them."""


class CommitLists:
    """The commit lists of a vault that can be read."""

    def __init__(self, graph: Graph, lost: Collection[bytes]) -> None:
        """`graph`: read with at least COLUMNS. `lost`: the file tables that cannot be read."""
        self._graph = graph
        self.lost = frozenset(lost)
        self._by_repo: dict[str, pa.Table] = {}

    def lost_tables(self) -> Iterator[LostTable]:
        """Each lost table with its commits."""
        for name in sorted(self.lost):
            commits: dict[tuple[RepoName, str], StoredCommit] = {}
            for repo, commit_list in self._graph.lists_that_name(name):
                rows = self._graph.lists[repo, commit_list]
                is_named = pc.equal(pc.list_flatten(rows["tables"]), pa.scalar(name, table.DIGEST))
                numbers = pc.list_parent_indices(rows["tables"]).filter(is_named)
                for commit in _stored(repo, rows.take(numbers)):
                    commits.setdefault((commit.repo, commit.id), commit)
            yield LostTable(name, tuple(sorted(commits.values(), key=lambda commit: commit.repo)))

    def readable(self, repo: RepoName, commit: str) -> Iterator[StoredCommit]:
        """The ways in which commit lists store a commit without a lost table: there may be several."""
        seen: set[tuple[str | None, tuple[bytes, ...]]] = set()
        rows = self._rows_of(str(repo))
        for stored in _stored(str(repo), rows.filter(pc.equal(rows["commit"], commit))):
            key = stored.base, stored.tables
            if key not in seen and self.lost.isdisjoint(stored.tables):
                seen.add(key)
                yield stored

    def _rows_of(self, repo: str) -> pa.Table:
        """The rows of all commit lists of a repo."""
        if repo not in self._by_repo:
            lists = [rows for (owner, _), rows in self._graph.lists.items() if owner == repo]
            self._by_repo[repo] = pa.concat_tables([table.COMMITS.empty_table().select(COLUMNS), *lists])
        return self._by_repo[repo]


def rows_in_vault(vault: Vault, lists: CommitLists) -> RowsOf:
    """The rows of a commit from other tables: a later backup may have stored it again on the same base."""

    def rows_of(commit: StoredCommit) -> pa.Table | None:
        for stored in lists.readable(commit.repo, commit.id):
            if (stored.base, stored.rows) == (commit.base, commit.rows):
                return rows_of_commit(vault, stored, stored.tables)
        return None

    return rows_of


def rebuilt(vault: Vault, lost: LostTable, lists: CommitLists, rows_of: RowsOf) -> bytes | None:
    """The bytes of a lost table; None where they cannot be made of these rows. Raises DamageError."""
    # a table may hold only a part of a commit (format 7.1.2): the rows of its other tables are subtracted
    parts = []
    for commit in lost.commits:
        rows = rows_of(commit)
        if rows is None or rows.num_rows != commit.rows:
            return None
        others = [name for name in commit.tables if name != lost.digest]
        if not lists.lost.isdisjoint(others):
            return None  # which rows are in which of the tables cannot be known
        if others:
            stored = rows_of_commit(vault, commit, others)["path"].combine_chunks()
            rows = rows.filter(pc.invert(pc.is_in(rows["path"], stored)))
        parts.append(rows)
    if not parts:
        return None
    return named(table.encode_files(pa.concat_tables(parts).cast(table.FILES)), lost.digest)


def rows_of_commit(vault: Vault, commit: StoredCommit, tables: Iterable[bytes]) -> pa.Table:
    """The rows that a commit has in some of its file tables."""
    stored = [repo_history.rows_of_commit(vault.file_table(name), commit.repo, commit.id) for name in tables]
    return pa.concat_tables([table.FILES.empty_table(), *stored])


def named(data: bytes, name: bytes) -> bytes | None:
    """An encoded table with the salt that gives it this digest; None where no salt does."""
    # format 3.7: the run may have met a pending delete of that name, and salted the table
    salted = (parquet.salted(data, salt) for salt in range(SALTS))
    return next((candidate for candidate in salted if digest(candidate) == name), None)


def _stored(repo: str, rows: pa.Table) -> Iterator[StoredCommit]:
    for row in rows.to_pylist():
        name = RepoName.parse(repo)
        yield StoredCommit(name, row["commit"], row["base"], row["size"], row["rows"], tuple(row["tables"]))

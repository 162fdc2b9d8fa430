"""Which branch follows from which, and which commit: walks over both graphs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from embedded_pachyderm.pfs.metadata.records import Branch, Commit, branch_by_id, commit_by_id, repo_by_id
from embedded_pachyderm.pfs.pfs_errors import PfsError

_UP = "SELECT upstream FROM branch_provenance WHERE branch = ? ORDER BY rowid"
_DOWN = "SELECT branch FROM branch_provenance WHERE upstream = ? ORDER BY branch"
_COMMIT_UP = 'SELECT upstream FROM commit_provenance WHERE "commit" = ? ORDER BY rowid'
_COMMIT_DOWN = 'SELECT "commit" FROM commit_provenance WHERE upstream = ? ORDER BY "commit"'


def _walk(sql: sqlite3.Connection, query: str, starts: Iterable[int]) -> list[int]:
    """Everything reachable from the starts, without them, nearest first."""
    starts = list(starts)
    seen = dict.fromkeys(starts)
    queue = list(starts)
    # the queue grows while it is read
    for node in queue:
        for (neighbour,) in sql.execute(query, (node,)).fetchall():
            if neighbour not in seen:
                seen[neighbour] = None
                queue.append(neighbour)
    return queue[len(starts) :]


def direct_provenance(sql: sqlite3.Connection, branch_id: int) -> list[int]:
    """The branches it was declared to follow from."""
    return [row[0] for row in sql.execute(_UP, (branch_id,))]


def provenance(sql: sqlite3.Connection, branch_id: int) -> list[int]:
    """Everything upstream of a branch."""
    return _walk(sql, _UP, [branch_id])


def subvenance(sql: sqlite3.Connection, branch_id: int) -> list[int]:
    """Everything downstream of a branch."""
    return _walk(sql, _DOWN, [branch_id])


def direct_subvenance(sql: sqlite3.Connection, branch_id: int) -> list[int]:
    """The branches that were declared to follow from it."""
    return [row[0] for row in sql.execute(_DOWN, (branch_id,))]


def commits_upstream(sql: sqlite3.Connection, commit_id: int) -> list[Commit]:
    """The commits it follows from directly."""
    commits = (commit_by_id(sql, row[0]) for row in sql.execute(_COMMIT_UP, (commit_id,)).fetchall())
    return [commit for commit in commits if commit]


def all_commits_upstream(sql: sqlite3.Connection, commit_ids: Iterable[int]) -> list[Commit]:
    """The commits these follow from, however far."""
    commits = (commit_by_id(sql, node) for node in _walk(sql, _COMMIT_UP, commit_ids))
    return [commit for commit in commits if commit]


def all_commits_downstream(sql: sqlite3.Connection, commit_ids: Iterable[int]) -> list[Commit]:
    """The commits that follow from these, however far."""
    commits = (commit_by_id(sql, node) for node in _walk(sql, _COMMIT_DOWN, commit_ids))
    return [commit for commit in commits if commit]


def check_structure(sql: sqlite3.Connection, branches: Iterable[Branch]) -> None:
    """No two branches of one repo in one graph."""
    for branch in branches:
        reached: dict[int, None] = {branch.id: None}
        for node in (queue := [branch.id]):
            for neighbour in provenance(sql, node) + subvenance(sql, node):
                if neighbour not in reached:
                    reached[neighbour] = None
                    queue.append(neighbour)
        repos: set[int] = set()
        for node in reached:
            repo_id = branch_by_id(sql, node).repo
            if repo_id in repos:
                raise PfsError(
                    "validate DAG at end of transaction: multiple branches from the same repo,"
                    f' "{repo_by_id(sql, repo_id)}", cannot participate in a DAG'
                )
            repos.add(repo_id)

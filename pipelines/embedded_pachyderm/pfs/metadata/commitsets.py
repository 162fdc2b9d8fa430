"""Commit sets: the commits that share an id, which are listed, squashed or dropped together."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.pfs.metadata import branches, provenance
from embedded_pachyderm.pfs.metadata.database import Transaction
from embedded_pachyderm.pfs.metadata.records import (
    COMMIT_COLUMNS,
    SPEC_REPO,
    Commit,
    branches_of,
    children_of,
    commit_of,
    commit_text,
    repo_by_id,
)
from embedded_pachyderm.pfs.pfs_errors import PfsError


def own(sql: sqlite3.Connection, set_id: str) -> list[Commit]:
    """The commits that have the id."""
    query = f'SELECT {COMMIT_COLUMNS} FROM "commit" WHERE set_id = ? ORDER BY id'  # noqa: S608
    return [commit_of(row) for row in sql.execute(query, (set_id,)).fetchall()]


def whole(sql: sqlite3.Connection, set_id: str) -> list[Commit]:
    """The commits that have the id, and those they follow from, upstream first."""
    members = own(sql, set_id)
    upstream = provenance.all_commits_upstream(sql, [commit.id for commit in members])
    return _sorted(sql, [*upstream, *members])


def _sorted(sql: sqlite3.Connection, commits: Iterable[Commit]) -> list[Commit]:
    waiting = {commit.id: commit for commit in commits}
    result: list[Commit] = []

    def visit(commit: Commit) -> None:
        for upstream in provenance.commits_upstream(sql, commit.id):
            if upstream.id in waiting:
                visit(waiting.pop(upstream.id))
        result.append(commit)

    while waiting:
        visit(waiting.pop(next(iter(waiting))))
    return result


def squash(transaction: Transaction, set_id: str) -> None:
    """Delete the set's commits, whose children keep what they held."""
    members = _deletable(transaction.sql, set_id)
    for commit in members:
        if not children_of(transaction.sql, commit.id):
            raise PfsError(
                "cannot squash a commit that has no children as that would cause data loss,"
                f" use the drop operation instead: {commit_text(transaction.sql, commit)}"
            )
    for commit in members:
        delete_commit(transaction, commit)


def drop(transaction: Transaction, set_id: str) -> None:
    """Delete the set's commits and what they held; none may have children."""
    members = _deletable(transaction.sql, set_id)
    for commit in members:
        if children_of(transaction.sql, commit.id):
            raise PfsError(f"cannot drop a commit that has children: {commit_text(transaction.sql, commit)}")
    for commit in members:
        delete_commit(transaction, commit)


def _deletable(sql: sqlite3.Connection, set_id: str) -> list[Commit]:
    members = own(sql, set_id)
    downstream = provenance.all_commits_downstream(sql, [commit.id for commit in members])
    others = sorted({commit.set_id for commit in downstream} - {set_id})
    if others:
        raise PfsError(
            f'commit set "{set_id}" cannot be dropped because it has subvenant commit sets: {others}'
        )
    for commit in members:
        if repo_by_id(sql, commit.repo).type == SPEC_REPO and commit.origin == pfs_pb2.USER:
            raise PfsError(f"cannot squash commit {commit_text(sql, commit)} because it updated a pipeline")
    return members


def delete_commit(transaction: Transaction, commit: Commit) -> None:
    """Take a commit out of its line; a branch it headed goes back to its parent, or to an empty one."""
    sql = transaction.sql
    for child in children_of(sql, commit.id):
        if child.finished is None:
            hint = ", consider using WaitCommit" if child.finishing is not None else ""
            raise PfsError(f"cannot squash until child commit {commit_text(sql, child)} is finished{hint}")
    headless = [branch for branch in branches_of(sql, commit.repo) if branch.head == commit.id]
    # as in Pachyderm children keep their own change; their totals hold what the commit had
    sql.execute('UPDATE "commit" SET parent = ? WHERE parent = ?', (commit.parent, commit.id))
    sql.execute(
        'DELETE FROM commit_provenance WHERE "commit" = ?1 OR upstream = ?1',
        (commit.id,),
    )
    sql.execute('DELETE FROM "commit" WHERE id = ?', (commit.id,))
    if commit.parent is not None:
        sql.execute("UPDATE branch SET head = ? WHERE head = ?", (commit.parent, commit.id))
    elif headless:
        branches.empty_commit(transaction, headless[0].id, parent=None)
        new_head = branches.find_head(sql, headless[0].id)
        for branch in headless[1:]:
            sql.execute("UPDATE branch SET head = ? WHERE id = ?", (new_head, branch.id))

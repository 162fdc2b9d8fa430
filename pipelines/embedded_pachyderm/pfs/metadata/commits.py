"""The commit graph: resolving, starting, creating and finishing commits, within a transaction.

The files of a commit are set elsewhere: `finisher` sets its total, `filesets` its layers.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm import newer_messages
from embedded_pachyderm.pfs.metadata import provenance
from embedded_pachyderm.pfs.metadata.database import Transaction
from embedded_pachyderm.pfs.metadata.names import check_name, is_commit_id
from embedded_pachyderm.pfs.metadata.records import (
    Branch,
    Commit,
    RepoKey,
    branch_by_id,
    branch_message,
    children_of,
    commit_by_id,
    commit_message,
    commit_text,
    find_branch,
    find_commit,
    find_repo,
    metadata,
    repo_by_id,
    repo_key,
    repo_text,
    timestamp,
)
from embedded_pachyderm.pfs.pfs_errors import NotFoundError, PfsError, UnimplementedError

#: What follows an id or a branch name to name an ancestor.
_ANCESTRY_MARKS = re.compile(r"[\^~.]")
_LATEST_UPSTREAM = """
WITH RECURSIVE upstream(id) AS (
  SELECT p.upstream FROM commit_provenance p JOIN "commit" c ON c.id = p."commit" WHERE c.set_id = ?
  UNION SELECT p.upstream FROM commit_provenance p JOIN upstream u ON p."commit" = u.id)
SELECT c.id FROM "commit" c JOIN upstream u ON c.id = u.id WHERE c.repo = ? ORDER BY c.id LIMIT 1
"""


def commit_repo(message: Any) -> Any:
    """The repo a commit message names, itself or through its branch."""
    return message.repo if message.HasField("repo") else message.branch.repo


def check_commit(message: Any) -> None:
    """Check that the message names a repo."""
    if not message.HasField("repo") and not message.branch.HasField("repo"):
        raise PfsError("commit must have a repo")


def resolve(sql: sqlite3.Connection, message: Any) -> Commit:
    """The commit that an id or a branch names."""
    check_commit(message)
    key = repo_key(commit_repo(message))
    if not message.id and not message.branch.name:
        raise PfsError("cannot resolve commit with no ID or branch")
    name = message.id
    if _ANCESTRY_MARKS.search(name):
        raise UnimplementedError(f"an ancestor of a commit ({name})")
    branch_name = message.branch.name
    if name and not is_commit_id(name):
        if branch_name:
            raise PfsError(f"invalid commit ID given with a branch ({branch_name}): {name}")
        name, branch_name = "", name
    repo = find_repo(sql, key)
    if not name:
        branch = find_branch(sql, repo.id, branch_name) if repo else None
        if branch is None:
            raise branch_missing(key, branch_name)
        commit = commit_by_id(sql, branch.head)
    else:
        commit = _by_set_id(sql, repo.id, name) if repo else None
    if commit is None:
        raise NotFoundError(f"commit {repo_text(key)}@{name} not found")
    return commit


def branch_missing(key: RepoKey, name: str) -> NotFoundError:
    """There is no such branch."""
    text = repo_text(key)
    return NotFoundError(
        f'branch (id=0, branch={text}@{name}) not found\nbranch "{name}" not found in repo {text}'
    )


def _by_set_id(sql: sqlite3.Connection, repo_id: int, set_id: str) -> Commit | None:
    """The repo's commit in the set, or the one that the set's commits follow from."""
    commit = find_commit(sql, repo_id, set_id)
    if commit is None:
        row = sql.execute(_LATEST_UPSTREAM, (set_id, repo_id)).fetchone()
        commit = commit_by_id(sql, row[0]) if row else None
    return commit


def info(sql: sqlite3.Connection, commit: Commit, *, upper_bound: int | None = None) -> Any:
    """The CommitInfo message."""
    message = pfs_pb2.CommitInfo(
        commit=commit_message(sql, commit),
        origin=pfs_pb2.CommitOrigin(kind=commit.origin),
        description=commit.description,
        started=timestamp(commit.started),
        finishing=timestamp(commit.finishing),
        finished=timestamp(commit.finished),
        error=commit.error,
        size_bytes_upper_bound=upper_bound or 0,
        direct_provenance=[_with_branch(sql, up) for up in provenance.commits_upstream(sql, commit.id)],
    )
    if commit.parent is not None:
        parent = commit_by_id(sql, commit.parent)
        if parent:
            message.parent_commit.CopyFrom(commit_message(sql, parent))
    for child in children_of(sql, commit.id):
        message.child_commits.append(_with_branch(sql, child))
    message.details.SetInParent()
    if commit.size is not None:
        message.details.size_bytes = commit.size
        message.details.compacting_time.SetInParent()
        message.details.validating_time.SetInParent()
    return newer_messages.with_metadata(message, metadata(sql, "commit", commit.id))


def _with_branch(sql: sqlite3.Connection, commit: Commit) -> Any:
    """The commit as messages of its parent and children name it: with its branch."""
    message = commit_message(sql, commit)
    if commit.branch is not None:
        message.branch.CopyFrom(branch_message(sql, branch_by_id(sql, commit.branch)))
    return message


def insert(
    transaction: Transaction,
    repo_id: int,
    *,
    origin: int,
    parent: int | None,
    upstream: Iterable[int],
    description: str = "",
    finished: bool = False,
) -> int:
    """A new commit of the transaction's set, on no branch yet; an empty commit may be finished at once."""
    sql = transaction.sql
    if find_commit(sql, repo_id, transaction.set_id):
        repo = repo_by_id(sql, repo_id)
        raise PfsError(
            f"inconsistent dependencies: cannot create commit from {repo}@{transaction.set_id};"
            f" repo ({repo.name}) already has a commit in this transaction"
        )
    finished_at = transaction.time if finished else None
    cursor = sql.execute(
        'INSERT INTO "commit" (repo, set_id, origin, description, parent, started, finishing, finished,'
        " total) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            repo_id,
            transaction.set_id,
            origin,
            description,
            parent,
            transaction.time,
            finished_at,
            finished_at,
            "[]" if finished else None,
        ),
    )
    commit_id = int(cursor.lastrowid or 0)
    sql.executemany(
        'INSERT OR IGNORE INTO commit_provenance ("commit", upstream) VALUES (?, ?)',
        [(commit_id, up) for up in upstream],
    )
    return commit_id


def put_on_branch(sql: sqlite3.Connection, commit_id: int, branch_id: int) -> None:
    """Move the branch's head to a new commit and record the branch in the commit."""
    sql.execute('UPDATE "commit" SET branch = ? WHERE id = ?', (branch_id, commit_id))
    sql.execute("UPDATE branch SET head = ? WHERE id = ?", (commit_id, branch_id))


def heads(sql: sqlite3.Connection, branch_ids: Iterable[int]) -> list[int]:
    """The heads of these branches."""
    return [branch_by_id(sql, branch_id).head for branch_id in branch_ids]


def start(transaction: Transaction, branch_message_: Any, parent_message: Any | None, text: str) -> Commit:
    """Start a commit on a branch, which is created if necessary, and move the branch's head to it."""
    sql = transaction.sql
    name = branch_message_.name
    if not name:
        raise PfsError("branch must be specified")
    check_name(name)
    key = repo_key(branch_message_.repo)
    repo = find_repo(sql, key)
    if repo is None:
        raise NotFoundError(f"repo {repo_text(key)} not found")
    branch = find_branch(sql, repo.id, name)
    parent = _parent(sql, branch, parent_message)
    commit_id = insert(
        transaction,
        repo.id,
        origin=pfs_pb2.USER,
        parent=parent,
        upstream=heads(sql, provenance.direct_provenance(sql, branch.id)) if branch else (),
        description=text,
    )
    if branch and provenance.direct_provenance(sql, branch.id):
        raise PfsError(f"cannot start a commit on an output branch: {repo}@{name}")
    branch_id = branch.id if branch else make_branch(transaction, repo.id, name, commit_id)
    put_on_branch(sql, commit_id, branch_id)
    transaction.moved_branches.append(branch_id)
    return must_exist(sql, commit_id)


def _parent(sql: sqlite3.Connection, branch: Branch | None, message: Any | None) -> int | None:
    if message is not None:
        try:
            parent = resolve(sql, message)
        except NotFoundError as error:
            raise NotFoundError(f"parent commit not found: {error}") from None
    else:
        head = commit_by_id(sql, branch.head) if branch else None
        if head is None:
            return None
        parent = head
    if parent.finishing is None:
        raise PfsError(f"parent commit {commit_text(sql, parent)} has not been finished")
    return parent.id


def make_branch(transaction: Transaction, repo_id: int, name: str, head: int | None) -> int:
    """A new branch; its head may follow within the transaction."""
    cursor = transaction.sql.execute(
        "INSERT INTO branch (repo, name, head, created) VALUES (?, ?, ?, ?)",
        (repo_id, name, head, transaction.time),
    )
    return int(cursor.lastrowid or 0)


def finish(transaction: Transaction, commit: Commit, *, description: str = "", error: str = "") -> None:
    """Close a commit; the finisher computes its total."""
    sql = transaction.sql
    if commit.finishing is not None:
        raise PfsError(f"commit {commit_text(sql, commit)} has already finished")
    sql.execute(
        'UPDATE "commit" SET finishing = ?, error = ?, description = ? WHERE id = ?',
        (transaction.time, error, description or commit.description, commit.id),
    )


def add_layers(sql: sqlite3.Connection, commit: Commit, stack: tuple[int, ...]) -> None:
    """Put layers on top of an open commit's own."""
    current = must_exist(sql, commit.id)
    if current.finishing is not None:
        raise PfsError(f"commit {commit_text(sql, commit)} has already finished")
    sql.execute('UPDATE "commit" SET diff = ? WHERE id = ?', (json.dumps(current.diff + stack), commit.id))


def must_exist(sql: sqlite3.Connection, commit_id: int) -> Commit:
    """The commit; NotFoundError if it was deleted meanwhile."""
    commit = commit_by_id(sql, commit_id)
    if commit is None:
        raise NotFoundError("commit was deleted")
    return commit

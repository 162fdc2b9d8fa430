"""Branches: creation, description and deletion, with their provenance and trigger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm import newer_messages
from embedded_pachyderm.pfs.metadata import commits, provenance, triggers
from embedded_pachyderm.pfs.metadata.database import Transaction
from embedded_pachyderm.pfs.metadata.names import check_name
from embedded_pachyderm.pfs.metadata.records import (
    Branch,
    Repo,
    branch_by_id,
    branch_message,
    branches_of,
    commit_by_id,
    commit_message,
    find_branch,
    find_repo,
    metadata,
    repo_by_id,
    repo_key,
    repo_text,
)
from embedded_pachyderm.pfs.pfs_errors import NotFoundError, PfsError


def info(sql: sqlite3.Connection, branch: Branch) -> Any:
    """The BranchInfo message."""
    message = pfs_pb2.BranchInfo(
        branch=branch_message(sql, branch),
        provenance=_messages(sql, provenance.provenance(sql, branch.id)),
        subvenance=_messages(sql, provenance.subvenance(sql, branch.id)),
        direct_provenance=_messages(sql, provenance.direct_provenance(sql, branch.id)),
    )
    head = commit_by_id(sql, branch.head)
    if head:
        message.head.CopyFrom(commit_message(sql, head))
    if branch.trigger is not None:
        message.trigger.ParseFromString(branch.trigger)
    return newer_messages.with_metadata(message, metadata(sql, "branch", branch.id))


def _messages(sql: sqlite3.Connection, branch_ids: Iterable[int]) -> list[Any]:
    return [branch_message(sql, branch_by_id(sql, branch_id)) for branch_id in branch_ids]


def find(sql: sqlite3.Connection, message: Any) -> Branch:
    """The branch a request names."""
    key = repo_key(message.repo)
    repo = find_repo(sql, key)
    branch = find_branch(sql, repo.id, message.name) if repo else None
    if branch is None:
        raise commits.branch_missing(key, message.name)
    return branch


def create(transaction: Transaction, request: Any) -> None:
    """Make a branch, or move and redeclare one that exists."""
    sql = transaction.sql
    if not request.branch.HasField("repo"):
        raise PfsError("branch repo cannot be nil")
    has_trigger = request.HasField("trigger")
    if has_trigger and not request.trigger.branch:
        raise PfsError("triggers must specify a branch to trigger on")
    _check_request(request, has_trigger=has_trigger)
    repo = _repo_of(sql, request.branch)
    if has_trigger:
        triggers.check(sql, repo, request.branch.name, request.trigger)
    upstream_ids = {_upstream_branch(transaction, branch) for branch in request.provenance}
    upstream = sorted(upstream_ids, key=lambda branch_id: text(sql, branch_by_id(sql, branch_id)))
    if any(branch_by_id(sql, branch_id).repo == repo.id for branch_id in upstream):
        raise PfsError(f"repo {repo} cannot be in the provenance of its own branch")
    head = _wanted_head(sql, request, repo)
    branch = find_branch(sql, repo.id, request.branch.name)
    branch_id = branch.id if branch else commits.make_branch(transaction, repo.id, request.branch.name, head)
    before = provenance.direct_provenance(sql, branch_id)
    sql.execute("DELETE FROM branch_provenance WHERE branch = ?", (branch_id,))
    sql.executemany("INSERT INTO branch_provenance VALUES (?, ?)", [(branch_id, up) for up in upstream])
    if has_trigger:
        data = request.trigger.SerializeToString()
        sql.execute('UPDATE branch SET "trigger" = ? WHERE id = ?', (data, branch_id))
    if head is not None:
        sql.execute("UPDATE branch SET head = ? WHERE id = ?", (head, branch_id))
    current = head if head is not None else (branch.head if branch else None)
    new_structure = bool(upstream) and upstream != before
    if current is None or new_structure:
        empty_commit(transaction, branch_id, parent=current)
    if current is None or new_structure or head is not None:
        transaction.moved_branches.append(branch_id)
    provenance.check_structure(sql, branches_of(sql, repo.id))


def _check_request(request: Any, *, has_trigger: bool) -> None:
    for branch in [*request.provenance, request.branch]:
        check_name(branch.name)
    if has_trigger and request.provenance:
        raise PfsError("a branch cannot have both provenance and a trigger")


def _repo_of(sql: sqlite3.Connection, message: Any) -> Repo:
    repo = find_repo(sql, repo_key(message.repo))
    if repo is None:
        raise NotFoundError(f"repo {repo_text(repo_key(message.repo))} not found")
    return repo


def _upstream_branch(transaction: Transaction, message: Any) -> int:
    """The branch to follow from; it is made, with an empty commit, if it is not there."""
    repo = _repo_of(transaction.sql, message)
    branch = find_branch(transaction.sql, repo.id, message.name)
    if branch:
        return branch.id
    branch_id = commits.make_branch(transaction, repo.id, message.name, None)
    empty_commit(transaction, branch_id, parent=None)
    return branch_id


def _wanted_head(sql: sqlite3.Connection, request: Any, repo: Repo) -> int | None:
    if not request.HasField("head"):
        return None
    commits.check_commit(request.head)
    if commits.commit_repo(request.head).name != repo.name:
        raise PfsError("branch and head commit must belong to the same repo")
    try:
        return commits.resolve(sql, request.head).id
    except NotFoundError as error:
        raise NotFoundError(f"unable to inspect {repo}@{request.head.id}: {error}") from None


def empty_commit(transaction: Transaction, branch_id: int, *, parent: int | None) -> None:
    """An AUTO head: finished at once, unless the branch follows from others and so is to be filled."""
    sql = transaction.sql
    branch = branch_by_id(sql, branch_id)
    upstream = provenance.direct_provenance(sql, branch_id)
    commit_id = commits.insert(
        transaction,
        branch.repo,
        origin=pfs_pb2.AUTO,
        parent=parent,
        upstream=commits.heads(sql, upstream),
        finished=not upstream,
    )
    commits.put_on_branch(sql, commit_id, branch_id)


def delete(sql: sqlite3.Connection, branch: Branch, *, force: bool) -> None:
    """Delete a branch; its commits stay, on no branch."""
    followers = provenance.direct_subvenance(sql, branch.id)
    if followers and not force:
        names = " ".join(text(sql, branch_by_id(sql, follower)) for follower in followers)
        raise PfsError(
            f'branch "{text(sql, branch)}" cannot be deleted because it\'s in the direct provenance of'
            f" [{names}]"
        )
    if not force:
        _check_triggers(sql, branch)
    sql.execute(
        "DELETE FROM branch_provenance WHERE branch = ?1 OR (?2 AND upstream = ?1)", (branch.id, force)
    )
    sql.execute('UPDATE "commit" SET branch = NULL WHERE branch = ?', (branch.id,))
    sql.execute("DELETE FROM branch WHERE id = ?", (branch.id,))


def _check_triggers(sql: sqlite3.Connection, branch: Branch) -> None:
    """Neither triggered nor triggering, or it may not be deleted without force."""
    own = branch.trigger and pfs_pb2.Trigger.FromString(branch.trigger).branch
    for other in branches_of(sql, branch.repo):
        source = other.trigger and pfs_pb2.Trigger.FromString(other.trigger).branch
        if source == branch.name:
            how = "is triggered by branches"
        elif own and other.name == own:
            how = "triggers branches"
        else:
            continue
        raise PfsError(
            f'branch "{text(sql, branch)}" cannot be deleted because it {how} [{text(sql, other)}]'
        )


def text(sql: sqlite3.Connection, branch: Branch) -> str:
    """The branch as sentences name it."""
    return f"{repo_by_id(sql, branch.repo)}@{branch.name}"


def find_head(sql: sqlite3.Connection, branch_id: int) -> int:
    """The commit a branch is at."""
    return branch_by_id(sql, branch_id).head

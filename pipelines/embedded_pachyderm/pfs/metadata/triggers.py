"""Triggers: a branch follows another of its repo once enough has happened there.

Conditions on commits and size are judged when a commit is finished. Those on time are kept and
told of, but never fire here.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.pfs.metadata import commits
from embedded_pachyderm.pfs.metadata.database import Transaction
from embedded_pachyderm.pfs.metadata.names import check_name
from embedded_pachyderm.pfs.metadata.records import (
    Branch,
    Commit,
    Repo,
    branch_by_id,
    branches_of,
    commit_by_id,
    find_branch,
)
from embedded_pachyderm.pfs.pfs_errors import PfsError

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?) ?(?P<unit>[kKmMgGtTpP]?)[iI]?[bB]?")
_POWERS = {unit: 1000**power for power, unit in enumerate(["", "k", "m", "g", "t", "p"])}


def check(sql: sqlite3.Connection, repo: Repo, name: str, trigger: Any) -> None:
    """That the trigger can be kept: it points at another branch, in no loop, with sane conditions."""
    check_name(trigger.branch)
    if trigger.size:
        _bytes(trigger.size)
    if trigger.commits < 0:
        raise PfsError("can't trigger on a negative number of commits")
    if trigger.branch != name and find_branch(sql, repo.id, trigger.branch) is None:
        raise commits.branch_missing(repo.key, trigger.branch)
    at = trigger.branch
    while at != name:
        branch = find_branch(sql, repo.id, at)
        if branch is None or branch.trigger is None:
            return
        at = pfs_pb2.Trigger.FromString(branch.trigger).branch
    raise PfsError("triggers cannot form a loop")


def fire(transaction: Transaction, commit: Commit) -> None:
    """Move the branches that a finished commit triggers, directly or through other triggers."""
    if commit.branch is None:
        return
    moved = [branch_by_id(transaction.sql, commit.branch).name]
    # grows while it is read: a branch that moved may trigger others
    for source in moved:
        for branch in branches_of(transaction.sql, commit.repo):
            if branch.trigger is None or branch.name in moved or branch.head == commit.id:
                continue
            trigger = pfs_pb2.Trigger.FromString(branch.trigger)
            if trigger.branch == source and _due(transaction.sql, trigger, branch, commit):
                transaction.sql.execute("UPDATE branch SET head = ? WHERE id = ?", (commit.id, branch.id))
                transaction.moved_branches.append(branch.id)
                moved.append(branch.name)


def _due(sql: sqlite3.Connection, trigger: Any, branch: Branch, commit: Commit) -> bool:
    if trigger.cron_spec:
        return False
    conditions = []
    old = commit_by_id(sql, branch.head)
    if trigger.size:
        grown = (commit.size or 0) - ((old.size or 0) if old else 0)
        conditions.append(grown >= _bytes(trigger.size))
    if trigger.rate_limit_spec:
        conditions.append(False)
    if trigger.commits:
        conditions.append(_commits_since(sql, old, commit, trigger.commits) == trigger.commits)
    if trigger.all:
        return all(conditions)
    return any(conditions)


def _commits_since(sql: sqlite3.Connection, old: Commit | None, commit: Commit, most: int) -> int:
    """How many commits lie after the old head, counted no further than asked.

    As in Pachyderm a root that a user made counts even where it is the old head.
    """
    count = 0
    at: Commit | None = commit
    while at and count < most:
        if at.parent is None:
            return count + int(at.origin != pfs_pb2.AUTO)
        if old and at.id == old.id:
            break
        at = commit_by_id(sql, at.parent)
        count += 1
    return count


def _bytes(size: str) -> int:
    match = _SIZE.fullmatch(size)
    if not match:
        raise PfsError(f"invalid trigger size: invalid size: '{size}'")
    return int(float(match["number"]) * _POWERS[match["unit"].lower()])

"""A repo's record for a new snapshot: commit rows old and new, and the segments that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pachvault.backup.backup_messages import PlannedRepo
from pachvault.format import table
from pachvault.format.documents import UNREADABLE, Branch, Problem, RepoRecord, Segment
from pachvault.pach.records import CommitInfo
from pachvault.vault.snapshots import RepoHistory
from pachvault.vault.vault import Vault

MAX_DEPTH = 48
"""Deltas that one commit's tree may fold; then a checkpoint holds it whole."""

CommitRow = dict[str, Any]
"""A row of a commit list (schema table.COMMITS)."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What the shares made of one commit."""

    tables: tuple[bytes, ...] = ()
    rows: int = 0
    bytes: int = 0
    """Of all files, for a full commit; the net change, for a delta."""
    problem: str | None = None
    problem_kind: str = UNREADABLE


def commit_rows(
    planned: PlannedRepo, previous: RepoHistory | None, exported: Mapping[str, Exported]
) -> tuple[list[CommitRow], list[Problem]]:
    """The rows of the new record, each after its base, and why commits are missing from it."""
    known: dict[str, CommitRow] = {}
    if previous is not None:
        known = {row["commit"]: row for row in previous.commits.to_pylist()}
        for commit in planned.new:  # one that the vault has lost is exported again
            known.pop(commit.id, None)
    problems: list[Problem] = []
    for commit in planned.new:
        made = exported.get(commit.id)
        row, why = _new_row(commit, planned.bases.get(commit.id), known, made)
        if row is None:
            kind = made.problem_kind if made else UNREADABLE
            problems.append(Problem(repo=str(planned.name), commit=commit.id, kind=kind, message=why))
        else:
            known[commit.id] = row
    new = {commit.id for commit in planned.new}
    rows: dict[str, CommitRow] = {}
    needed = _with_bases([commit for commit in planned.parents if commit in known], known)
    for commit_id, row in known.items():
        if commit_id in needed:
            listed = commit_id in planned.parents
            parent = planned.parents[commit_id] if listed else row["parent"]
            now = row | {"listed": listed, "parent": parent}
            if listed and commit_id not in new:  # it may be edited at any time
                now["metadata"] = table.encode_metadata(planned.commit_metadata.get(commit_id, {}))
            rows[commit_id] = now
    return list(rows.values()), problems


def settle_branches(planned: PlannedRepo, rows: Sequence[CommitRow]) -> tuple[list[Branch], list[Problem]]:
    """The branches with heads that can be read: for one that cannot, its nearest ancestor that can."""
    have = {row["commit"] for row in rows}
    branches, problems = [], []
    for branch in planned.branches:
        head = branch.head
        while head is not None and head not in have:
            head = planned.parents.get(head)
        if head == branch.head:
            branches.append(branch)
            continue
        branches.append(branch.model_copy(update={"head": head, "missing": branch.head}))
        message = f"head {branch.head} could not be read; the snapshot has {head or 'nothing'}"
        problems.append(
            Problem(repo=str(planned.name), branch=branch.name, kind="head-missing", message=message)
        )
    return branches, problems


def write_record(
    vault: Vault,
    planned: PlannedRepo,
    previous: RepoHistory | None,
    rows: list[CommitRow],
    branches: list[Branch],
) -> bytes:
    """Write the commit lists that are new and the record; its digest."""
    record = RepoRecord(
        project=planned.project,
        repo=planned.repo,
        created_at=planned.created_at,
        description=planned.description,
        output_of=planned.output_of,
        branches=branches,
        segments=_segments(vault, previous, rows),
        metadata=planned.metadata,
        roles=planned.roles,
    )
    return vault.put_record(record)


def _new_row(
    commit: CommitInfo, base_id: str | None, known: Mapping[str, CommitRow], exported: Exported | None
) -> tuple[CommitRow | None, str]:
    base = known.get(base_id) if base_id else None
    if exported is None:
        if not commit.error:  # a delta of nothing would pass for it where the sizes happen to be equal
            return None, "no share of the run exported it"
        exported = Exported()
    if exported.problem:
        return None, exported.problem
    if base_id and base is None:
        return None, f"it is stored as a delta on {base_id}, which could not be read"
    size = exported.bytes + (base["size"] if base else 0)
    if not commit.error and size != commit.size_bytes:
        return None, f"incomplete: {size} bytes arrived, the commit has {commit.size_bytes}"
    row = {
        "commit": commit.id,
        "parent": commit.parent,
        "listed": True,
        "origin": commit.origin,
        "started": commit.started_at,
        "finished": commit.finished_at,
        "description": commit.description,
        "error": commit.error,
        "size": commit.size_bytes,
        "base": base_id,
        "depth": base["depth"] + 1 if base else 0,
        "rows": exported.rows,
        "tables": list(exported.tables),
        "metadata": table.encode_metadata(commit.metadata),
        "created_by": commit.created_by or None,
    }
    return row, ""


def _with_bases(commits: Sequence[str], known: Mapping[str, CommitRow]) -> set[str]:
    needed: set[str] = set()
    for commit in commits:
        current: str | None = commit
        while current is not None and current not in needed:
            needed.add(current)
            current = known[current]["base"]
    return needed


def _segments(vault: Vault, previous: RepoHistory | None, rows: list[CommitRow]) -> list[Segment]:
    """The rows as commit lists: those of `previous` where it is a beginning of them, and the rest.

    Small lists at the end are merged into larger ones as a binary counter carries, so that a history
    of n commits has about log n lists, and each commit is rewritten about log n times.
    """
    wanted = pa.Table.from_pylist(rows, schema=table.COMMITS)
    segments: list[Segment] = []
    start = 0
    if previous is not None:
        old = previous.commits
        if old.num_rows <= wanted.num_rows and wanted.slice(0, old.num_rows).equals(old):
            segments, start = list(previous.record.segments), old.num_rows
    if start == wanted.num_rows:
        return segments
    while segments and segments[-1].commits <= 2 * (wanted.num_rows - start):
        start -= segments.pop().commits
    data = table.encode_commits(wanted.slice(start))
    return [*segments, Segment(table=vault.put_table(data).digest, commits=wanted.num_rows - start)]

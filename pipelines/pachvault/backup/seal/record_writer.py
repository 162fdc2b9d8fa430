"""A repo's record for a new snapshot: commit rows old and new, and the segments that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pachvault.backup.backup_messages import PlannedRepo
from pachvault.format import table
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Problem
from pachvault.format.problem_kinds import UNREADABLE
from pachvault.format.records import Branch, RepoRecord, Segment
from pachvault.pach.records import CommitInfo
from pachvault.vault.repo_history import RepoHistory, rows_of_commit
from pachvault.vault.vault import Vault

# format 7.2.3
MAX_DEPTH = 48
"""The most deltas that one tree may consist of. A commit beyond that gets a full table, a checkpoint."""

CommitRow = dict[str, Any]
"""A row of a commit list (schema table.COMMITS)."""


@dataclass(frozen=True, slots=True)
class Exported:
    """The receipts of one commit's items, added up."""

    tables: tuple[bytes, ...] = ()
    rows: int = 0
    bytes: int = 0
    """Of all files, for a full commit; the net change, for a delta."""
    problem: str | None = None
    problem_kind: str = UNREADABLE


def commit_rows(
    planned: PlannedRepo, previous: RepoHistory | None, exported: Mapping[str, Exported]
) -> tuple[list[CommitRow], list[Problem]]:
    """The rows of the new record, each after its base, and a problem for each commit that is left out."""
    known: dict[str, CommitRow] = {}
    if previous is not None:
        known = {row["commit"]: row for row in previous.commits.to_pylist()}
        for commit in planned.new:  # one that the vault has lost is exported again
            known.pop(commit.id, None)
    problems: list[Problem] = []
    for commit in planned.new:
        result = exported.get(commit.id)
        row, reason = _new_row(commit, planned.bases.get(commit.id), known, result)
        if row is None:
            kind = result.problem_kind if result else UNREADABLE
            problems.append(Problem(repo=str(planned.name), commit=commit.id, kind=kind, message=reason))
        else:
            known[commit.id] = row
    new = {commit.id for commit in planned.new}
    rows: dict[str, CommitRow] = {}
    needed = _with_bases([commit for commit in planned.parents if commit in known], known)
    for commit_id, row in known.items():
        if commit_id in needed:
            listed = commit_id in planned.parents
            parent = planned.parents[commit_id] if listed else row["parent"]
            current = row | {"listed": listed, "parent": parent}
            if listed and commit_id not in new:  # it may be edited at any time
                current["metadata"] = table.encode_metadata(planned.commit_metadata.get(commit_id, {}))
            rows[commit_id] = current
    return list(rows.values()), problems


def settle_branches(planned: PlannedRepo, rows: Sequence[CommitRow]) -> tuple[list[Branch], list[Problem]]:
    """The branches, each with a head that has a row: its nearest ancestor where the head itself has none."""
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
    """Write the commit lists that are new, and the record. Returns the digest of the record."""
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


def with_checkpoints(vault: Vault, repo: RepoName, rows: list[CommitRow]) -> list[CommitRow]:
    """The rows, of which none builds on more than MAX_DEPTH deltas: deeper ones get a full table."""
    settled: dict[str, CommitRow] = {}
    for row in rows:
        base = settled.get(row["base"]) if row["base"] else None
        row["depth"] = base["depth"] + 1 if base else 0
        settled[row["commit"]] = row
        if row["depth"] > MAX_DEPTH:
            tree = table.fold(_layers(vault, repo, row, settled))
            # a reader takes only rows of the commit itself out of a table, and these are of the whole chain
            tree = tree.set_column(1, "commit", [[row["commit"]] * tree.num_rows])
            written = vault.put_table(table.encode_files(tree.cast(table.FILES))).digest
            row |= {"base": None, "depth": 0, "rows": tree.num_rows, "tables": [written]}
    # a checkpoint has no base: unlisted commits that only its chain needed are left out
    needed: set[str] = set()
    for row in rows:
        current = row["commit"] if row["listed"] else None
        while current is not None and current not in needed:
            needed.add(current)
            current = settled[current]["base"]
    return [row for row in rows if row["commit"] in needed]


def _new_row(
    commit: CommitInfo, base_id: str | None, known: Mapping[str, CommitRow], exported: Exported | None
) -> tuple[CommitRow | None, str]:
    base = known.get(base_id) if base_id else None
    if exported is None:
        if not commit.error:  # an empty delta would pass for it where the sizes happen to be equal
            return None, "no share of the run exported it"
        exported = Exported()
    if exported.problem:
        return None, exported.problem
    if base_id and base is None:
        return None, f"it is stored as a delta on {base_id}, which could not be read"
    # the only check of a commit whose ranges were read by several shares
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
    """The rows as commit lists: those of `previous` where the rows begin with them, and new ones.

    Small lists at the end are merged into larger ones as a binary counter carries, so that a history
    of n commits has about log n lists, and each commit is rewritten about log n times.
    """
    wanted = pa.Table.from_pylist(rows, schema=table.COMMITS)
    segments: list[Segment] = []
    start = 0
    if previous is not None:
        old = previous.commits
        # by value: metadata of old rows can be edited, and then their lists are written again
        if old.num_rows <= wanted.num_rows and wanted.slice(0, old.num_rows).equals(old):
            segments, start = list(previous.record.segments), old.num_rows
    if start == wanted.num_rows:
        return segments
    while segments and segments[-1].commits <= 2 * (wanted.num_rows - start):
        start -= segments.pop().commits
    data = table.encode_commits(wanted.slice(start))
    return [*segments, Segment(table=vault.put_table(data).digest, commits=wanted.num_rows - start)]


def _layers(vault: Vault, repo: RepoName, row: CommitRow, rows: dict[str, CommitRow]) -> list[object]:
    chain: list[CommitRow] = []
    current: str | None = row["commit"]
    while current is not None:
        chain.append(rows[current])
        current = rows[current]["base"]
    return [
        rows_of_commit(vault.file_table(name), repo, link["commit"])
        for link in reversed(chain)
        for name in link["tables"]
    ]

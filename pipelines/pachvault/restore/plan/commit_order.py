"""Which commits a restore replays, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pachvault.errors import CorruptError, UsageError
from pachvault.format import table
from pachvault.pach.records import CommitInfo
from pachvault.request import Extent
from pachvault.restore.restore_messages import CommitStep
from pachvault.syntax import selection
from pachvault.vault.repo_history import RepoHistory

Rows = Mapping[str, Mapping[str, Any]]
"""The commits that a record lists (schema table.COMMITS), by id."""


def rows_of(history: RepoHistory) -> Rows:
    """The commits of a repo that can be restored. CorruptError where they do not lead to a first one."""
    rows = {row["commit"]: row for row in history.commits.to_pylist() if row["listed"]}
    try:
        # what follows parents below would never end
        TopologicalSorter(
            {commit: {row["parent"]} for commit, row in rows.items() if row["parent"]}
        ).prepare()
    except CycleError as error:
        raise CorruptError(
            f"commits of {history.name} are ancestors of themselves: {error.args[1][0]}"
        ) from error
    return rows


def newest_in(rows: Rows, head: str, extent: Extent) -> str:
    """The commit that a branch with this head is brought back to.

    Raises UsageError where the extent ends at a commit that the head does not lead to.
    """
    if extent.newest is None:
        return head
    newest = full_id(rows, extent.newest)
    current: str | None = head
    while current is not None and current in rows:
        if current == newest:
            return newest
        current = rows[current]["parent"]
    raise UsageError(f"commit {extent.newest} is no ancestor of {head}")


def steps_to(rows: Rows, wanted: set[str]) -> list[CommitStep]:
    """These commits as steps, each after its parent."""
    steps = []
    for commit, row in rows.items():
        if commit not in wanted:
            continue
        # the oldest wanted commit becomes a root, and its change is its whole tree
        parent = row["parent"] if row["parent"] in wanted else None
        content_parent = parent
        # Pachyderm skips failed ancestors when it reads, so the change must be one to the nearest that did
        # not fail
        while content_parent is not None and rows[content_parent]["error"]:
            above = rows[content_parent]["parent"]
            content_parent = above if above in wanted else None
        old = CommitInfo(
            id=commit,
            parent=parent,
            origin=row["origin"],
            started_at=row["started"],
            finished_at=row["finished"],
            description=row["description"],
            error=row["error"],
            size_bytes=row["size"],
            metadata=table.decode_metadata(row["metadata"]),
            created_by=row["created_by"] or "",
        )
        steps.append(CommitStep(old=old, content_parent=content_parent))
    return _parents_first(steps)


def line(rows: Rows, head: str, extent: Extent) -> set[str]:
    """A commit and those of its ancestors that are in the extent.

    Raises UsageError where it begins at a commit that is no ancestor.
    """
    current: str | None = head
    first = full_id(rows, extent.first) if extent.first else None
    commits: set[str] = set()
    while current is not None and current in rows and (extent.last is None or len(commits) < extent.last):
        commits.add(current)
        if current == first:
            break
        current = rows[current]["parent"]
    if first is not None and first not in commits:
        raise UsageError(f"commit {extent.first} is no ancestor of {head}")
    return commits


def full_id(rows: Rows, reference: str) -> str:
    """The commit that an id or its beginning means; UsageError unless there is exactly one."""
    commit = selection.pick(rows, reference, "commit", selection.COMMIT_DIGITS)
    if commit is None:
        raise UsageError(f"no commit {reference!r} in the repo's history")
    return commit


def _parents_first(steps: Sequence[CommitStep]) -> list[CommitStep]:
    by_id = {step.old.id: step for step in steps}
    parents = {step.old.id: [step.old.parent] if step.old.parent else [] for step in steps}
    return [by_id[commit] for commit in TopologicalSorter(parents).static_order()]

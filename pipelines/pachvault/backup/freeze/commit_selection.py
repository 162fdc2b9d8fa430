"""Which commits of a branch a policy chooses, and which earlier commit a delta builds on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Set
from datetime import datetime
from typing import Protocol

from pachvault.pach.records import BranchInfo, CommitInfo
from pachvault.policy import History


class Commits(Protocol):
    """Commits by id: a dict, or one that asks the cluster for what it does not have yet."""

    def get(self, commit_id: str, /) -> CommitInfo | None:
        """The commit; None where there is none."""


def finished_head(commits: Commits, head: str) -> str | None:
    """The newest finished commit at or before `head`. The next run takes open ones."""
    current: str | None = head or None
    while current is not None:
        commit = commits.get(current)
        if commit is None:
            return None
        if commit.finished_at is not None:
            return current
        current = commit.parent
    return None


def unfinished(commits: Commits, head: str) -> list[CommitInfo]:
    """The unfinished commits from `head` back, newest first; none where the head is finished."""
    open_ones: list[CommitInfo] = []
    current: str | None = head or None
    while current is not None and (commit := commits.get(current)) is not None and not commit.finished_at:
        open_ones.append(commit)
        current = commit.parent
    return open_ones


def chosen_commits(
    commits: Commits, heads: Iterable[str], history: History, now: datetime
) -> list[CommitInfo]:
    """The finished commits that `history` chooses from the branches with these heads, parents first.

    `commits` maps ids to commits; an ancestor that is not in it ends its branch's walk.
    """
    chosen: dict[str, CommitInfo] = {}
    for head in heads:
        current: str | None = head
        count = 0
        while current is not None and (commit := commits.get(current)) is not None:
            if history.newest is not None and count >= history.newest:
                break
            too_old = history.within is not None and (commit.started_at or now) < now - history.within
            # the head is always chosen, however old
            if too_old and count:
                break
            # without limits, a walk that came by here before went on to the root
            if current in chosen and history.newest is None and history.within is None:
                break
            chosen[current] = commit
            count += 1
            current = commit.parent
    return parents_first(chosen)


def parents_first(commits: dict[str, CommitInfo]) -> list[CommitInfo]:
    """The commits in an order in which each follows its parent; by start time otherwise.

    Not graphlib's order: that goes by depth, so it mixes the branches of a repo.
    """
    # as text: a start may be None, which no time compares with, and texts in UTC sort as their times do
    by_start = sorted(commits.values(), key=lambda commit: (str(commit.started_at), commit.id))
    ordered: dict[str, CommitInfo] = {}
    for commit in by_start:
        pending = [commit]
        while (parent := commits.get(pending[-1].parent or "")) and parent.id not in ordered:
            pending.append(parent)
        for ancestor in reversed(pending):
            ordered.setdefault(ancestor.id, ancestor)
    return list(ordered.values())


def usable_base(commit: CommitInfo, commits: Commits, stored: Set[str], fallback: str | None) -> str | None:
    """The nearest ancestor that is stored and did not fail; else `fallback`; else None."""
    current = commit.parent
    while current is not None:
        ancestor = commits.get(current)
        if ancestor is None:
            break
        # a failed commit has no rows (format 7.2.4), and Pachyderm inherits nothing from it
        if current in stored and not ancestor.error:
            return current
        current = ancestor.parent
    return fallback


def settled(first: list[BranchInfo], second: list[BranchInfo]) -> bool:
    """Whether two listings of a repo's branches agree."""
    return {branch.name: branch.head for branch in first} == {branch.name: branch.head for branch in second}

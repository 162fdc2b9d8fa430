"""The last line of a restored commit's description: old id and times. A later run finds the commit by it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pachvault.format.ids import RepoName
from pachvault.pach.records import BranchInfo, CommitInfo
from pachvault.restore import working_branches
from pachvault.restore.restore_messages import CommitStep

_LINE = re.compile(
    r"restored by pachvault, request (?P<request>[0-9a-f]{12}), "
    r"from (?P<repo>[\w-]+/[\w-]+)@(?P<commit>[0-9a-f]+)[^\n]*?"
    r"(, without (?P<lost>\d+) damaged files)?$"
)


def description(request_id: str, repo: RepoName, step: CommitStep, lost: int = 0) -> str:
    """The old description, then a line with the old id, times, creator, and how many files are missing."""
    old = step.old
    times = f"started {old.started_at or 'unknown'}, finished {old.finished_at or 'unknown'}"
    line = f"restored by pachvault, request {request_id[:12]}, from {repo}@{old.id}, {times}"
    if old.created_by:
        line += f", created by {old.created_by}"
    if lost:
        line += f", without {lost} damaged files"
    return f"{old.description}\n{line}" if old.description else line


def appended(request_id: str, repo: RepoName, commit: str) -> str:
    """The description of a commit that is put on top of a branch."""
    return f"appended by pachvault, request {request_id[:12]}, from {repo}@{commit}"


def restored(
    commits: list[CommitInfo], request_id: str, repo: RepoName, branches: Sequence[BranchInfo] = ()
) -> dict[str, CommitInfo]:
    """The commits that this request has replayed or begun already, by old id.

    Those that a branch keeps as differing do not count, nor do their descendants.
    """
    prefix = working_branches.differing(request_id)
    differing = {branch.head for branch in branches if branch.name.startswith(prefix)}
    commits_by_old_id = {}
    # oldest first: a parent comes before its descendants, and of two attempts at a commit the later one
    # counts
    for commit in reversed(commits):
        if commit.id in differing or commit.parent in differing:
            differing.add(commit.id)
            continue
        match = _LINE.search(commit.description)
        # the pattern ends at the end of the text: a commit that was itself restored before has an older line
        # above
        if match and (match["request"], match["repo"]) == (request_id[:12], str(repo)):
            commits_by_old_id[match["commit"]] = commit
    return commits_by_old_id


def left_out(commit: CommitInfo) -> int:
    """How many damaged files a restored commit lacks."""
    match = _LINE.search(commit.description)
    return int(match["lost"] or 0) if match else 0

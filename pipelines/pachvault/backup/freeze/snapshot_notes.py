"""The notes of a freeze about times: clocks that differ, and commits that were not finished. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from pachvault.backup.backup_messages import PlannedRepo
from pachvault.backup.freeze.heads import Heads
from pachvault.backup.freeze.survey import Survey
from pachvault.format.manifest import Problem
from pachvault.format.problem_kinds import CLOCKS_DIFFER, LEFT_OPEN, UNFINISHED
from pachvault.format.records import Branch, Unfinished
from pachvault.pach.records import CommitInfo
from pachvault.syntax.quantities import rounded_in_words
from pachvault.vault import clock
from pachvault.vault.clock import Clocks


def dated(heads: Heads, clocks: Clocks) -> Heads:
    """The heads by the store's clock, where this machine's differs from it."""
    if not clocks.difference:
        return heads
    return replace(heads, began_at=heads.began_at - clocks.ahead, ended_at=heads.ended_at - clocks.ahead)


def clock_notes(surveyed: Survey, clocks: Clocks, tick: datetime | None) -> list[Problem]:
    """A note for each clock that differs from the store's."""
    messages = []
    if clocks.difference:
        messages.append(f"{clocks.difference}: the snapshot is dated by the store's")
    newest = _newest(commit for repo in surveyed.repos for commit in repo.commits.values())
    newest_at = max((at for at in (newest, tick) if at is not None), default=None)
    if newest_at is not None and clock.is_future(newest_at, max(surveyed.ended_at, clocks.store)):
        ahead = rounded_in_words(newest_at - max(surveyed.ended_at, clocks.store))
        messages.append(f"the cluster's clock is at least {ahead} ahead of the store's")
    return [Problem(repo="*", kind=CLOCKS_DIFFER, message=message) for message in messages]


def history_end(commits: Iterable[CommitInfo], clocks: Clocks, ended_at: datetime) -> datetime:
    """The time that the age of commits is counted from, for a policy that limits it.

    Commits have the cluster's times. So it is the start of the newest of `commits`, or now by the earlier of
    the other two clocks where that is earlier: a wrong clock makes a history longer, never shorter.
    `ended_at`: the end of the survey.
    """
    return min(at for at in (_newest(commits), clocks.earlier, ended_at) if at is not None)


def _newest(commits: Iterable[CommitInfo]) -> datetime | None:
    return max((commit.started_at for commit in commits if commit.started_at is not None), default=None)


def unfinished_notes(planned: Iterable[PlannedRepo], clocks: Clocks, interval: timedelta) -> list[Problem]:
    """A note for each branch whose newest commits are not finished: the snapshot ends before them.

    A commit that is open for longer than the interval is a problem: somebody left it open, or the cluster
    does not keep up. The output of a pipeline is unfinished while a job runs, which is no problem.
    """
    return [
        _unfinished(repo, branch, branch.unfinished, clocks.earlier, interval)
        for repo in planned
        for branch in repo.branches
        if branch.unfinished is not None
    ]


def _unfinished(
    repo: PlannedRepo, branch: Branch, left: Unfinished, now: datetime, interval: timedelta
) -> Problem:
    open_for = now - left.since if left.since else timedelta()
    is_left_open = open_for > interval and repo.output_of is None
    commits = (
        f"{left.count:,} commits, {left.first} to {left.head}, were"
        if left.count > 1
        else f"commit {left.head} was"
    )
    since = f", the oldest open since {left.since:%Y-%m-%d %H:%M:%S} UTC" if left.since else ""
    late = f", longer than the interval of {rounded_in_words(interval)}" if is_left_open else ""
    has = branch.head or "none"
    return Problem(
        repo=str(repo.name),
        branch=branch.name,
        kind=LEFT_OPEN if is_left_open else UNFINISHED,
        message=f"{commits} not finished at the freeze{since}{late}; the snapshot has {has} as its head",
    )

"""When the next backup starts: a deployment starts none, for a pipeline's first jobs have no tick yet."""

from __future__ import annotations

from datetime import UTC, datetime

from pachvault import cluster_project
from pachvault.format.ids import RepoName
from pachvault.pach.source import Source
from pachvault.policy import HOME_PROJECT, Policy
from pachvault.syntax import schedule

_TICKS = RepoName(HOME_PROJECT, "freeze_tick")
"""The repo of the cron input of freeze: a file for the newest tick, whose name is its time."""


def next_tick(source: Source, policy: Policy) -> datetime | None:
    """The next tick of freeze by this policy, in UTC: a minute or so early or late."""
    parsed, now = schedule.for_policy(policy.schedule), datetime.now(UTC)
    ticks = [_time(path) for path in cluster_project.files(source, _TICKS)]
    newest = max((tick for tick in ticks if tick is not None), default=None)
    after_newest = parsed.after(newest) if newest else None
    return after_newest if after_newest and after_newest > now else parsed.after(now)


def _time(path: str) -> datetime | None:
    try:
        return datetime.fromisoformat(path.removeprefix("/")).astimezone(UTC)
    except ValueError:
        return None

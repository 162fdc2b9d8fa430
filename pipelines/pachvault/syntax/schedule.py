"""Schedules of cron inputs: which texts are one, when the ticks come, how far apart they are. Pure.

Accepted is what pachd accepts (robfig/cron 1.2, ParseStandard, and `@never`) but for days that do not exist
(`0 0 30 2 *`). A policy accepts less: `for_policy`. Pachyderm decides when a tick really comes; all times are
UTC, as in a pachd container.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

from cronsim import CronSim, CronSimError

from pachvault.errors import InvalidInputError

_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ALLOWED = "allowed are five cron fields, @every 90m, or @hourly, @daily, @weekly, @monthly, @yearly"
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)"
_EVERY = re.compile(rf"@every \+?((?:{_NUMBER})+)")
_PART = re.compile(_NUMBER)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_SECONDS = 2**63 / 1e9
"""A Go duration is nanoseconds in a signed 64-bit integer: 292 years."""
_SHORTEST_OF_POLICY = timedelta(minutes=1)
_TERM = r"(?:[*?]|\d+|[A-Za-z]{3})(?:-(?:\d+|[A-Za-z]{3}))?(?:/\d+)?"
_FIELD = re.compile(f"{_TERM}(?:,{_TERM})*")
"""cronsim also reads `L`, `W`, `#` and a sixth field, which pachd refuses."""
# cronsim takes 7 for Sunday; pachd's days end at 6. A step of 7 (`*/7`) is allowed
_SUNDAY_AS_7 = re.compile(r"(?<![\d/])7")
_TICKS = 50
"""Enough of them to meet the longest pause of what people write: a weekend, the end of a month."""
_YEAR = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed schedule: a period, or five cron fields; with neither it never ticks."""

    period: timedelta | None = None
    fields: str | None = None

    def after(self, moment: datetime) -> datetime | None:
        """The first tick later than `moment`, on a whole second; None where there is none."""
        if self.period is not None:
            return (moment + self.period).replace(microsecond=0)
        if self.fields is not None:
            return next(CronSim(self.fields, moment.astimezone(UTC)), None)
        return None

    def longest_gap(self, now: datetime) -> timedelta:
        """The longest time between two of the coming ticks; a year where fewer than two come."""
        if self.period is not None or self.fields is None:
            return self.period or _YEAR
        ticks = list(islice(CronSim(self.fields, now), _TICKS))
        return max((later - earlier for earlier, later in pairwise(ticks)), default=_YEAR)


def parse(text: str) -> Schedule:
    """What pachd makes of a cron input's `spec`; InvalidInputError where pachd refuses it."""
    if text.strip() == "@never":
        return Schedule()
    if text.startswith("@every"):
        return Schedule(period=_period(text))
    line = _NAMED.get(text, text)
    fields = line.replace("?", "*").split()
    if len(fields) == 5 and all(map(_FIELD.fullmatch, line.split())) and not _SUNDAY_AS_7.search(fields[4]):
        with suppress(CronSimError):
            CronSim(" ".join(fields), datetime(2000, 1, 1, tzinfo=UTC))
            return Schedule(fields=" ".join(fields))
    raise InvalidInputError(_ALLOWED)


def _period(text: str) -> timedelta:
    every = _EVERY.fullmatch(text)
    seconds = (
        sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(every[1])) if every else None
    )
    if seconds is None or seconds >= _LONGEST_SECONDS:
        raise InvalidInputError(_ALLOWED)
    return timedelta(seconds=max(1, int(seconds)))  # pachd ticks at most once a second


def for_policy(text: str) -> Schedule:
    """Like `parse`, but refuse what would never tick, or so often that no run ends before the next tick."""
    schedule = parse(text)
    if schedule.after(datetime(2000, 1, 1, tzinfo=UTC)) is None:
        raise InvalidInputError(f"{text} never ticks")
    if schedule.period is not None and schedule.period < _SHORTEST_OF_POLICY:
        raise InvalidInputError("the shortest interval is @every 1m")
    return schedule


def longest_gap(schedule: str, now: datetime) -> timedelta:
    """The longest time between two of the coming ticks of a policy's schedule."""
    return parse(schedule).longest_gap(now)

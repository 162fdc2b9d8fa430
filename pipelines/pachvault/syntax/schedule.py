"""Schedules of cron inputs: which texts are one, and how far apart the ticks are. Pure.

Pachyderm decides when a tick comes. Accepted is what pachd accepts (robfig/cron 1.2, ParseStandard), but not
`?` and `@never`. The embedded Pachyderm has a parser of its own: as a double of pachd it must be able to
refuse what this one accepts by mistake.
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
    "@hourly": timedelta(hours=1),
    "@daily": timedelta(days=1),
    "@midnight": timedelta(days=1),
    "@weekly": timedelta(days=7),
    "@monthly": timedelta(days=31),
    "@yearly": timedelta(days=366),
    "@annually": timedelta(days=366),
}
_EVERY = re.compile(r"@every ((?:\d+(?:\.\d+)?[hms])+)")
_PART = re.compile(r"(\d+(?:\.\d+)?)([hms])")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_SHORTEST = timedelta(seconds=1)
_TERM = r"(?:\*|\d+|[A-Za-z]{3})(?:-(?:\d+|[A-Za-z]{3}))?(?:/\d+)?"
_FIELD = re.compile(f"{_TERM}(?:,{_TERM})*")
"""cronsim also reads `L`, `W`, `#` and a sixth field, which pachd refuses."""
# cronsim takes 7 for Sunday; pachd's days end at 6. A step of 7 (`*/7`) is allowed
_SUNDAY_AS_7 = re.compile(r"(?<![\d/])7")
_TICKS = 50
"""Enough of them to meet the longest pause of what people write: a weekend, the end of a month."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed schedule: a longest pause, or five fields."""

    pause: timedelta | None = None
    fields: str | None = None

    def longest_gap(self, now: datetime) -> timedelta:
        """The longest time between two of the coming ticks."""
        if self.pause is not None or self.fields is None:
            return self.pause or timedelta(days=366)
        ticks = list(islice(CronSim(self.fields, now), _TICKS))
        return max((later - earlier for earlier, later in pairwise(ticks)), default=timedelta(days=366))


def parse(text: str) -> Schedule:
    """Five cron fields, `@every` with a Go duration, or a name such as `@daily`; else InvalidInputError."""
    if text in _NAMED:
        return Schedule(pause=_NAMED[text])
    if every := _EVERY.fullmatch(text):
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(every[1]))
        return Schedule(pause=max(timedelta(seconds=seconds), _SHORTEST))
    fields = text.split()
    if len(fields) == 5 and all(map(_FIELD.fullmatch, fields)) and not _SUNDAY_AS_7.search(fields[4]):
        with suppress(CronSimError):
            CronSim(text, datetime(2000, 1, 1, tzinfo=UTC))
            return Schedule(fields=text)
    allowed = "five cron fields, @every 90m, or @hourly, @daily, @weekly, @monthly, @yearly"
    raise InvalidInputError(f"allowed are {allowed}")


def longest_gap(schedule: str, now: datetime) -> timedelta:
    """The longest time between two of the coming ticks of a policy's schedule."""
    return parse(schedule).longest_gap(now)

"""How far apart the ticks of a schedule are. When they come is Pachyderm's business."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from itertools import islice, pairwise

from cronsim import CronSim

_NAMED = {
    "@hourly": timedelta(hours=1),
    "@daily": timedelta(days=1),
    "@midnight": timedelta(days=1),
    "@weekly": timedelta(days=7),
    "@monthly": timedelta(days=31),
    "@yearly": timedelta(days=366),
    "@annually": timedelta(days=366),
}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_TICKS = 50
"""Enough of them to meet the longest pause of what people write: a weekend, the end of a month."""


def longest_gap(schedule: str, now: datetime) -> timedelta:
    """The longest time between two of the coming ticks of a policy's schedule."""
    if schedule in _NAMED:
        return _NAMED[schedule]
    if schedule.startswith("@every "):
        parts = re.findall(r"(\d+(?:\.\d+)?)(h|m|s)", schedule)
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    ticks = list(islice(CronSim(schedule, now), _TICKS))
    return max((later - earlier for earlier, later in pairwise(ticks)), default=timedelta(days=366))

"""When a cron input ticks: five-field expressions, `@every 60s`, `@hourly` and their like, `@never`.

Pure: an expression and a time in, the next time out. All times are UTC, as in a pachd container.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError

_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TERM = re.compile(r"(\*|\?|\d+|[A-Za-z]{3})(-(\d+|[A-Za-z]{3}))?(/\d+)?")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


class CronError(ValueError):
    """Not a cron expression that Pachyderm reads."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed expression: either a period or the five fields; neither means never."""

    every: timedelta | None = None
    fields: str | None = None

    def after(self, moment: datetime) -> datetime | None:
        """The first tick later than `moment`."""
        if self.every is not None:
            return (moment + self.every).replace(microsecond=0)
        if self.fields is not None:
            return next(CronSim(self.fields, moment.astimezone(UTC)), None)
        return None


def parse(expression: str) -> Schedule:
    text = expression.strip()
    if text == "@never":
        return Schedule()
    if text.startswith("@every "):
        return Schedule(every=_period(text.removeprefix("@every ").strip()))
    fields = _NAMED.get(text, text)
    if fields.startswith("@"):
        raise CronError(f"unrecognized descriptor: {text}")
    if len(fields.split()) != 5:
        raise CronError(f"Expected exactly 5 fields, found {len(fields.split())}: {fields}")
    for field in fields.split():
        for term in field.split(","):
            if not _TERM.fullmatch(term):  # cronsim reads more: L, W and #
                raise CronError(f"Failed to parse {term!r}: {fields}")
    if re.search(r"(?<![\d/])7", fields.split()[4]):
        raise CronError(f"End of range (7) above maximum (6): {fields}")
    try:
        CronSim(fields.replace("?", "*"), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise CronError(f"{error}: {fields}") from None
    return Schedule(fields=fields.replace("?", "*"))


def _period(text: str) -> timedelta:
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise CronError(f"Failed to parse duration @every {text}")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return timedelta(seconds=max(1, int(seconds)))

"""Durations, sizes and counts as users write them: one text means the same everywhere. Pure.

Every parser raises InvalidInputError. pydantic's ByteSize and timedelta are not used: they read `010`, bits
and ISO 8601, and do not read `2Gi` or `30d`.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta

from pachvault.errors import InvalidInputError

_DURATION = re.compile(r"([0-9]{1,9})\s*(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_IN_WORDS = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
_LONGEST = timedelta(days=365_000)
_SIZE = re.compile(r"((?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,9})?)\s*([kmgt]?i?)b?")
_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}


def duration(value: object) -> timedelta:
    """A duration, from a number and a unit: at most a thousand years."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        # bounded before timedelta sees it, which raises OverflowError; the check below then refuses it
        value = timedelta(seconds=min(int(match[1]) * _SECONDS[match[2]], 10**12))
    if isinstance(value, timedelta):
        if value > _LONGEST:
            raise InvalidInputError("a duration is at most a thousand years")
        return value
    raise InvalidInputError(
        "a duration is a number and one of s m h d w, as in 30d", hint="m is minutes; write months as days"
    )


def in_words(length: timedelta) -> str:
    """A duration in words: `7 minutes`."""
    seconds = length / timedelta(seconds=1)
    unit = next(
        (unit for unit, size in _IN_WORDS.items() if seconds >= size and not seconds % size), "second"
    )
    return _counted(f"{seconds / _IN_WORDS[unit]:g}", unit)


def rounded_in_words(length: timedelta) -> str:
    """A measured duration, rounded down to two units: `3 days 12 hours`. A negative one is zero."""
    seconds = max(0, round(length / timedelta(seconds=1)))
    counts = []
    for unit, unit_seconds in _IN_WORDS.items():
        number, seconds = divmod(seconds, unit_seconds)
        counts.append((number, unit))
    largest = next((place for place, (number, _) in enumerate(counts) if number), len(counts) - 1)
    words = [_counted(str(number), unit) for number, unit in counts[largest : largest + 2] if number]
    return " ".join(words) or "0 seconds"


def _counted(number: str, unit: str) -> str:
    return f"{number} {unit}" if number == "1" else f"{number} {unit}s"


def counted(number: int, noun: str) -> str:
    """A number of things in words: `1 repo`, `2,000 repos`. The noun's plural ends in s."""
    return _counted(f"{number:,}", noun)


def count(value: object) -> int:
    """A whole number from 1 up; InvalidInputError otherwise.

    010 is refused: it is 8 to some, 10 to others.
    """
    if isinstance(value, str) and re.fullmatch("[1-9][0-9]{0,8}", value):
        return int(value)
    # not isinstance: True is an int, too
    if type(value) is int and 0 < value < 10**9:
        return value
    raise InvalidInputError(f"not a count: {value!r}", hint="a whole number from 1 up without leading zeros")


def size(value: object) -> int:
    """Bytes, from a number with or without a unit; InvalidInputError for any other form."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    bytes_count = float(match[1]) * _UNITS[match[2]] if match and match[2] in _UNITS else math.inf
    if bytes_count >= 2**63:
        raise InvalidInputError("a size is a number of bytes or one with a unit, as in 50MB or 2GiB")
    return int(bytes_count)

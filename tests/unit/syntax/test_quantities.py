"""Durations, sizes and counts as users write them, and how they were understood."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pachvault.errors import InvalidInputError
from pachvault.syntax.quantities import count, duration, in_words, rounded_in_words, size


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("7m", "7 minutes"),
        ("7min", "7 minutes"),
        ("1h", "1 hour"),
        ("30d", "30 days"),
        ("2w", "14 days"),
        ("90s", "90 seconds"),
        ("90m", "90 minutes"),
        ("0s", "0 seconds"),
    ],
)
def test_a_duration_is_said_in_words(text: str, words: str) -> None:
    assert in_words(duration(text)) == words


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(days=3, hours=12), "3 days 12 hours"),
        (timedelta(days=1, hours=1, minutes=59), "1 day 1 hour"),
        (timedelta(days=2, minutes=5), "2 days"),
        (timedelta(minutes=4), "4 minutes"),
        (timedelta(minutes=6, seconds=1), "6 minutes 1 second"),
        (timedelta(milliseconds=1600), "2 seconds"),
        (timedelta(milliseconds=400), "0 seconds"),
        (timedelta(seconds=-5), "0 seconds"),
    ],
)
def test_a_measured_duration_is_rounded_to_two_units(length: timedelta, words: str) -> None:
    assert rounded_in_words(length) == words


@pytest.mark.parametrize("value", ["7", 7, "7mo", "2y5m7d3h", "1.5h", "-1h", "٣d", "9" * 5000 + "d", None])
def test_what_is_no_duration_is_refused_and_minutes_are_explained(value: object) -> None:
    with pytest.raises(InvalidInputError, match=r"as in 30d \(m is minutes"):
        duration(value)


@pytest.mark.parametrize("text", ["999999999w", "365001d"])
def test_a_duration_longer_than_a_thousand_years_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="at most a thousand years"):
        duration(text)
    assert duration("36500d") == timedelta(days=36500)


@pytest.mark.parametrize("value", ["1", "14", 14, "999999999"])
def test_counts(value: object) -> None:
    assert count(value) == int(str(value))


@pytest.mark.parametrize("value", ["010", "0", 0, -1, "-1", "1_0", "0x10", "٣", "", True, 1.0, None, 10**9])
def test_what_is_no_plain_count_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError, match="a whole number from 1 up without leading zeros"):
        count(value)


@pytest.mark.parametrize("value", ["010", "1_000", "1:30", "", "1ib", None, True, "999999999999999999T"])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError, match="a size is a number of bytes"):
        size(value)

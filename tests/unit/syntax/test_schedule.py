"""Schedules: what pachd accepts, when the ticks come, how far apart they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachvault.errors import InvalidInputError
from pachvault.syntax.schedule import for_policy, longest_gap, parse

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOON = datetime(2026, 11, 22, 12, 0, 30, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "hours"),
    [
        ("@every 24h", 24),
        ("@every 1h30m", 1.5),
        ("@every 0.5h1800s", 1),
        ("@hourly", 1),
        ("@daily", 24),
        ("@midnight", 24),
        ("@weekly", 7 * 24),
        ("@monthly", 31 * 24),
        ("@yearly", 366 * 24),
        ("@annually", 366 * 24),
        ("@never", 366 * 24),
        ("*/15 * * * *", 0.25),
        ("0 3 * * *", 24),
        ("0 3 * * 1-5", 3 * 24),
        ("0 9,17 * * *", 16),
        ("0 0 1 * *", 31 * 24),
    ],
)
def test_the_longest_pause_counts(schedule: str, hours: float) -> None:
    assert longest_gap(schedule, NOW) == timedelta(hours=hours)


@pytest.mark.parametrize("schedule", ["@every 0s", "@every 0.2s", "@every 10ms"])
def test_no_period_is_shorter_than_a_second(schedule: str) -> None:
    assert longest_gap(schedule, NOW) == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", datetime(2026, 11, 22, 12, 1, tzinfo=UTC)),
        ("*/15 * * * *", datetime(2026, 11, 22, 12, 15, tzinfo=UTC)),
        ("5/20 * * * *", datetime(2026, 11, 22, 12, 5, tzinfo=UTC)),
        ("30 2 * * MON", datetime(2026, 11, 23, 2, 30, tzinfo=UTC)),
        ("0 9,17 1-7 JAN,jul 0", datetime(2027, 1, 1, 9, tzinfo=UTC)),
        ("0 0 1 1 ?", datetime(2027, 1, 1, tzinfo=UTC)),
        ("@hourly", datetime(2026, 11, 22, 13, tzinfo=UTC)),
        ("@daily", datetime(2026, 11, 23, tzinfo=UTC)),
        ("@weekly", datetime(2026, 11, 29, tzinfo=UTC)),
        ("@monthly", datetime(2026, 12, 1, tzinfo=UTC)),
        ("@yearly", datetime(2027, 1, 1, tzinfo=UTC)),
        ("@every 60s", datetime(2026, 11, 22, 12, 1, 30, tzinfo=UTC)),
        ("@every 1h30m", datetime(2026, 11, 22, 13, 30, 30, tzinfo=UTC)),
        ("@every 10ms", datetime(2026, 11, 22, 12, 0, 31, tzinfo=UTC)),
        ("@never", None),
        (" @never ", None),
    ],
)
def test_next_tick(expression: str, expected: datetime | None) -> None:
    assert parse(expression).after(NOON) == expected


@pytest.mark.parametrize(
    "expression",
    [
        *("", "bla", "* * * *", "* * * * * *", "99 * * * *", "@often", "@every", "@every x", "@every 5"),
        *("@every  5m", "@every -5m", "@every 3000000h", "@Daily", " @daily"),
        *("0 0 L * *", "0 0 15W * *", "0 0 * * 5#2", "0 0 * * 7", "0 0 30 2 *"),
    ],
)
def test_refuses_what_is_no_schedule(expression: str) -> None:
    with pytest.raises(InvalidInputError):
        parse(expression)


@pytest.mark.parametrize("schedule", ["@never", "@every 0s", "@every 59s", "@every 100ms"])
def test_a_policy_refuses_what_never_ticks_or_all_the_time(schedule: str) -> None:
    parse(schedule)
    with pytest.raises(InvalidInputError, match=r"never ticks|shortest"):
        for_policy(schedule)


@pytest.mark.parametrize("schedule", ["@every 1m", "* * * * *", "0 0 29 2 *"])
def test_a_policy_accepts(schedule: str) -> None:
    assert for_policy(schedule) == parse(schedule)


@given(
    st.sampled_from(
        ["*/7 * * * *", "5 4 * * 1-5", "@every 61s", "@hourly", "0 0 29 2 *", "0 9,17 1-7 JAN,jul 0"]
    ),
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_ticks_lie_ahead_and_none_lies_between(expression: str, moment: datetime) -> None:
    schedule = parse(expression)
    due = schedule.after(moment)
    assert due is not None
    assert due > moment
    if schedule.period is None:
        assert schedule.after(due - timedelta(seconds=1)) == due
    later = schedule.after(due)
    assert later is not None
    assert later - due <= schedule.longest_gap(moment)

"""How far apart ticks are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from embedded_pachyderm.pps.jobs import cron
from pachvault.syntax.schedule import longest_gap, parse

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


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
        ("*/15 * * * *", 0.25),
        ("0 3 * * *", 24),
        ("0 3 * * 1-5", 3 * 24),
        ("0 9,17 * * *", 16),
        ("0 0 1 * *", 31 * 24),
    ],
)
def test_the_longest_pause_counts(schedule: str, hours: float) -> None:
    assert longest_gap(schedule, NOW) == timedelta(hours=hours)


@pytest.mark.parametrize("schedule", ["@every 0s", "@every 0.2s"])
def test_no_period_is_shorter_than_a_second(schedule: str) -> None:
    assert longest_gap(schedule, NOW) == timedelta(seconds=1)


@pytest.mark.parametrize(
    "schedule",
    [
        "@every 1h30m",
        "@hourly",
        "@weekly",
        "*/15 * * * *",
        "0 3 * * mon-fri",
        "0 9,17 1-7 JAN,jul 0",
        "5/20 * * * *",
    ],
)
def test_what_a_policy_accepts_pachyderm_accepts_and_no_tick_is_later(schedule: str) -> None:
    gap = parse(schedule).longest_gap(NOW)
    first = cron.parse(schedule).after(NOW)
    assert first is not None
    second = cron.parse(schedule).after(first)
    assert second is not None
    assert second - first <= gap

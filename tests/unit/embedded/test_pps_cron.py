from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded_pachyderm.pps.jobs.cron import CronError, parse

NOON = datetime(2026, 11, 22, 12, 0, 30, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", datetime(2026, 11, 22, 12, 1, tzinfo=UTC)),
        ("*/15 * * * *", datetime(2026, 11, 22, 12, 15, tzinfo=UTC)),
        ("30 2 * * MON", datetime(2026, 11, 23, 2, 30, tzinfo=UTC)),
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
    ],
)
def test_next_tick(expression: str, expected: datetime | None) -> None:
    assert parse(expression).after(NOON) == expected


@pytest.mark.parametrize(
    "expression",
    [
        *("", "bla", "* * * *", "* * * * * *", "99 * * * *", "@often", "@every", "@every x", "@every 5"),
        *("0 0 L * *", "0 0 15W * *", "0 0 * * 5#2", "0 0 * * 7"),
    ],
)
def test_refuses_what_is_no_schedule(expression: str) -> None:
    with pytest.raises(CronError):
        parse(expression)


@given(
    st.sampled_from(["*/7 * * * *", "5 4 * * 1-5", "@every 61s", "@hourly", "0 0 29 2 *"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_ticks_lie_ahead_and_none_lies_between(expression: str, moment: datetime) -> None:
    schedule = parse(expression)
    due = schedule.after(moment)
    assert due is not None
    assert due > moment
    if schedule.every is None:
        assert schedule.after(due - timedelta(seconds=1)) == due

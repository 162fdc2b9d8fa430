"""Which snapshots are kept, with the reasons that users read."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from pachvault.maintenance.forget.retention import Candidate, RetentionAction, RetentionDecision, decide
from pachvault.policy import Retention

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)  # a Sunday


def snapshot(
    frozen_at: datetime | str,
    *,
    cluster: str = "c",
    policy: str = "default",
    partial: bool = False,
    pinned: bool = False,
    rules: frozenset[int] = frozenset({0}),
) -> Candidate:
    """One whose id says when it was frozen."""
    at = datetime.fromisoformat(frozen_at) if isinstance(frozen_at, str) else frozen_at
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return Candidate(
        id=f"{frozen_at} {cluster} {policy}",
        frozen_at=at,
        cluster=cluster,
        policy=policy,
        partial=partial,
        pinned=pinned,
        rules=rules,
    )


def reasons(verdicts: list[RetentionDecision]) -> dict[str, tuple[str, ...]]:
    """What is kept, by the id's first part, and why."""
    return {
        verdict.candidate.id.split(" c ")[0]: verdict.reasons
        for verdict in verdicts
        if verdict.action is RetentionAction.KEEP
    }


def kept(candidates: list[Candidate], *rules: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return reasons(decide(candidates, [Retention(**rule) for rule in rules], NOW))


def test_the_last_are_kept_whenever_they_were_frozen() -> None:
    kept_ones = kept([snapshot(f"2026-01-0{day}") for day in range(1, 6)], {"keep_last": 2})
    assert kept_ones == {"2026-01-04": ("last 2",), "2026-01-05": ("newest good", "last 1")}


def test_each_periods_newest_stands_for_it() -> None:
    times = ["2026-11-20 08:00", "2026-11-20 23:59", "2026-11-21 00:00", "2026-11-21 00:30"]
    kept_ones = kept([snapshot(moment) for moment in times], {"keep_daily": 2})
    assert kept_ones == {
        "2026-11-20 23:59": ("daily 2026-11-20",),
        "2026-11-21 00:30": ("newest good", "daily 2026-11-21"),
    }
    assert set(kept([snapshot(moment) for moment in times], {"keep_hourly": 2})) == {times[1], times[3]}


def test_periods_without_a_snapshot_take_no_slot() -> None:
    kept_ones = kept(
        [snapshot(day) for day in ("2020-05-01", "2023-05-01", "2026-05-01")], {"keep_yearly": 2}
    )
    assert set(kept_ones) == {"2023-05-01", "2026-05-01"}


def test_weeks_are_iso_weeks_and_years_of_weeks_are_theirs() -> None:
    times = ["2020-12-27", "2020-12-28", "2021-01-03", "2021-01-04"]
    kept_ones = kept([snapshot(moment) for moment in times], {"keep_weekly": 3})
    assert kept_ones["2021-01-03"] == ("weekly 2020-W53",)
    assert kept_ones["2021-01-04"] == ("newest good", "weekly 2021-W01")
    assert kept_ones["2020-12-27"] == ("weekly 2020-W52",)
    assert "2020-12-28" not in kept_ones


def test_days_are_those_of_utc() -> None:
    east = timezone(timedelta(hours=9))
    early = snapshot(datetime(2026, 11, 21, 8, tzinfo=east))  # the 20th, 23:00 in UTC
    late = snapshot(datetime(2026, 11, 21, 10, tzinfo=east))  # the 21st, 01:00
    verdicts = decide([early, late], [Retention(keep_daily=5)], NOW)
    assert verdicts[0].reasons[0] == "daily 2026-11-20"
    assert verdicts[1].reasons[1] == "daily 2026-11-21"


def test_the_oldest_is_kept_while_slots_are_free() -> None:
    days = [snapshot(f"2026-11-{day:02}") for day in (1, 2, 3)]
    assert kept(days, {"keep_monthly": 2}) == {
        "2026-11-01": ("oldest, while there are fewer than 2 monthly",),
        "2026-11-03": ("newest good", "monthly 2026-11"),
    }
    assert set(kept(days, {"keep_monthly": 1})) == {"2026-11-03"}


def test_a_time_is_counted_back_from_the_newest_good_one() -> None:
    times = ["2026-01-01", "2026-01-09", "2026-01-10", "2026-01-31"]
    kept_ones = kept([snapshot(moment) for moment in times], {"keep_within": timedelta(days=21)})
    assert kept_ones == {
        "2026-01-10": ("within 21 days",),
        "2026-01-31": ("newest good", "within 21 days"),
    }


def test_what_several_rules_keep_has_all_their_reasons() -> None:
    rules: list[dict[str, Any]] = [{"keep_last": 1}, {"match": ["images/*", "a/b@v?"], "keep_monthly": 1}]
    both = frozenset({0, 1})
    kept_ones = kept(
        [snapshot("2026-10-01", rules=both), snapshot("2026-11-01", rules=frozenset({0}))], *rules
    )
    assert kept_ones == {
        "2026-10-01": (
            "newest good of images/*, a/b@v?",
            "monthly 2026-10 of images/*, a/b@v?",
        ),
        "2026-11-01": ("newest good", "last 1"),
    }


def test_what_no_rule_speaks_of_is_kept() -> None:
    kept_ones = kept(
        [snapshot("2026-10-01", rules=frozenset()), snapshot("2026-11-01"), snapshot("2026-11-02")],
        {"match": ["images/*"], "keep_last": 1},
    )
    assert kept_ones["2026-10-01"] == ("no rule matches it",)
    assert "2026-11-01" not in kept_ones


def test_clusters_and_policies_are_apart() -> None:
    candidates = [
        snapshot("2026-11-01", cluster="a"),
        snapshot("2026-11-02", cluster="b"),
        snapshot("2026-11-03", cluster="b", policy="other"),
        snapshot("2026-11-04", cluster="b", policy="other"),
    ]
    verdicts = decide(candidates, [Retention(keep_last=1)], NOW)
    assert [verdict.action.value for verdict in verdicts] == ["keep", "keep", "forget", "keep"]


def test_a_pinned_snapshot_is_kept_and_takes_its_slot() -> None:
    kept_ones = kept(
        [snapshot("2026-11-01", pinned=True), snapshot("2026-11-02"), snapshot("2026-11-03")],
        {"keep_last": 1},
    )
    assert kept_ones == {"2026-11-01": ("pinned",), "2026-11-03": ("newest good", "last 1")}


def test_partial_snapshots_take_no_slot_and_go_when_a_good_one_is_newer() -> None:
    candidates = [
        snapshot("2026-11-01"),
        snapshot("2026-11-02", partial=True),
        snapshot("2026-11-03"),
        snapshot("2026-11-04", partial=True),
        snapshot("2026-11-05", partial=True),
    ]
    assert kept(candidates, {"keep_last": 2}) == {
        "2026-11-01": ("last 2",),
        "2026-11-03": ("newest good", "last 1"),
        "2026-11-04": ("partial, no good one is newer",),
        "2026-11-05": ("partial, no good one is newer",),
    }
    verdict = decide(candidates, [Retention(keep_last=2)], NOW)[1]
    assert (verdict.action, verdict.reasons) == (
        RetentionAction.FORGET,
        ("partial, and a good one is newer",),
    )
    assert "2026-11-02" in kept(candidates, {"keep_within": timedelta(days=1)})


def test_without_any_good_one_nothing_is_dropped() -> None:
    candidates = [snapshot(f"2026-11-0{day}", partial=True) for day in (1, 2, 3)]
    assert len(kept(candidates, {"keep_last": 1})) == 3


def test_what_is_dated_into_the_future_stays_and_takes_nobodys_place() -> None:
    tomorrow = snapshot(NOW + timedelta(days=1))
    candidates = [snapshot("2026-11-01"), snapshot("2026-11-02"), tomorrow]
    verdicts = decide(candidates, [Retention(keep_last=1)], NOW)
    assert [verdict.reasons for verdict in verdicts] == [
        ("no rule keeps it",),
        ("newest good", "last 1"),
        ("future-dated",),
    ]


def test_without_rules_nothing_is_forgotten() -> None:
    verdicts = decide(
        [snapshot("2026-11-01", rules=frozenset()), snapshot("2026-11-02", rules=frozenset())], [], NOW
    )
    assert {verdict.action for verdict in verdicts} == {RetentionAction.KEEP}


def test_each_verdict_is_of_its_snapshot() -> None:
    candidates = [snapshot(f"2026-01-0{day}") for day in range(1, 4)]
    verdicts = decide(candidates, [Retention(keep_last=1)], NOW)
    assert [verdict.candidate for verdict in verdicts] == candidates


def test_periods_are_those_of_utc_whatever_zone_this_machine_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        kept_ones = kept([snapshot("2026-01-01 23:30")], {"keep_daily": 1})
    finally:
        monkeypatch.undo()
        time.tzset()
    assert kept_ones["2026-01-01 23:30"] == ("newest good", "daily 2026-01-01")

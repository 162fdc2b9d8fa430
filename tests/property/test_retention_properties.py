"""Laws of retention: more rules keep more, and what must never go never goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pachvault.maintenance.forget.retention import Candidate, RetentionAction, RetentionDecision, decide
from pachvault.policy import Retention

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
COUNTS = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
RULES = 2

times = st.one_of(
    st.integers(-72, 24 * 40).map(lambda hours: NOW - timedelta(hours=hours)),
    st.integers(-2, 1500).map(lambda days: NOW - timedelta(days=days)),
)


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    """Snapshots of two clusters and two policies; several may be of one moment."""
    size = draw(st.integers(0, 25))
    return [
        Candidate(
            id=f"{number:064x}",
            frozen_at=draw(times),
            cluster=draw(st.sampled_from("ab")),
            policy=draw(st.sampled_from(("default", "other"))),
            partial=draw(st.integers(0, 3)) == 0,
            pinned=draw(st.integers(0, 9)) == 0,
            rules=draw(st.frozensets(st.integers(0, RULES - 1))),
        )
        for number in range(size)
    ]


@st.composite
def fields(draw: st.DrawFn) -> dict[str, Any]:
    """A rule that keeps something."""
    chosen = {name: draw(st.integers(1, 6)) for name in draw(st.sets(st.sampled_from(COUNTS), max_size=3))}
    if draw(st.booleans()) or not chosen:
        return {**chosen, "keep_within": timedelta(days=draw(st.integers(1, 60)))}
    return chosen


rules = st.lists(fields(), min_size=RULES, max_size=RULES)


def verdicts(snapshots: list[Candidate], settings: list[dict[str, Any]]) -> list[RetentionDecision]:
    return decide(snapshots, [Retention(**rule) for rule in settings], NOW)


def kept(snapshots: list[Candidate], settings: list[dict[str, Any]]) -> set[str]:
    return {
        verdict.candidate.id
        for verdict in verdicts(snapshots, settings)
        if verdict.action is RetentionAction.KEEP
    }


@given(candidates(), rules, st.data())
def test_rules_that_ask_for_more_keep_no_less(
    snapshots: list[Candidate], settings: list[dict[str, Any]], data: st.DataObject
) -> None:
    more = [
        {
            **rule,
            **{
                name: rule.get(name, 0) + data.draw(st.integers(1, 4))
                for name in data.draw(st.sets(st.sampled_from(COUNTS)))
            },
        }
        for rule in settings
    ]
    for rule in more:
        if data.draw(st.booleans()):
            rule["keep_within"] = rule.get("keep_within", timedelta(0)) + timedelta(days=3)
    assert kept(snapshots, settings) <= kept(snapshots, more)


@given(candidates(), rules)
def test_the_newest_good_one_of_each_owner_and_rule_is_kept(
    snapshots: list[Candidate], settings: list[dict[str, Any]]
) -> None:
    stay = kept(snapshots, settings)
    past = [candidate for candidate in snapshots if not candidate.partial and candidate.frozen_at <= NOW]
    for owner in {(candidate.cluster, candidate.policy) for candidate in past}:
        mine = [candidate for candidate in past if (candidate.cluster, candidate.policy) == owner]
        for group in (
            mine,
            *([candidate for candidate in mine if rule in candidate.rules] for rule in range(RULES)),
        ):
            if group:
                assert max(group, key=lambda candidate: (candidate.frozen_at, candidate.id)).id in stay


@given(candidates(), rules)
def test_pinned_and_future_ones_and_those_nobody_speaks_of_are_kept(
    snapshots: list[Candidate], settings: list[dict[str, Any]]
) -> None:
    stay = kept(snapshots, settings)
    for candidate in snapshots:
        if candidate.pinned or candidate.frozen_at > NOW or not candidate.rules:
            assert candidate.id in stay


@given(candidates(), rules)
def test_every_owner_keeps_something(snapshots: list[Candidate], settings: list[dict[str, Any]]) -> None:
    stay = kept(snapshots, settings)
    for owner in {(candidate.cluster, candidate.policy) for candidate in snapshots}:
        assert any(
            candidate.id in stay for candidate in snapshots if (candidate.cluster, candidate.policy) == owner
        )


@given(candidates(), rules, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(
    snapshots: list[Candidate], settings: list[dict[str, Any]], shuffler: Any
) -> None:
    shuffled = list(snapshots)
    shuffler.shuffle(shuffled)
    assert verdicts(shuffled, settings) == verdicts(snapshots, settings)


@given(candidates(), rules)
def test_forgetting_twice_forgets_no_more(snapshots: list[Candidate], settings: list[dict[str, Any]]) -> None:
    stay = kept(snapshots, settings)
    assert kept([candidate for candidate in snapshots if candidate.id in stay], settings) == stay


@given(candidates(), rules, st.integers(0, 24))
def test_pinning_one_drops_no_other(
    snapshots: list[Candidate], settings: list[dict[str, Any]], number: int
) -> None:
    pinned = [
        replace(candidate, pinned=candidate.pinned or at == number) for at, candidate in enumerate(snapshots)
    ]
    assert kept(snapshots, settings) <= kept(pinned, settings)


@given(candidates(), rules)
def test_a_partial_snapshot_changes_nothing_for_the_good_ones(
    snapshots: list[Candidate], settings: list[dict[str, Any]]
) -> None:
    good = [candidate for candidate in snapshots if not candidate.partial]
    assert kept(good, settings) == kept(snapshots, settings) & {candidate.id for candidate in good}


@given(candidates(), rules)
def test_every_verdict_says_why(snapshots: list[Candidate], settings: list[dict[str, Any]]) -> None:
    for verdict in verdicts(snapshots, settings):
        assert verdict.reasons
        assert len(set(verdict.reasons)) == len(verdict.reasons)

"""Which snapshots a policy's rules keep, and why. Pure: nothing is read and nothing is forgotten here.

Snapshots are grouped by cluster and policy. Within a group each rule is applied to the snapshots that it
matches, and a snapshot that any rule keeps is kept. All times are UTC, weeks are those of ISO 8601.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby

from pachvault.policy import Retention
from pachvault.syntax.quantities import in_words
from pachvault.vault import clock

_Period = Callable[[datetime], str]

PERIODS: dict[str, _Period] = {
    "hourly": lambda at: f"{at:%Y-%m-%d %H}h",
    "daily": lambda at: f"{at:%Y-%m-%d}",
    "weekly": lambda at: f"{at:%G-W%V}",
    "monthly": lambda at: f"{at:%Y-%m}",
    "yearly": lambda at: f"{at:%Y}",
}
"""The name of the period that a time is in: snapshots whose names are equal are of the same period."""


class RetentionAction(StrEnum):
    """Whether a snapshot is kept or forgotten."""

    KEEP = "keep"
    FORGET = "forget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A snapshot, with what the rules depend on."""

    id: str
    frozen_at: datetime
    cluster: str
    policy: str
    partial: bool
    pinned: bool
    rules: frozenset[int]
    """The numbers of the rules that match a branch of this snapshot."""
    sequence: int = 0
    """Its place in the order of sealing: newest means sealed last, whatever the clocks were."""


@dataclass(frozen=True, slots=True)
class RetentionDecision:
    """Whether a snapshot is kept, and every reason for that."""

    candidate: Candidate
    action: RetentionAction
    reasons: tuple[str, ...]


def decide(
    candidates: Iterable[Candidate], rules: Sequence[Retention], now: datetime
) -> list[RetentionDecision]:
    """A decision for each snapshot, in the order of sealing. Those dated after `now` are kept."""
    # format 8.5.1: by number, so that no clock decides which snapshot is the newest
    ordered = sorted(candidates, key=_order)
    # a dict as an ordered set: several rules may give the same reason
    reasons: dict[str, dict[str, None]] = {snapshot.id: {} for snapshot in ordered}
    for snapshot in ordered:
        if snapshot.pinned:
            reasons[snapshot.id]["pinned"] = None
        if clock.is_future(snapshot.frozen_at, now):
            reasons[snapshot.id]["future-dated"] = None
        if not snapshot.rules:
            reasons[snapshot.id]["no rule matches it"] = None
    # a snapshot dated in the future does not count as newest: it would take the place of a good one
    # sorted is stable: within a group the order of sealing stays
    for _, group in groupby(sorted(ordered, key=_owner), key=_owner):
        newest_first = [
            snapshot for snapshot in reversed(list(group)) if not clock.is_future(snapshot.frozen_at, now)
        ]
        for snapshot, reason in _always(newest_first, ""):
            reasons[snapshot.id][reason] = None
        for number, rule in enumerate(rules):
            matched = [snapshot for snapshot in newest_first if number in snapshot.rules]
            of = f" of {', '.join(rule.match)}" if rule.match != ["*/*"] else ""
            for snapshot, reason in (*_always(matched, of), *_by_rule(matched, rule, of)):
                reasons[snapshot.id][reason] = None
    return [_decision(snapshot, tuple(reasons[snapshot.id])) for snapshot in ordered]


def _decision(candidate: Candidate, reasons: tuple[str, ...]) -> RetentionDecision:
    if reasons:
        return RetentionDecision(candidate, RetentionAction.KEEP, reasons)
    reason = "partial, and a good one is newer" if candidate.partial else "no rule keeps it"
    return RetentionDecision(candidate, RetentionAction.FORGET, (reason,))


def _always(newest_first: Sequence[Candidate], of: str) -> Iterator[tuple[Candidate, str]]:
    """Snapshots that are always kept: the newest good one, and partial ones that are newer."""
    for snapshot in newest_first:
        if not snapshot.partial:
            yield snapshot, f"newest good{of}"
            return
        yield snapshot, f"partial, no good one{of} is newer"


def _by_rule(newest_first: Sequence[Candidate], rule: Retention, of: str) -> Iterator[tuple[Candidate, str]]:
    good = [snapshot for snapshot in newest_first if not snapshot.partial]
    if not good:
        return
    for number, snapshot in enumerate(good[: rule.keep_last or 0], 1):
        yield snapshot, f"last {number}{of}"
    for period, name in PERIODS.items():
        yield from _by_period(good, period, name, getattr(rule, f"keep_{period}") or 0, of)
    if rule.keep_within is not None:
        # counted from the newest good one, not from now: if backups stop, the last snapshots are kept
        since = good[0].frozen_at - rule.keep_within
        for snapshot in newest_first:
            if snapshot.frozen_at >= since:
                yield snapshot, f"within {in_words(rule.keep_within)}{of}"


def _by_period(
    good: Sequence[Candidate], period: str, name: _Period, slots: int, of: str
) -> Iterator[tuple[Candidate, str]]:
    """The newest snapshot of each of the last `slots` periods; if there are fewer, the oldest one, too."""
    taken: set[str] = set()
    for snapshot in good:
        period_name = name(snapshot.frozen_at.astimezone(UTC))
        if period_name in taken:
            continue
        if len(taken) == slots:
            return
        taken.add(period_name)
        yield snapshot, f"{period} {period_name}{of}"
    if len(taken) < slots:
        # a young history has no snapshot a period apart yet: without this the oldest would be forgotten
        # before it is old enough to be kept by its period
        yield good[-1], f"oldest, while there are fewer than {slots} {period}{of}"


def _order(snapshot: Candidate) -> tuple[int, datetime, str]:
    return snapshot.sequence, snapshot.frozen_at, snapshot.id


def _owner(snapshot: Candidate) -> tuple[str, str]:
    return snapshot.cluster, snapshot.policy

"""Which snapshots a policy keeps, and why. Pure: nothing is read and nothing is forgotten here.

Snapshots are grouped by cluster and policy, and within those by what each rule speaks of. A rule never
looks beyond its group, and a snapshot that any rule keeps in any group is kept. All times are UTC, weeks
are those of ISO 8601.
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
"""What a snapshot's time is called in each period; those of one name are of one period."""


class RetentionAction(StrEnum):
    """What becomes of a snapshot."""

    KEEP = "keep"
    FORGET = "forget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A snapshot as far as retention is concerned."""

    id: str
    frozen_at: datetime
    cluster: str
    policy: str
    partial: bool
    pinned: bool
    rules: frozenset[int]
    """The rules, by number, that speak of a branch of this snapshot."""
    sequence: int = 0
    """Its place in the order of sealing, which is the order here."""


@dataclass(frozen=True, slots=True)
class RetentionDecision:
    """What becomes of a snapshot, and every reason for it."""

    candidate: Candidate
    action: RetentionAction
    reasons: tuple[str, ...]


def judge(
    candidates: Iterable[Candidate], rules: Sequence[Retention], now: datetime
) -> list[RetentionDecision]:
    """A verdict for each snapshot, in the order of sealing. `now` tells which of them are from the future."""
    ordered = sorted(candidates, key=_order)
    reasons: dict[str, dict[str, None]] = {each.id: {} for each in ordered}
    for snapshot in ordered:
        if snapshot.pinned:
            reasons[snapshot.id]["pinned"] = None
        if clock.is_future(snapshot.frozen_at, now):
            reasons[snapshot.id]["future-dated"] = None
        if not snapshot.rules:
            reasons[snapshot.id]["no rule speaks of it"] = None
    # what is dated into the future must not take the place of anything
    for _, group in groupby(sorted(ordered, key=_owner), key=_owner):
        newest_first = [each for each in reversed(list(group)) if not clock.is_future(each.frozen_at, now)]
        for snapshot, reason in _always(newest_first, ""):
            reasons[snapshot.id][reason] = None
        for number, rule in enumerate(rules):
            meant = [each for each in newest_first if number in each.rules]
            of = f" of {', '.join(rule.match)}" if rule.match != ["*/*"] else ""
            for snapshot, reason in (*_always(meant, of), *_by_rule(meant, rule, of)):
                reasons[snapshot.id][reason] = None
    return [_verdict(each, tuple(reasons[each.id])) for each in ordered]


def _verdict(candidate: Candidate, reasons: tuple[str, ...]) -> RetentionDecision:
    if reasons:
        return RetentionDecision(candidate, RetentionAction.KEEP, reasons)
    why = "partial, and a good one is newer" if candidate.partial else "no rule keeps it"
    return RetentionDecision(candidate, RetentionAction.FORGET, (why,))


def _always(newest_first: Sequence[Candidate], of: str) -> Iterator[tuple[Candidate, str]]:
    """What no rule may drop: the newest good one, and partial ones that are newer."""
    for snapshot in newest_first:
        if not snapshot.partial:
            yield snapshot, f"newest good{of}"
            return
        yield snapshot, f"partial, no good one{of} is newer"


def _by_rule(newest_first: Sequence[Candidate], rule: Retention, of: str) -> Iterator[tuple[Candidate, str]]:
    good = [each for each in newest_first if not each.partial]
    if not good:
        return
    for number, snapshot in enumerate(good[: rule.keep_last or 0], 1):
        yield snapshot, f"last {number}{of}"
    for period, name in PERIODS.items():
        yield from _by_period(good, period, name, getattr(rule, f"keep_{period}") or 0, of)
    if rule.keep_within is not None:
        # before the newest good one, not before now: when backups stop, what is there stays
        since = good[0].frozen_at - rule.keep_within
        for snapshot in newest_first:
            if snapshot.frozen_at >= since:
                yield snapshot, f"within {in_words(rule.keep_within)}{of}"


def _by_period(
    good: Sequence[Candidate], period: str, name: _Period, slots: int, of: str
) -> Iterator[tuple[Candidate, str]]:
    """The newest of each period, as many periods as there are slots, and the oldest of all in a free slot."""
    taken: set[str] = set()
    for snapshot in good:
        called = name(snapshot.frozen_at.astimezone(UTC))
        if called in taken:
            continue
        if len(taken) == slots:
            return
        taken.add(called)
        yield snapshot, f"{period} {called}{of}"
    if len(taken) < slots:
        yield good[-1], f"oldest, while there are fewer than {slots} {period}{of}"


def _order(snapshot: Candidate) -> tuple[int, datetime, str]:
    return snapshot.sequence, snapshot.frozen_at, snapshot.id


def _owner(snapshot: Candidate) -> tuple[str, str]:
    return snapshot.cluster, snapshot.policy

"""The schedule: which packs are due now, so that each is read once a period."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pachvault.format import layout
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.audits import Results
from pachvault.maintenance.verify.verify import PackShare
from pachvault.vault.vault import Vault

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DueReason(StrEnum):
    """Why a pack is due, the most urgent first."""

    FAILED = "it failed when it was read last"
    OVERDUE = "it was last read more than a period ago"
    NEVER = "it was never read"
    SHARE = "it is its turn"


@dataclass(frozen=True, slots=True)
class Due:
    """A pack to read."""

    name: str
    size: int
    reason: DueReason


@dataclass(frozen=True, slots=True)
class VerifiedShare:
    """How much of the packs was found intact within a period, and has not failed since."""

    packs: int
    packs_total: int
    bytes: int
    bytes_total: int


def share_now(now: datetime, period: timedelta, between: timedelta) -> PackShare:
    """The share whose turn it is, where runs come once every `between`."""
    count = max(1, period // between)
    # from the time alone: no state that could be lost, and each share comes once a period
    return PackShare((now - _EPOCH) // between % count + 1, count)


def due(
    known: Results,
    packs: Mapping[str, int],
    *,
    now: datetime,
    period: timedelta,
    between: timedelta,
    level: str = audits.PACKS,
    budget_bytes: int | None = None,
) -> list[Due]:
    """The packs, given with their sizes, to read in a run now, the most urgent first.

    At most `budget_bytes`, but at least one pack, however large, so that every run makes progress. What does
    not fit becomes overdue, and comes first then.
    """
    share = share_now(now, period, between)
    ranked = []
    for name, size in packs.items():
        good_at = audits.good_at(known, level, name)
        reason = None
        if audits.has_failed(known, name):
            reason = DueReason.FAILED
        elif good_at is None:
            reason = DueReason.NEVER
        elif now - good_at > period:
            reason = DueReason.OVERDUE
        # two runs close together would read the same share twice
        elif share.holds(name) and now - good_at >= between:
            reason = DueReason.SHARE
        if reason is not None:
            ranked.append((list(DueReason).index(reason), good_at or _EPOCH, Due(name, size, reason)))
    ordered = [pack for *_, pack in sorted(ranked, key=lambda item: (item[0], item[1], item[2].name))]
    return list(_within(ordered, budget_bytes))


def verified_share(
    vault: Vault, period: timedelta, now: datetime, level: str = audits.PACKS
) -> VerifiedShare:
    """How much of the packs that exist was verified within the period."""
    known = audits.results(audits.load(vault), now)
    sizes = {info.name: info.size for info in vault.objects(layout.PACKS)}
    times = {name: audits.good_at(known, level, name) for name in sizes}
    good = [name for name, at in times.items() if at is not None and now - at <= period]
    return VerifiedShare(len(good), len(sizes), sum(sizes[name] for name in good), sum(sizes.values()))


def is_drill_due(known: Results, now: datetime, within: timedelta) -> bool:
    """Whether the last restore drill failed, or is longer ago than `within`."""
    drills = [result for (level, _), result in known.items() if level == audits.DRILL]
    times = [result.at for result in drills if result.at is not None]
    last = max(times, default=None)
    if last is None or now - last > within:
        return True
    return any(result.audited.result != "ok" for result in drills if result.at in (last, None))


def _within(ordered: list[Due], budget_bytes: int | None) -> Iterator[Due]:
    spent = 0
    for pack in ordered:
        if budget_bytes is not None and spent and spent + pack.size > budget_bytes:
            return
        spent += pack.size
        yield pack

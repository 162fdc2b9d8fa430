"""How a vault stands: snapshots, what was verified, what waits, what is amiss. Asks the vault alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pachvault.backup.runs import Announcement
from pachvault.errors import DamageError, PachvaultError
from pachvault.format import layout
from pachvault.policy import Policy
from pachvault.upkeep import audits, calendar, forget, pins
from pachvault.upkeep.audits import Results
from pachvault.upkeep.calendar import VerifiedShare
from pachvault.upkeep.run import LEVEL as UPKEEP
from pachvault.vault import marks, snapshots
from pachvault.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest snapshot."""

    id: str
    frozen_at: datetime
    partial: bool


@dataclass(frozen=True, slots=True)
class Status:
    """How a vault stands. Times are UTC, ages by the clock that `status` was given."""

    snapshots: int
    pinned: int
    forgotten: int
    latest: Latest | None
    running: list[str]
    """Runs that froze and have not sealed, or died."""
    verified: VerifiedShare
    within: timedelta
    drilled_at: datetime | None
    """The last restore drill that passed."""
    kept_up_at: datetime | None
    """The last round of upkeep."""
    marked: int
    """Objects that prune will delete."""
    damaged: list[str]
    """What was found damaged or unreadable and not found whole since, a line each."""
    due: list[str]
    """What should have happened by now, a line each."""


def status(vault: Vault, policy: Policy | None, now: datetime) -> Status:
    """How the vault stands at `now`; with a policy, what is due by it."""
    limits = policy.upkeep if policy else None
    within = limits.verify_within if limits else timedelta(days=30)
    names = snapshots.names(vault)
    known = audits.results(audits.load(vault), now)
    latest, damaged = _latest(vault, names)
    verified = calendar.verified_share(vault, within, now)
    drilled_at = _last(known, audits.DRILL)
    return Status(
        snapshots=len(names),
        pinned=len(pins.load(vault)),
        forgotten=len(forget.forgotten(vault)),
        latest=latest,
        running=_running(vault),
        verified=verified,
        within=within,
        drilled_at=drilled_at,
        kept_up_at=_last(known, UPKEEP),
        marked=len({each.name for found in marks.load(vault) for each in found.mark.objects}),
        damaged=damaged + _damaged(vault, known),
        due=_due(policy, latest, verified, within, drilled_at, now),
    )


def _latest(vault: Vault, names: list[snapshots.SnapshotName]) -> tuple[Latest | None, list[str]]:
    damaged = []
    for name in reversed(names):
        try:
            partial = snapshots.load(vault, name).manifest.partial
        except DamageError as error:
            damaged.append(f"{name.path}: {error.what}")
        else:
            return Latest(name.id, name.frozen_at, partial), damaged
    return None, damaged


def _running(vault: Vault) -> list[str]:
    found = []
    for info in vault.store.list(layout.RUNS):
        if info.name.startswith(layout.run_path("frozen-").removesuffix(".json")):
            try:
                said = Announcement.read(vault.store.get(info.name), info.name)
            except PachvaultError:
                continue  # sealed since the listing
            found.append(
                f"run {said.run_id}, policy {said.policy}, frozen {said.frozen_at:%Y-%m-%d %H:%M} UTC"
            )
    return found


def _damaged(vault: Vault, known: Results) -> list[str]:
    failed = {name for (level, name) in known if level != UPKEEP and audits.has_failed(known, name)}
    there = {info.name for info in vault.store.list(layout.PACKS)}
    said = {name: result.audited.message for (_, name), result in known.items() if result.audited.message}
    return [f"{name}: {said.get(name, 'damaged')}" for name in sorted(failed & there)]


def _last(known: Results, level: str) -> datetime | None:
    times = [
        result.at
        for (of, _), result in known.items()
        if of == level and result.audited.result == "ok" and result.at
    ]
    return max(times, default=None)


def _due(
    policy: Policy | None,
    latest: Latest | None,
    verified: VerifiedShare,
    within: timedelta,
    drilled_at: datetime | None,
    now: datetime,
) -> list[str]:
    due = []
    if latest is None:
        due.append("there is no snapshot")
    elif latest.partial:
        due.append(f"the newest snapshot is partial: `pachvault show {latest.id[:12]}` says what it lacks")
    if latest is not None and policy is not None and now - latest.frozen_at > policy.interval:
        due.append(
            f"a snapshot was promised every {policy.interval}, the newest is {now - latest.frozen_at} old"
        )
    if verified.packs < verified.packs_total:
        missing = verified.packs_total - verified.packs
        due.append(f"{missing} of {verified.packs_total} packs were not read within {within.days} days")
    if policy is not None and policy.upkeep.drill_within is not None:
        limit = policy.upkeep.drill_within
        if latest is not None and (drilled_at is None or now - drilled_at > limit):
            due.append(f"no restore drill passed within {limit.days} days")
    return due

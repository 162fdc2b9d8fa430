"""How a vault stands: snapshots, what was verified, what waits, what is amiss. Asks the vault alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pachvault.backup.run_records import Announcement
from pachvault.errors import AbsentError, CorruptError
from pachvault.format import layout
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.maintenance import pins
from pachvault.maintenance.forget import forget
from pachvault.maintenance.maintenance import LEVEL as MAINTENANCE
from pachvault.maintenance.newest_snapshots import LatestSnapshot, newest
from pachvault.maintenance.verify import audits, known_damage, verify_schedule
from pachvault.maintenance.verify.audits import AuditResult, StoredAudit
from pachvault.maintenance.verify.verify_schedule import VerifiedShare
from pachvault.policy import Policy
from pachvault.vault import clock, pending_deletes
from pachvault.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class Status:
    """How a vault stands. Times are UTC, ages by the clock that `status` was given."""

    snapshots: int
    pinned: int
    forgotten: int
    latest: LatestSnapshot | None
    """Of the policy that `status` was given, if it was given one."""
    future: list[str]
    """The snapshots that are dated in the future, a line each."""
    notes: list[str]
    """What the newest snapshot of each cluster and policy notes or lacks, a line each."""
    running: list[str]
    """Runs that froze and have not sealed, or died."""
    verified: VerifiedShare
    within: timedelta
    drilled_at: datetime | None
    """The last restore drill that passed."""
    drill_failed_at: datetime | None
    """The last one that failed, if none has passed since."""
    kept_up_at: datetime | None
    """The last round of maintenance of which every step went well."""
    maintenance_failed_at: datetime | None
    """The last one of which a step failed, if none of the same policy went well since."""
    marked: int
    """Objects that prune will delete."""
    waiting: list[str]
    """Damaged packs of which nothing is needed any more: they are among the marked."""
    damaged: list[str]
    """What was found damaged or unreadable and not found whole since, a line each."""
    due: list[str]
    """What should have happened by now, a line each."""


def status(vault: Vault, policy: Policy | None, now: datetime) -> Status:
    """How the vault stands at `now`; with a policy, what is due by it."""
    limits = policy.maintenance if policy else None
    within = limits.verify_within if limits else timedelta(days=30)
    sealed = newest(vault, policy.name if policy else None, now)
    found = audits.load(vault)
    known = known_damage.known(vault, found, now)
    damaged = list(sealed.damaged)
    listed = {line.partition(":")[0] for line in damaged}
    damaged += [_line(each) for each in known.damaged if each.name not in listed]
    verified = verify_schedule.verified_share(vault, within, now)
    drills, rounds = _drills(found, now), _rounds(found, now)
    damaged += [f"restore drill: {_line(each)}" for each in drills.bad if each.result == "damaged"]
    return Status(
        snapshots=sealed.count,
        pinned=len(pins.load(vault)),
        forgotten=len(forget.forgotten(vault)),
        latest=sealed.latest,
        future=sealed.future,
        notes=sealed.notes,
        running=_running(vault, now),
        verified=verified,
        within=within,
        drilled_at=drills.good_at,
        drill_failed_at=drills.failed_at,
        kept_up_at=max((each.good_at for each in rounds.values() if each.good_at), default=None),
        maintenance_failed_at=max(
            (each.failed_at for each in rounds.values() if each.failed_at), default=None
        ),
        marked=len({each.name for found in pending_deletes.load(vault) for each in found.mark.objects}),
        waiting=known.waiting,
        damaged=damaged,
        due=[
            *_due(policy, sealed.latest, verified, within, drills.good_at, now),
            *(f"a clock is wrong, here or where it was frozen: snapshot {each}" for each in sealed.future),
            *_failed(drills, rounds),
        ],
    )


def _running(vault: Vault, now: datetime) -> list[str]:
    lines = []
    for info in vault.objects(layout.RUNS, layout.Kind.ANNOUNCEMENT):
        try:
            run = Announcement.read(vault.get(info.name), info.name)
        except AbsentError:
            continue  # sealed since the listing
        except CorruptError:
            lines.append(f"{info.name}: an announcement that cannot be read")
            continue
        future = ", in the future" if clock.is_future(max(run.frozen_at, info.modified_at), now) else ""
        lines.append(
            f"run {run.run_id}, policy {run.policy}, frozen {run.frozen_at:%Y-%m-%d %H:%M} UTC{future}"
        )
    return lines


@dataclass(frozen=True, slots=True)
class _Times:
    """When something that is done again and again went well last, and when it failed since."""

    good_at: datetime | None
    failed_at: datetime | None = None
    bad: tuple[AuditEntry, ...] = ()
    """What failed then."""

    @classmethod
    def of(cls, tries: Iterable[Sequence[AuditResult]], now: datetime) -> _Times:
        """Of the results of each try; one fails where any of them is bad."""
        goods: list[datetime] = []
        fails: list[tuple[datetime, tuple[AuditEntry, ...]]] = []
        for each in tries:
            bad = tuple(line.audited for line in each if line.audited.result != "ok")
            times = [line.at for line in each if line.at is not None]
            if bad:
                fails.append((max(times, default=now), bad))  # a bad one is believed whenever it comes from
            elif times:
                goods.append(max(times))
        good_at = max(goods, default=None)
        failed_at, bad = max(fails, key=lambda fail: fail[0], default=(None, ()))
        if failed_at is None or (good_at is not None and good_at >= failed_at):
            return cls(good_at)
        return cls(good_at, failed_at, bad)


def _drills(found: Iterable[StoredAudit], now: datetime) -> _Times:
    """Each audit is one drill."""
    notes = (each for each in found if each.audit.level == audits.DRILL)
    return _Times.of([list(audits.results([each], now).values()) for each in notes], now)


def _rounds(found: Iterable[StoredAudit], now: datetime) -> dict[str, _Times]:
    """By whose they are. Each result is one round: old audits are folded."""
    rounds: dict[str, list[list[AuditResult]]] = {}
    for each in found:
        if each.audit.level == MAINTENANCE:
            for (_, who), result in audits.results([each], now).items():
                rounds.setdefault(who, []).append([result])
    return {who: _Times.of(tries, now) for who, tries in rounds.items()}


def _line(bad: AuditEntry) -> str:
    return f"{bad.name}: {bad.message or bad.result}"


def _failed(drills: _Times, rounds: dict[str, _Times]) -> list[str]:
    """What failed, and is not damage."""
    due = []
    if drills.failed_at is not None and all(each.result != "damaged" for each in drills.bad):
        what = "; ".join(_line(each) for each in drills.bad)
        due.append(f"the restore drill of {drills.failed_at:%Y-%m-%d %H:%M} UTC failed: {what}")
    for who, each in rounds.items():
        if each.failed_at is not None:
            policy = who.rpartition("/")[2]
            due.append(f"the maintenance of policy {policy} failed at {each.failed_at:%Y-%m-%d %H:%M} UTC")
    return due


def _due(
    policy: Policy | None,
    latest: LatestSnapshot | None,
    verified: VerifiedShare,
    within: timedelta,
    drilled_at: datetime | None,
    now: datetime,
) -> list[str]:
    due = []
    if latest is None:
        due.append(f"there is no snapshot of policy {policy.name}" if policy else "there is no snapshot")
    elif latest.partial:
        due.append(f"the newest snapshot is partial: `pachvault show {latest.id[:12]}` says what it lacks")
    if latest is not None and policy is not None and now - latest.frozen_at > policy.interval:
        due.append(
            f"a snapshot was promised every {policy.interval}, the newest is {now - latest.frozen_at} old"
        )
    if verified.packs < verified.packs_total:
        missing = verified.packs_total - verified.packs
        due.append(f"{missing} of {verified.packs_total} packs were not read within {within.days} days")
    if policy is not None and policy.maintenance.drill_within is not None:
        limit = policy.maintenance.drill_within
        if latest is not None and (drilled_at is None or now - drilled_at > limit):
            due.append(f"no restore drill passed within {limit.days} days")
    return due

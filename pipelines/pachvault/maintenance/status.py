"""The status of a vault: snapshots, verification, pending deletes, damage, what is overdue. No cluster."""

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
    """The status of a vault. Times are UTC; ages count to the `now` that `status` was given."""

    snapshots: int
    pinned: int
    forgotten: int
    latest: LatestSnapshot | None
    """Of the policy, if `status` was given one."""
    future: list[str]
    """The snapshots dated in the future, a line each."""
    notes: list[str]
    """The problems of the newest snapshot of each cluster and policy, a line each."""
    running: list[str]
    """Runs that are announced and not sealed, a line each: in progress, or interrupted."""
    verified: VerifiedShare
    within: timedelta
    """How recently a pack must have been read to count as verified."""
    drilled_at: datetime | None
    """The last restore drill that passed."""
    drill_failed_at: datetime | None
    """The last one that failed, if none has passed since."""
    maintained_at: datetime | None
    """The last maintenance run in which no step failed."""
    maintenance_failed_at: datetime | None
    """The last one in which a step failed, if none of the same policy passed since."""
    marked: int
    """How many objects are pending deletes."""
    waiting: list[str]
    """Damaged packs that are not needed any more: pending deletes, too."""
    damaged: list[str]
    """What was found damaged or unreadable, and not found intact since, a line each."""
    due: list[str]
    """What is overdue, or went wrong, a line each."""


def status(vault: Vault, policy: Policy | None, now: datetime) -> Status:
    """The status at `now`; with a policy, also what is overdue by it."""
    limits = policy.maintenance if policy else None
    within = limits.verify_within if limits else timedelta(days=30)
    sealed = newest(vault, policy.name if policy else None, now)
    stored_audits = audits.load(vault)
    known = known_damage.known(vault, stored_audits, now)
    damaged = list(sealed.damaged)
    manifests = {line.partition(":")[0] for line in damaged}
    damaged += [_line(audited) for audited in known.damaged if audited.name not in manifests]
    verified = verify_schedule.verified_share(vault, within, now)
    drills, runs = _drills(stored_audits, now), _maintenance_runs(stored_audits, now)
    damaged += [f"restore drill: {_line(sample)}" for sample in drills.bad if sample.result == "damaged"]
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
        maintained_at=max((times.good_at for times in runs.values() if times.good_at), default=None),
        maintenance_failed_at=max(
            (times.failed_at for times in runs.values() if times.failed_at), default=None
        ),
        marked=len({marked.name for mark in pending_deletes.load(vault) for marked in mark.mark.objects}),
        waiting=known.waiting,
        damaged=damaged,
        due=[
            *_due(policy, sealed.latest, verified, within, drills.good_at, now),
            *(f"a clock is wrong, here or where it was frozen: snapshot {line}" for line in sealed.future),
            *_failed(drills, runs),
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
            lines.append(f"{info.name}: the announcement is damaged")
            continue
        future = ", in the future" if clock.is_future(max(run.frozen_at, info.modified_at), now) else ""
        name = run.policy or "none"
        lines.append(f"run {run.run_id}, policy {name}, frozen {run.frozen_at:%Y-%m-%d %H:%M} UTC{future}")
    return lines


@dataclass(frozen=True, slots=True)
class _Times:
    """When a repeated action passed last, and when it failed since."""

    good_at: datetime | None
    failed_at: datetime | None = None
    bad: tuple[AuditEntry, ...] = ()
    """What was not ok then."""

    @classmethod
    def of(cls, attempts: Iterable[Sequence[AuditResult]], now: datetime) -> _Times:
        """From the results of each attempt. An attempt failed if one of its results is not ok."""
        goods: list[datetime] = []
        fails: list[tuple[datetime, tuple[AuditEntry, ...]]] = []
        for results in attempts:
            bad = tuple(result.audited for result in results if result.audited.result != "ok")
            times = [result.at for result in results if result.at is not None]
            if bad:
                # a result from the future has no time: a bad one counts all the same, as of now
                fails.append((max(times, default=now), bad))
            elif times:
                goods.append(max(times))
        good_at = max(goods, default=None)
        failed_at, bad = max(fails, key=lambda fail: fail[0], default=(None, ()))
        if failed_at is None or (good_at is not None and good_at >= failed_at):
            return cls(good_at)
        return cls(good_at, failed_at, bad)


def _drills(stored_audits: Iterable[StoredAudit], now: datetime) -> _Times:
    """Each audit of a drill is one attempt."""
    drills = (stored for stored in stored_audits if stored.audit.level == audits.DRILL)
    return _Times.of([list(audits.results([stored], now).values()) for stored in drills], now)


def _maintenance_runs(stored_audits: Iterable[StoredAudit], now: datetime) -> dict[str, _Times]:
    """By cluster and policy. Each result is one run: old audits are compacted to one of many results."""
    runs: dict[str, list[list[AuditResult]]] = {}
    for stored in stored_audits:
        if stored.audit.level == MAINTENANCE:
            for (_, owner), result in audits.results([stored], now).items():
                runs.setdefault(owner, []).append([result])
    return {owner: _Times.of(attempts, now) for owner, attempts in runs.items()}


def _line(audited: AuditEntry) -> str:
    return f"{audited.name}: {audited.message or audited.result}"


def _failed(drills: _Times, runs: dict[str, _Times]) -> list[str]:
    """Failures that are not damage, a line each."""
    due = []
    if drills.failed_at is not None and all(sample.result != "damaged" for sample in drills.bad):
        what = "; ".join(_line(sample) for sample in drills.bad)
        due.append(f"the restore drill of {drills.failed_at:%Y-%m-%d %H:%M} UTC failed: {what}")
    for owner, times in runs.items():
        if times.failed_at is not None:
            policy = owner.rpartition("/")[2]
            due.append(f"the maintenance of policy {policy} failed at {times.failed_at:%Y-%m-%d %H:%M} UTC")
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
        due.append(f"the newest snapshot is partial: `pachvault show {latest.id[:12]}` lists what it lacks")
    if latest is not None and policy is not None and now - latest.frozen_at > policy.interval:
        due.append(
            f"the policy wants a snapshot every {policy.interval}, the newest is {now - latest.frozen_at} old"
        )
    if verified.packs < verified.packs_total:
        missing = verified.packs_total - verified.packs
        due.append(f"{missing} of {verified.packs_total} packs were not read within {within.days} days")
    if policy is not None and policy.maintenance.drill_within is not None:
        limit = policy.maintenance.drill_within
        if latest is not None and (drilled_at is None or now - drilled_at > limit):
            due.append(f"no restore drill passed within {limit.days} days")
    return due

"""What `status` and `maintenance` report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self

from pachvault.cli.common import human, put, put_table, say
from pachvault.cli.render import Result, table_of, text_of
from pachvault.maintenance.maintenance_report import MaintenanceReport, MaintenanceStep
from pachvault.maintenance.newest_snapshots import LatestSnapshot
from pachvault.maintenance.status import Status

_DAY_SECONDS = 86400


@dataclass(frozen=True, kw_only=True)
class VerifiedPacks:
    """How much of the packs was verified within a period, and is intact."""

    packs: int
    packs_total: int
    verified_bytes: int
    total_bytes: int
    within_seconds: float
    """The period."""


@dataclass(frozen=True, kw_only=True)
class StatusResult(Result):
    """The state of the vault."""

    type: Literal["status"] = "status"
    snapshots: int
    pinned: int
    forgotten: int
    """Forgotten snapshots that can still be brought back."""
    latest: LatestSnapshot | None
    """The snapshot sealed last; with a policy, of that policy."""
    future: Sequence[str]
    """A line for each snapshot that is dated in the future."""
    notes: Sequence[str]
    """What the newest snapshot of each cluster and policy notes or lacks."""
    running: Sequence[str]
    """Backup runs that are announced and not sealed: they are in progress, or were interrupted."""
    verified: VerifiedPacks
    drilled_at: datetime | None
    """The last restore drill that passed."""
    drill_failed_at: datetime | None
    """The last restore drill that failed, if none passed since."""
    maintained_at: datetime | None
    """The last maintenance run of which every step succeeded."""
    maintenance_failed_at: datetime | None
    """The last one of which a step failed, if none of the same policy succeeded since."""
    marked: int
    """Objects that prune will delete."""
    waiting: Sequence[str]
    """Those of them that are damaged packs, of which nothing is needed."""
    damaged: Sequence[str]
    """A line for each object that was found damaged or unreadable, and not intact since."""
    due: Sequence[str]
    """A line for each thing that is overdue."""

    @classmethod
    def of(cls, status: Status) -> Self:
        """From the status."""
        verified = status.verified
        return cls(
            snapshots=status.snapshots,
            pinned=status.pinned,
            forgotten=status.forgotten,
            latest=status.latest,
            future=status.future,
            notes=status.notes,
            running=status.running,
            verified=VerifiedPacks(
                packs=verified.packs,
                packs_total=verified.packs_total,
                verified_bytes=verified.bytes,
                total_bytes=verified.bytes_total,
                within_seconds=status.within.total_seconds(),
            ),
            drilled_at=status.drilled_at,
            drill_failed_at=status.drill_failed_at,
            maintained_at=status.maintained_at,
            maintenance_failed_at=status.maintenance_failed_at,
            marked=status.marked,
            waiting=status.waiting,
            damaged=status.damaged,
            due=status.due,
        )


@dataclass(frozen=True, kw_only=True)
class MaintenanceStepResult(Result):
    """A step of a maintenance run."""

    type: Literal["step"] = "step"
    name: str
    status: Literal["done", "planned", "skipped", "failed"]
    """planned: a dry run."""
    summary: str
    lines: Sequence[str]
    """What it did, in detail."""
    elapsed_seconds: float

    @classmethod
    def of(cls, step: MaintenanceStep) -> Self:
        """From the report's."""
        return cls(
            name=step.name,
            status=step.status,
            summary=step.summary,
            lines=step.lines,
            elapsed_seconds=step.seconds,
        )


@dataclass(frozen=True, kw_only=True)
class MaintenanceSummary(Result):
    """How a maintenance run ended."""

    type: Literal["maintenance_summary"] = "maintenance_summary"
    status: Literal["done", "damaged", "degraded", "failed", "covered", "refused"]
    """damaged: the vault is damaged, see the findings. degraded: nothing is known to be lost, see the
    findings. failed: a step failed. covered: another run did it already. refused: the policy or the vault
    does not allow it."""
    summary: str
    policy: str
    target: str
    began_at: datetime
    elapsed_seconds: float
    is_dry_run: bool
    audits: Sequence[str]
    """The audits that were written to the vault."""
    findings: int

    @classmethod
    def of(cls, report: MaintenanceReport) -> Self:
        """From the report."""
        return cls(
            status=report.status,
            summary=report.summary,
            policy=report.policy,
            target=report.target,
            began_at=report.began_at,
            elapsed_seconds=report.seconds,
            is_dry_run=report.is_dry_run,
            audits=report.audits,
            findings=report.findings,
        )


@text_of(StatusResult)
def _status(status: StatusResult) -> None:
    verified = status.verified
    sizes = f"{human(verified.verified_bytes)} of {human(verified.total_bytes)}"
    packs = f"{verified.packs} of {verified.packs_total} packs"
    days = int(verified.within_seconds // _DAY_SECONDS)
    rows = [
        ("snapshots", f"{status.snapshots}, {status.pinned} pinned, {status.forgotten} forgotten"),
        ("newest", _newest(status.latest)),
        *(("IN THE FUTURE", line) for line in status.future),
        *(("noted", line) for line in status.notes),
        *(("unsealed", line) for line in status.running),
        ("verified", f"{sizes} in {packs} within {days} days"),
        ("drill passed", _minute(status.drilled_at)),
        *([("drill FAILED", _minute(status.drill_failed_at))] if status.drill_failed_at else []),
        ("maintenance", _minute(status.maintained_at)),
        *(
            [("maintenance FAILED", _minute(status.maintenance_failed_at))]
            if status.maintenance_failed_at
            else []
        ),
        ("to be deleted", f"{status.marked} objects"),
        *(("", f"{name}: damaged, not needed, waits to be deleted") for name in status.waiting),
        *(("DAMAGED", line) for line in status.damaged),
        *(("DUE", line) for line in status.due),
    ]
    for name, value in rows:
        put(f"{name:<20}{value}")


def _newest(latest: LatestSnapshot | None) -> str:
    if latest is None:
        return "none"
    partial = ", partial" if latest.partial else ""
    return f"{latest.id[:12]}, frozen {_minute(latest.frozen_at)}, policy {latest.policy or 'none'}{partial}"


def _minute(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC" if time else "never"


@table_of(MaintenanceStepResult)
def _steps(steps: Iterable[MaintenanceStepResult]) -> None:
    put_table(["STEP", "STATUS", "WHAT"], [[step.name, step.status, step.summary] for step in steps])
    for step in steps:
        if step.name != "verify":  # its lines are the findings
            for line in step.lines:
                put(f"  {step.name}: {line}")


@text_of(MaintenanceSummary)
def _maintenance(summary: MaintenanceSummary) -> None:
    if summary.status != "done":
        say(summary.summary)

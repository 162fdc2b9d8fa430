"""A maintenance run, in a worker or from a shell: the steps one after the other, and a report of each.

A step that fails is reported, and the next one runs. An audit in the vault records the tick of the run, so
that a tick that comes twice, or late, starts no second run.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal

from pachvault.errors import EXIT_DAMAGE, EXIT_OK, EXIT_PARTIAL, PachvaultError
from pachvault.format import layout
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.maintenance import reserve
from pachvault.maintenance.maintenance_report import MaintenanceReport, MaintenanceResult, MaintenanceStep
from pachvault.maintenance.maintenance_steps import STEPS, StepContext
from pachvault.maintenance.verify import audits, findings, known_damage
from pachvault.pach.connection import connect
from pachvault.policy import Policy
from pachvault.runtime.progress import Progress
from pachvault.syntax.quantities import counted
from pachvault.syntax.schedule import longest_gap
from pachvault.vault import clock
from pachvault.vault.clock import Clocks
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_EXIT_CODES = {"damaged": EXIT_DAMAGE, "degraded": EXIT_PARTIAL, "failed": EXIT_PARTIAL, "done": EXIT_OK}
_NAMED = 5
LEVEL = "maintenance"
"""Of the audits that record the ticks of maintenance runs."""


def maintenance(
    address: str,
    token: str | None,
    vault: Vault,
    chosen: Policy,
    progress: Progress,
    *,
    tick: datetime | None = None,
    is_dry_run: bool = False,
) -> MaintenanceResult:
    """Do a maintenance run. Raises PachvaultError where the vault or the cluster cannot be used at all."""
    began_at = datetime.now(UTC)
    report = MaintenanceReport(
        status="covered",
        summary="nothing to do: an earlier maintenance run did this tick, or a later one",
        policy=chosen.name,
        target=vault.store.url,
        tick=tick,
        began_at=began_at,
        is_dry_run=is_dry_run,
        exit_code=EXIT_OK,
        is_signalled=chosen.verdicts,
    )
    with connect(address, token) as connection:
        # several clusters and policies may use one vault: each has ticks of its own
        owner = f"{connection.cluster_id()}/{chosen.name}"
        # a dry run writes nothing, so it cannot read the store's clock
        clocks = Clocks(began_at, began_at)
        if not is_dry_run:
            # is_cleared=False: a target that forbids deletion can still be verified
            clocks = reserve.used(vault, lambda _: clock.read(vault, is_cleared=False))
        if tick is not None:
            gap = longest_gap(chosen.maintenance.schedule, tick)
            if _is_covered(vault, owner, tick, clocks, gap):
                _log.info("tick %s is covered by an earlier run", tick)
                return MaintenanceResult(_with_known_damage(report, vault, clocks), [])
        context = StepContext(vault, chosen, address, token, connection, clocks, progress, is_dry_run)
        return _run(context, report, owner)


def _run(context: StepContext, report: MaintenanceReport, owner: str) -> MaintenanceResult:
    began = time.monotonic()
    audits_before = _audits(context.vault)
    steps = [_step(name, context) for name in STEPS]
    failed = [step.name for step in steps if step.status == "failed"]
    if not context.is_dry_run:
        # recorded even if steps failed: `status` shows the failure. Only a good record covers the tick, so
        # the next run tries again
        reserve.used(context.vault, lambda _: _record(context.vault, owner, report.tick, failed))
    status = _status(failed, context)
    finished = report.model_copy(
        update={
            "status": status,
            "exit_code": _EXIT_CODES[status],
            "summary": _summary(steps, failed, context, status),
            "next_step": _next_step(status, report.target),
            "seconds": _since(began),
            "steps": steps,
            "audits": sorted(_audits(context.vault) - audits_before),
            "findings": len(context.findings),
        }
    )
    return MaintenanceResult(finished, context.findings)


def refused(error: PachvaultError, tick: datetime | None, chosen: Policy | None) -> MaintenanceResult:
    """The result of a run that was not started: how a worker reports bad input."""
    report = MaintenanceReport(
        status="refused",
        summary=str(error),
        next_step="remove the cause (`pachvault deploy --policy FILE` commits a corrected policy); the next "
        "tick tries again, or `pachctl run cron maintenance --project pachvault` now",
        exit_code=error.exit_code,
        is_signalled=chosen.verdicts if chosen else True,
        policy=chosen.name if chosen else "",
        target=chosen.target if chosen else "",
        tick=tick,
        began_at=datetime.now(UTC),
    )
    return MaintenanceResult(report, [])


def exit_code(report: MaintenanceReport) -> int:
    """13 where the vault is damaged, 3 where it is degraded or a step failed, else 0."""
    return report.exit_code or EXIT_OK


def _status(failed: list[str], context: StepContext) -> Literal["done", "damaged", "degraded", "failed"]:
    if context.damages:
        return "damaged"
    if failed:
        return "failed"
    return "degraded" if findings.exit_code(context.findings) else "done"


def _next_step(status: str, target: str) -> str:
    """What a user does about it; empty where there is nothing to do."""
    if status == "failed":
        return "remove the cause that the step names; the next run does what this one could not"
    if status in ("damaged", "degraded"):
        return f"`pachvault --vault {target} repair --dry-run` shows what can be repaired, and how"
    return ""


def _with_known_damage(report: MaintenanceReport, vault: Vault, clocks: Clocks) -> MaintenanceReport:
    """That of a run with nothing to do: it must not look good where an earlier one found damage."""
    known = known_damage.known(vault, audits.load(vault), clocks.store).lost
    if not known:
        return report
    names = ", ".join(audited.name for audited in known[:_NAMED])
    damage = f"the vault is still damaged: {counted(len(known), 'object')}, {names}"
    return report.model_copy(
        update={
            "summary": f"{report.summary}; {damage}",
            "exit_code": EXIT_DAMAGE,
            "next_step": _next_step("damaged", report.target),
        }
    )


def _step(name: str, context: StepContext) -> MaintenanceStep:
    began = time.monotonic()
    try:
        outcome = STEPS[name](context)
    except PachvaultError as error:
        _log.info("maintenance step %s failed: %s", name, error)
        return MaintenanceStep(name=name, status="failed", summary=str(error), seconds=_since(began))
    except Exception as error:  # noqa: BLE001  (a bug in one step must not keep the others from running)
        _log.exception("maintenance step %s failed by a bug", name)
        summary = " ".join(f"{type(error).__name__}: {error} (a bug)".split())
        return MaintenanceStep(name=name, status="failed", summary=summary, seconds=_since(began))
    is_planned = context.is_dry_run and outcome.status == "done"
    return MaintenanceStep(
        name=name,
        status="planned" if is_planned else outcome.status,
        summary=outcome.summary,
        lines=outcome.lines,
        seconds=_since(began),
    )


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)


def _summary(steps: list[MaintenanceStep], failed: list[str], context: StepContext, status: str) -> str:
    if status == "damaged":
        also = f"; failed: {', '.join(failed)}" if failed else ""
        return f"the vault is damaged: {counted(context.damages, 'finding')}{also}"
    if status == "failed":
        return f"failed, the next run tries again: {', '.join(failed)}"
    if status == "degraded":
        bad = [finding for finding in context.findings if findings.exit_code([finding])]
        kinds = ", ".join(sorted({finding.kind for finding in bad}))
        return f"nothing is known to be lost, but there are {counted(len(bad), 'finding')}: {kinds}"
    return "; ".join(f"{step.name}: {step.summary}" for step in steps)


def _is_covered(vault: Vault, owner: str, tick: datetime, clocks: Clocks, gap: timedelta) -> bool:
    """Whether an audit less than half the `gap` between ticks old records this tick or a later one.

    Without that limit a cluster whose clock was set back would have no maintenance run until it has caught
    up. An audit from the future does not count.
    """
    for stored in audits.load(vault):
        if stored.audit.level != LEVEL:
            continue
        for audited, at in audits.times(stored, clocks.earlier):
            is_recent = at is not None and clocks.store - at <= gap / 2
            if audited.name == owner and audited.result == "ok" and is_recent:
                # a run from a shell has no tick; a time without a zone cannot be compared
                with suppress(ValueError, TypeError):
                    audited_tick = datetime.fromisoformat(audited.message)
                    if tick <= audited_tick and not clock.is_future(audited_tick, clocks.earlier):
                        return True
    return False


def _audits(vault: Vault) -> set[str]:
    return {info.name for info in vault.objects(layout.AUDITS)}


def _record(vault: Vault, owner: str, tick: datetime | None, failed: list[str]) -> None:
    audited = AuditEntry(
        name=owner, result="unreadable" if failed else "ok", message=tick.isoformat() if tick else ""
    )
    audits.record(vault, LEVEL, [audited])

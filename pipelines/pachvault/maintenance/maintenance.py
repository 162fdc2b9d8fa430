"""A round of maintenance, in a worker or from a shell: the steps one after the other, and a record of each.

A step that fails is recorded and hides no other. What was done is noted in the vault, so that a tick
that comes twice, or comes late, does nothing twice.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from pachvault.errors import EXIT_DAMAGE, EXIT_OK, EXIT_PARTIAL, PachvaultError
from pachvault.format import layout
from pachvault.format.documents import Audited
from pachvault.maintenance.maintenance_report import MaintenanceReport, MaintenanceResult, MaintenanceStep
from pachvault.maintenance.maintenance_steps import STEPS, Context
from pachvault.maintenance.prune import reserve
from pachvault.maintenance.verify import audits
from pachvault.pach.connection import connect
from pachvault.policy import Policy
from pachvault.runtime.progress import Progress
from pachvault.syntax.schedule import longest_gap
from pachvault.vault import clock
from pachvault.vault.clock import Clocks
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

LEVEL = "maintenance"
"""Of the audits that say which tick was done."""


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
    """A round. Raises PachvaultError only where the vault cannot be written or the cluster not be asked."""
    began_at = datetime.now(UTC)
    report = MaintenanceReport(
        status="covered",
        summary="nothing to do: a round did this tick, or a later one, already",
        policy=chosen.name,
        target=vault.store.url,
        tick=tick,
        began_at=began_at,
        is_dry_run=is_dry_run,
    )
    with connect(address, token) as connection:
        who = f"{connection.cluster_id()}/{chosen.name}"
        # where the target forbids deletion there is still much to verify
        clocks = Clocks(began_at, began_at)
        if not is_dry_run:
            clocks = reserve.used(vault, lambda _: clock.read(vault, is_cleared=False))
        if tick is not None:
            gap = longest_gap(chosen.maintenance.schedule, tick)
            if _is_covered(vault, who, tick, clocks, gap):
                _log.info("tick %s is covered by an earlier run", tick)
                return MaintenanceResult(report, [])
        context = Context(vault, chosen, address, token, connection, clocks, progress, is_dry_run)
        return _round(context, report, who)


def _round(context: Context, report: MaintenanceReport, who: str) -> MaintenanceResult:
    began = time.monotonic()
    before = _audits(context.vault)
    steps = [_step(name, context) for name in STEPS]
    failed = [step.name for step in steps if step.status == "failed"]
    if not context.is_dry_run:
        reserve.used(context.vault, lambda _: _note(context.vault, who, report.tick, failed))
    done = report.model_copy(
        update={
            "status": "damaged" if context.damages else "failed" if failed else "done",
            "summary": _summary(steps, failed, context.damages),
            "seconds": _since(began),
            "steps": steps,
            "audits": sorted(_audits(context.vault) - before),
            "findings": len(context.findings),
        }
    )
    return MaintenanceResult(done, context.findings)


def refused(reason: str, tick: datetime | None) -> MaintenanceResult:
    """A round that does nothing but say why: how a worker reports bad input."""
    return MaintenanceResult(
        MaintenanceReport(status="refused", summary=reason, tick=tick, began_at=datetime.now(UTC)), []
    )


def exit_code(report: MaintenanceReport) -> int:
    """13 where the vault is damaged, 3 where a step failed, else 0."""
    return {"damaged": EXIT_DAMAGE, "failed": EXIT_PARTIAL}.get(report.status, EXIT_OK)


def _step(name: str, context: Context) -> MaintenanceStep:
    began = time.monotonic()
    try:
        outcome = STEPS[name](context)
    except PachvaultError as error:
        _log.info("maintenance step %s failed: %s", name, error)
        return MaintenanceStep(name=name, status="failed", summary=str(error), seconds=_since(began))
    except Exception as error:  # noqa: BLE001  (a bug in one step must not keep the others from their work)
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


def _summary(steps: list[MaintenanceStep], failed: list[str], damages: int) -> str:
    if damages:
        also = f"; failed: {', '.join(failed)}" if failed else ""
        return f"the vault is damaged: {damages} findings{also}"
    if failed:
        return f"failed, to be tried again: {', '.join(failed)}"
    return "; ".join(f"{step.name}: {step.summary}" for step in steps)


def _is_covered(vault: Vault, who: str, tick: datetime, clocks: Clocks, gap: timedelta) -> bool:
    """Whether a round noted this tick or a later one, less than half the `gap` between ticks ago.

    Without that bound a cluster whose clock was set back would have no round until it has caught up. A note
    from the future counts for nothing.
    """
    for found in audits.load(vault):
        if found.audit.level != LEVEL:
            continue
        for each, at in audits.times(found, clocks.earlier):
            is_recent = at is not None and clocks.store - at <= gap / 2
            if each.name == who and each.result == "ok" and is_recent:
                # a round from a shell has no tick; a time without zone was written by no version
                with suppress(ValueError, TypeError):
                    noted = datetime.fromisoformat(each.message)
                    if tick <= noted and not clock.is_future(noted, clocks.earlier):
                        return True
    return False


def _audits(vault: Vault) -> set[str]:
    return {info.name for info in vault.objects(layout.AUDITS)}


def _note(vault: Vault, who: str, tick: datetime | None, failed: list[str]) -> None:
    result = "unreadable" if failed else "ok"
    said = tick.isoformat() if tick else ""
    audited = AuditEntry.model_validate({"name": who, "result": result, "message": said})
    audits.record(vault, LEVEL, [audited])

"""`prune`: delete what no snapshot needs."""

from __future__ import annotations

import math
from datetime import datetime

import click

from pachvault.cli.common import CommandContext, agreed_now, common_options
from pachvault.cli.render import show, show_all
from pachvault.cli.results.prune import PlannedObjectResult, PrunePlanSummary, PruneSummary, RunResult
from pachvault.errors import EXIT_OK, EXIT_PARTIAL, UsageError
from pachvault.maintenance import reserve
from pachvault.maintenance.prune import emergency_prune, prune
from pachvault.maintenance.prune.prune import PruneOutcome
from pachvault.maintenance.prune.prune_plan import PruneLimits, PrunePlan, Waiting, plan
from pachvault.vault.vault import Vault


@click.command("prune")
@click.option(
    "--max-dead",
    type=click.IntRange(0, 100),
    default=50,
    show_default=True,
    metavar="PERCENT",
    help="Rewrite a pack if more than this share of it is needed by no snapshot.",
)
@click.option(
    "--repack-budget",
    type=click.FloatRange(min=0, max=2**30),
    default=10,
    show_default=True,
    metavar="GIB",
    help="Copy at most this much while rewriting packs.",
)
@click.option(
    "--no-snapshots", is_flag=True, help="Continue if the vault has no snapshot: everything in it is deleted."
)
@click.option(
    "--now",
    "is_now",
    is_flag=True,
    help="For an emergency: delete at once, without the grace period. Only while nothing else runs.",
)
@click.option(
    "--nothing-else-runs",
    is_flag=True,
    help="With --now: confirm that no backup, prune, repair, erase or bring-back runs, on any machine.",
)
@click.option(
    "--dry-run", is_flag=True, help="Show what would be done with each pack, and why; change nothing."
)
@common_options
@click.pass_obj
def prune_command(
    context: CommandContext,
    /,
    max_dead: int,
    repack_budget: float,
    no_snapshots: bool,
    is_now: bool,
    nothing_else_runs: bool,
    dry_run: bool,
) -> int:
    """Delete what no snapshot needs.

    Prune marks an object now, and deletes it when the grace period is over. Backups and restores may run at
    the same time. Prune deletes nothing that a snapshot needs, and nothing that is needed by a snapshot that
    was forgotten within the grace period. The exit code is 3 if a pack was kept because it is damaged.

    --now is for a full target: it deletes what no snapshot needs without waiting for the end of the grace
    period. Afterwards, forgotten snapshots cannot be brought back, and backups in progress cannot be sealed.
    The exit code is 11 if something else seems to use the vault.

    Example: pachvault --vault file:///mnt/backup/vault prune --dry-run
    """
    if not math.isfinite(repack_budget):
        raise click.BadParameter("not a number", param_hint="--repack-budget")
    _check_now(is_now=is_now, is_confirmed=nothing_else_runs, dry_run=dry_run)
    vault = context.open_vault()
    limits = PruneLimits(max_dead / 100, int(repack_budget * 2**30), may_empty=no_snapshots)
    # format 9.1: by the clock that is behind no age is too great
    now = agreed_now(vault, dry_run=dry_run)
    if is_now:
        return _prune_now(context, vault, limits, now, dry_run=dry_run)
    with context.progress() as progress:
        if dry_run:
            planned = plan(vault, limits, now, progress)
        else:
            # deleting needs room for marks first: on a full target the reserve gives it (format 9.13)
            planned, pruned = reserve.used(
                vault, lambda is_scarce: prune.run(vault, limits, progress, is_scarce=is_scarce)
            )
    if dry_run:
        return _show_plan(context, planned)
    return _show_pruned(context, pruned, planned.waiting(is_done=True))


def _check_now(*, is_now: bool, is_confirmed: bool, dry_run: bool) -> None:
    if is_confirmed and not is_now:
        raise UsageError("--nothing-else-runs goes with --now")
    if is_now and not (is_confirmed or dry_run):
        raise UsageError(
            "--now deletes at once, which is safe only while nothing else runs on this vault, on any machine",
            hint="stop the pipelines, then add --nothing-else-runs; --now --dry-run shows what it deletes",
        )


def _prune_now(
    context: CommandContext, vault: Vault, limits: PruneLimits, now: datetime, *, dry_run: bool
) -> int:
    with context.progress() as progress:
        if dry_run:
            planned = emergency_prune.plan(vault, limits, now, progress)
        else:
            outcome = reserve.used(vault, lambda _: emergency_prune.execute(vault, limits, progress))
    for run in planned.runs if dry_run else outcome.runs:
        show(context, RunResult.of(run))
    if dry_run:
        return _show_plan(context, planned.prune_plan)
    return _show_pruned(context, outcome.prune_outcome, [])


def _show_plan(context: CommandContext, planned: PrunePlan) -> int:
    objects = [*planned.packs, *planned.others]
    show_all(context, PlannedObjectResult, [PlannedObjectResult.of(item) for item in objects])
    show(context, PrunePlanSummary.of(planned))
    return EXIT_OK


def _show_pruned(context: CommandContext, pruned: PruneOutcome, waiting: list[Waiting]) -> int:
    show(context, PruneSummary.of(pruned, waiting))
    return EXIT_PARTIAL if pruned.problems else EXIT_OK

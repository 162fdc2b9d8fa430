"""`repair`: rebuild what is damaged, and name what stays lost."""

from __future__ import annotations

import click

from pachvault.cli.common import CommandContext, common_options
from pachvault.cli.render import show, show_all
from pachvault.cli.results.repair import (
    LostFileResult,
    LostObjectResult,
    RepairPlanResult,
    RepairSummary,
)
from pachvault.errors import EXIT_DAMAGE
from pachvault.maintenance.repair import repair, repair_from_cluster
from pachvault.maintenance.verify.verify import Level
from pachvault.store.open_store import open_store


@click.command("repair")
@click.option(
    "--level",
    type=click.Choice([level.value for level in Level]),
    default=Level.DATA.value,
    show_default=True,
    help="How thoroughly to look for damage: the levels of `pachvault verify`.",
)
@click.option(
    "--dry-run", is_flag=True, help="Show what is damaged and what repair would do; change nothing."
)
@common_options
@click.pass_obj
def repair_command(context: CommandContext, level: str, dry_run: bool) -> int:
    """Repair a damaged vault.

    Damaged objects are rebuilt from intact ones, and lost content is read from Pachyderm if it still has it.
    Repair writes new objects, and deletes the objects that they replace: damaged index objects, and a damaged
    vault.json. It marks damaged packs; prune deletes them after the grace period. The exit code is 13 if
    something stays lost; the output names it.
    """
    store = open_store(context.vault_url())
    if dry_run:
        with context.progress() as progress:
            plan = repair.plan(store, Level(level), progress)
        prospect = repair_from_cluster.prospect(context.pachd, context.token, plan)
        show(context, RepairPlanResult.of(plan, prospect))
        return 0 if plan.is_intact else EXIT_DAMAGE
    with context.progress() as progress:
        repaired, prospect = repair_from_cluster.run(
            context.pachd, context.token, store, Level(level), progress
        )
    show_all(context, LostFileResult, [LostFileResult.of(file, prospect) for file in repaired.lost_files])
    show_all(context, LostObjectResult, [LostObjectResult.of(loss) for loss in repaired.lost_objects])
    show(context, RepairSummary.of(repaired, prospect))
    return 0 if repaired.is_intact else EXIT_DAMAGE

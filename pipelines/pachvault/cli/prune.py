"""`prune`: reclaim what no snapshot needs any more."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import click

from pachvault.cli.common import State, agreed_now, common_options, human, put_json, put_table, say
from pachvault.errors import EXIT_PARTIAL
from pachvault.upkeep import prune
from pachvault.upkeep.prune import Pruned
from pachvault.upkeep.prune_plan import Action, Limits, PrunePlan, plan


@click.command("prune")
@click.option(
    "--max-dead",
    type=click.IntRange(0, 100),
    default=50,
    show_default=True,
    metavar="PERCENT",
    help="Rewrite packs of which more than this is needed by nothing.",
)
@click.option(
    "--repack-budget",
    type=click.FloatRange(min=0),
    default=10,
    show_default=True,
    metavar="GIB",
    help="Rewrite at most so much at a time.",
)
@click.option("--no-snapshots", is_flag=True, help="Go on where the vault has no snapshot: all of it goes.")
@click.option(
    "--dry-run", is_flag=True, help="Show every pack with its action and the reason; change nothing."
)
@common_options
@click.pass_obj
def prune_command(
    state: State, /, max_dead: int, repack_budget: float, no_snapshots: bool, dry_run: bool
) -> int:
    """Reclaim what no snapshot needs: mark it now, delete it when the vault's grace is over.

    Backups and restores may go on meanwhile. Nothing that a snapshot needs is deleted, nor what one needs
    that was forgotten within the grace. Exits with 3 where a pack had to stay because it is damaged.

    Example: pachvault --vault file:///mnt/backup/vault prune --dry-run
    """
    vault = state.open_vault()
    limits = Limits(max_dead / 100, int(repack_budget * 2**30), may_empty=no_snapshots)
    now = agreed_now(vault, dry_run=dry_run)
    with state.progress() as progress:
        planned = plan(vault, limits, now, progress)
        done = None if dry_run else prune.execute(vault, planned, progress)
    if done is None:
        _show_plan(state, planned)
        return 0
    return _show_done(state, planned, done)


def _show_plan(state: State, planned: PrunePlan) -> None:
    if state.json:
        for each in [*planned.packs, *planned.others]:
            put_json("planned", **asdict(each))
        put_json("summary", **_counts(planned), expired=planned.expired, compacted=planned.is_compacted)
        return
    put_table(
        ["OBJECT", "SIZE", "NEEDED", "ACTION", "WHY"],
        [
            [
                each.name,
                human(each.size),
                f"{each.live_bytes / each.blob_bytes:.0%}" if each.blob_bytes else "-",
                each.action,
                each.reason,
            ]
            for each in [*planned.packs, *planned.others]
        ],
        right=(1, 2),
    )
    _sum_up(planned)


def _show_done(state: State, planned: PrunePlan, done: Pruned) -> int:
    if state.json:
        put_json("summary", **asdict(done))
    else:
        for line in done.problems:
            say(line)
        say(
            f"deleted {_counted(done.deleted)}, {human(done.deleted_bytes)}; marked {done.marked}, "
            f"{human(done.marked_bytes)}; rewrote {done.repacked} packs"
        )
        _sum_up(planned)
    return EXIT_PARTIAL if done.problems else 0


def _counted(deleted: Counter[str]) -> str:
    return ", ".join(f"{count} {folder}" for folder, count in sorted(deleted.items())) or "nothing"


def _sum_up(planned: PrunePlan) -> None:
    waiting = planned.of(Action.WAIT)
    if waiting:
        say(f"{len(waiting)} marked objects, {human(sum(each.size for each in waiting))}, wait for the grace")


def _counts(planned: PrunePlan) -> dict[str, object]:
    return {
        action.value: {"objects": len(found), "bytes": sum(each.size for each in found)}
        for action in Action
        if (found := planned.of(action))
    }

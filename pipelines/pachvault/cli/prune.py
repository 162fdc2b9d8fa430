"""`prune`: reclaim what no snapshot needs any more."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import datetime, timedelta

import click

from pachvault.cli.common import CommandContext, agreed_now, common_options, human, put_json, put_table, say
from pachvault.errors import EXIT_PARTIAL, UsageError
from pachvault.maintenance.prune import emergency_prune, prune, reserve
from pachvault.maintenance.prune.prune import Pruned
from pachvault.maintenance.prune.prune_plan import PruneAction, PruneLimits, PrunePlan, Waiting, plan
from pachvault.vault.vault import Vault


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
    "--now", "is_now", is_flag=True, help="An emergency: delete at once. Only while nothing else runs."
)
@click.option(
    "--nothing-else-runs",
    is_flag=True,
    help="With --now: you vouch that no backup, prune, repair, erase or bring-back runs, on any machine.",
)
@click.option(
    "--dry-run", is_flag=True, help="Show every pack with its action and the reason; change nothing."
)
@common_options
@click.pass_obj
def prune_command(
    state: CommandContext,
    /,
    max_dead: int,
    repack_budget: float,
    no_snapshots: bool,
    is_now: bool,
    nothing_else_runs: bool,
    dry_run: bool,
) -> int:
    """Reclaim what no snapshot needs: mark it now, delete it when the vault's grace is over.

    Backups and restores may go on meanwhile. Nothing that a snapshot needs is deleted, nor what one needs
    that was forgotten within the grace. Exits with 3 where a pack had to stay because it is damaged.

    --now is for a target that is full: what no snapshot needs is deleted without waiting for the grace.
    Forgotten snapshots cannot be brought back after it, and backups under way are not sealed. It exits with
    11 where something seems to be at work on the vault.

    Example: pachvault --vault file:///mnt/backup/vault prune --dry-run
    """
    _check_now(is_now=is_now, is_vouched=nothing_else_runs, dry_run=dry_run)
    vault = state.open_vault()
    limits = PruneLimits(max_dead / 100, int(repack_budget * 2**30), may_empty=no_snapshots)
    now = agreed_now(vault, dry_run=dry_run)
    if is_now:
        return _prune_now(state, vault, limits, now, dry_run=dry_run)
    with state.progress() as progress:
        if dry_run:
            planned = plan(vault, limits, now, progress)
        else:
            planned, done = reserve.used(
                vault, lambda is_scarce: prune.run(vault, limits, progress, is_scarce=is_scarce)
            )
    if dry_run:
        _show_plan(state, planned)
        return 0
    return _show_done(state, done, planned.waiting(is_done=True))


def _check_now(*, is_now: bool, is_vouched: bool, dry_run: bool) -> None:
    if is_vouched and not is_now:
        raise UsageError("--nothing-else-runs goes with --now")
    if is_now and not (is_vouched or dry_run):
        raise UsageError(
            "--now deletes at once, which is safe only while nothing else runs on this vault, on any machine",
            hint="stop the pipelines, then add --nothing-else-runs; --now --dry-run shows what would go",
        )


def _prune_now(
    state: CommandContext, vault: Vault, limits: PruneLimits, now: datetime, *, dry_run: bool
) -> int:
    with state.progress() as progress:
        if dry_run:
            planned = emergency_prune.plan(vault, limits, now, progress)
        else:
            done = reserve.used(vault, lambda _: emergency_prune.execute(vault, limits, progress))
    runs = planned.runs if dry_run else done.runs
    for run in runs:
        if state.json:
            put_json("run", run=run.run_id, seconds=run.age.total_seconds())
        else:
            say(f"backup {run.run_id}, begun {_hours(run.age)} ago, can no longer be sealed")
    if dry_run:
        _show_plan(state, planned.prune)
        return 0
    return _show_done(state, done.pruned, [])


def _hours(age: timedelta) -> str:
    minutes = max(0, int(age.total_seconds() // 60))
    return f"{minutes // 60} h {minutes % 60} min"


def _show_plan(state: CommandContext, planned: PrunePlan) -> None:
    if state.json:
        for each in [*planned.packs, *planned.others]:
            put_json("planned", **asdict(each))
        put_json(
            "summary",
            **_counts(planned),
            expired=planned.expired,
            compacted=planned.is_compacted,
            waiting=[asdict(each) for each in planned.waiting(is_done=False)],
        )
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
    if planned.expired:
        say(f"{len(planned.expired)} forgotten snapshots go for good")
    _show_waiting(planned.waiting(is_done=False))


def _show_done(state: CommandContext, done: Pruned, waiting: list[Waiting]) -> int:
    if state.json:
        put_json("summary", **asdict(done), waiting=[asdict(each) for each in waiting])
    else:
        for line in done.problems:
            say(line)
        say(
            f"deleted {_counted(done.deleted)}, {human(done.deleted_bytes)}; marked {done.marked}, "
            f"{human(done.marked_bytes)}; rewrote {done.repacked} packs"
        )
        _show_waiting(waiting)
    return EXIT_PARTIAL if done.problems else 0


def _counted(deleted: Counter[str]) -> str:
    return ", ".join(f"{count} {folder}" for folder, count in sorted(deleted.items())) or "nothing"


def _show_waiting(waiting: list[Waiting]) -> None:
    for each in waiting:
        state = "marked" if each.next is PruneAction.DELETE else "unneeded"
        say(
            f"{each.objects} {state} objects, {human(each.bytes)}: a prune after "
            f"{each.until:%Y-%m-%d %H:%M} UTC {each.next}s them"
        )


def _counts(planned: PrunePlan) -> dict[str, object]:
    return {
        action.value: {"objects": len(found), "bytes": sum(each.size for each in found)}
        for action in PruneAction
        if (found := planned.of(action))
    }

"""`repair`: make whole again what can be, and say exactly what cannot."""

from __future__ import annotations

from datetime import timedelta

import click

from pachvault.cli.common import CommandContext, common_options, put, put_json, say
from pachvault.errors import EXIT_DAMAGE
from pachvault.maintenance.repair import repair, repair_from_cluster
from pachvault.maintenance.repair.repair import Repaired, RepairPlan
from pachvault.maintenance.repair.repair_config import Rebuilt
from pachvault.maintenance.repair.repair_from_cluster import Prospect
from pachvault.maintenance.repair.repair_needs import LostFile, LostObject
from pachvault.maintenance.verify.verify import Level
from pachvault.store.open_store import open_store

_SHOWN = 20


@click.command("repair")
@click.option(
    "--level",
    type=click.Choice([each.value for each in Level]),
    default=Level.DATA.value,
    show_default=True,
    help="How deep to look for damage: structure, packs or data, as in verify.",
)
@click.option("--dry-run", is_flag=True, help="Print what is damaged and what could be done, change nothing.")
@common_options
@click.pass_obj
def repair_command(state: CommandContext, level: str, dry_run: bool) -> int:
    """Rebuild what is damaged from what is there, and lost content from Pachyderm where it still has it.

    Writes new objects, and deletes what they replace: index objects and a vault.json that are not what they
    should be. Damaged packs are marked, and prune deletes them after the vault's grace. Exits with 13 where
    something stays lost, and names it.
    """
    store = open_store(state.vault_url())
    if dry_run:
        with state.progress() as progress:
            plan = repair.plan(store, Level(level), progress)
        _show_plan(state, plan, repair_from_cluster.prospect(state.pachd, state.token, plan))
        return 0 if plan.is_whole else EXIT_DAMAGE
    with state.progress() as progress:
        done, outlook = repair_from_cluster.run(state.pachd, state.token, store, Level(level), progress)
    _show_done(state, done, outlook)
    return 0 if done.is_whole else EXIT_DAMAGE


def _show_plan(state: CommandContext, plan: RepairPlan, outlook: Prospect) -> None:
    packs = plan.packs
    if state.json:
        put_json(
            "plan",
            config=_config(plan.config),
            vault_id=plan.vault.config.vault_id,
            index_unindexed=plan.unindexed,
            index_replaced=plan.replaced,
            packs=[
                {"name": name, "message": message, "marked": name in plan.marked}
                for name, message in packs.damaged.items()
            ],
            copies=len(plan.needs.copies),
            removed=sorted(plan.documents),
            readable_again=[str(want) for want in outlook.there],
            lost=[str(want) for want in outlook.gone],
            losses=[_loss(each) for each in plan.needs.losses],
            unreachable=outlook.unreachable or None,
        )
        return
    lines = []
    if plan.config is not None:
        lines.append(f"write {_config_line(plan.config)}")
    for name in plan.replaced:
        why = packs.unreadable.get(name, "it names packs that are not there, or not so")
        lines.append(f"replace {name}: {why}")
    if plan.unindexed:
        lines.append(f"index {plan.unindexed:,} blobs of packs that no index object places")
    if plan.needs.copies:
        lines.append(f"copy {len(plan.needs.copies):,} blobs that read out of damaged packs")
    lines += [
        f"{'marked already' if name in plan.marked else 'mark'} {name}: {message}"
        for name, message in packs.damaged.items()
    ]
    lines += [f"remove {name}: {message}" for name, message in plan.documents.items()]
    lines += _listed("read again from Pachyderm:", outlook.there)
    for line in [
        *lines,
        *_listed(_lost_heading(outlook, "the commit is gone; a later one may have it:"), outlook.gone),
        *_loss_lines(plan.needs.losses),
    ]:
        put(line)
    say("nothing to repair" if plan.is_whole else "nothing was changed")


def _show_done(state: CommandContext, done: Repaired, outlook: Prospect) -> None:
    if state.json:
        for want in done.lost:
            put_json(
                "finding", kind="file-lost", object=str(want), message=f"{len(want.blobs)} blobs are lost"
            )
        for loss in done.losses:
            put_json("finding", kind="object-lost", **_loss(loss))
        put_json(
            "summary",
            config=_config(done.config),
            copied=done.copied,
            healed=done.healed,
            indexed=done.indexed,
            marked=done.marked,
            removed=done.removed,
            lost=len(done.lost),
            losses=len(done.losses),
            unreachable=outlook.unreachable or None,
        )
        return
    for line in [*_listed(_lost_heading(outlook, "lost:"), done.lost), *_loss_lines(done.losses)]:
        put(line)
    if done.config is not None:
        say(f"written: {_config_line(done.config)}")
    said = (
        f"repaired: {done.indexed:,} blobs indexed, {done.copied:,} copied, {done.healed:,} read again from "
        f"Pachyderm, {len(done.marked)} packs marked, {len(done.removed)} documents removed; "
    )
    say(said + ("nothing is lost" if done.is_whole else f"{len(done.lost) + len(done.losses)} losses stay"))


def _config(rebuilt: Rebuilt | None) -> dict[str, object] | None:
    if rebuilt is None:
        return None
    config = rebuilt.config
    return {
        "vault_id": config.vault_id,
        "grace_seconds": config.grace_seconds,
        "is_grace_known": rebuilt.is_grace_known,
    }


def _config_line(rebuilt: Rebuilt) -> str:
    config = rebuilt.config
    days = f"{config.grace / timedelta(days=1):g} days"
    grace = f"grace {days}" if rebuilt.is_grace_known else f"grace {days} (assumed: no manifest says it)"
    return f"vault.json: vault {config.vault_id[:12]} by its manifests, {grace}"


def _lost_heading(outlook: Prospect, heading: str) -> str:
    if outlook.unreachable:
        return f"lost here; Pachyderm may have it, but: {outlook.unreachable}"
    return heading


def _listed(heading: str, wants: tuple[LostFile, ...] | list[LostFile]) -> list[str]:
    if not wants:
        return []
    more = [f"  and {len(wants) - _SHOWN} more (--json names all)"] if len(wants) > _SHOWN else []
    return [heading, *(f"  {want}" for want in wants[:_SHOWN]), *more]


def _loss(loss: LostObject) -> dict[str, object]:
    return {
        "object": loss.object,
        "message": loss.message,
        "snapshots": list(loss.snapshots),
        "lost": list(loss.what),
    }


def _loss_lines(losses: list[LostObject]) -> list[str]:
    lines = []
    for loss in losses:
        hit = ", ".join(loss.snapshots)
        lines.append(f"cannot be rebuilt: {loss.object}: {loss.message}; hits {hit}")
        lines += [f"  lost: {what}" for what in list(loss.what)[:_SHOWN]]
    return lines

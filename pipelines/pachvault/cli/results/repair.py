"""What `repair` reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Self

from pachvault.cli.common import put, say
from pachvault.cli.render import Result, table_of, text_of
from pachvault.maintenance.repair.repair import Repaired, RepairPlan
from pachvault.maintenance.repair.repair_config import Rebuilt
from pachvault.maintenance.repair.repair_from_cluster import Prospect
from pachvault.maintenance.repair.repair_needs import LostFile, LostObject

_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class RebuiltConfig:
    """A `vault.json` that is rebuilt from the manifests."""

    vault_id: str
    grace_seconds: float
    is_grace_known: bool
    """False where no manifest has the grace period, and the default is assumed."""

    @classmethod
    def of(cls, rebuilt: Rebuilt | None) -> Self | None:
        """From what was rebuilt; None where nothing had to be."""
        if rebuilt is None:
            return None
        config = rebuilt.config
        return cls(
            vault_id=config.vault_id,
            grace_seconds=config.grace_seconds,
            is_grace_known=rebuilt.is_grace_known,
        )


@dataclass(frozen=True, kw_only=True)
class DamagedPack:
    """A pack that is damaged."""

    name: str
    message: str
    marked: bool
    """Whether it is a pending delete already."""


@dataclass(frozen=True, kw_only=True)
class LostObjectResult(Result):
    """An object that a snapshot needs and that cannot be rebuilt. A `repair_plan` contains it, too."""

    type: Literal["lost_object"] = "lost_object"
    object: str
    message: str
    snapshots: Sequence[str]
    """The short ids of the snapshots that are affected."""
    lost: Sequence[str]
    """What is lost with it."""

    @classmethod
    def of(cls, loss: LostObject) -> Self:
        """From a repair's."""
        return cls(
            object=loss.object, message=loss.message, snapshots=list(loss.snapshots), lost=list(loss.what)
        )


@dataclass(frozen=True, kw_only=True)
class RepairPlanResult(Result):
    """What is damaged, and what a repair would do."""

    type: Literal["repair_plan"] = "repair_plan"
    is_intact: bool
    """Whether there is nothing to repair and nothing lost."""
    vault_id: str
    config: RebuiltConfig | None
    """The `vault.json` that would be written; None where it is intact."""
    index_unindexed: int
    """Blobs of packs that no index object has."""
    index_replaced: Sequence[str]
    """Index objects that would be replaced."""
    index_messages: Sequence[str]
    """Why, a line for each of them."""
    packs: Sequence[DamagedPack]
    copies: int
    """Blobs that can be read only from damaged packs, and would be copied."""
    rebuilt: Sequence[str]
    """Lost file tables and commit lists that would be rebuilt from others."""
    exported_again: Sequence[str]
    """Lost file tables whose commits would be exported again; rebuilt if that gives the same bytes."""
    removed: Sequence[str]
    """Marks, pins, audits and documents of runs that cannot be read, and would be removed."""
    removed_messages: Sequence[str]
    """What is wrong with each of them."""
    readable_again: Sequence[str]
    """Lost files that Pachyderm still has, project/repo@commit:/path."""
    lost: Sequence[str]
    """Lost files whose commit Pachyderm no longer has; a later commit may have the same content."""
    losses: Sequence[LostObjectResult]
    unreachable: str | None
    """Why Pachyderm could not be asked; None where it was, or did not have to be."""

    @classmethod
    def of(cls, plan: RepairPlan, prospect: Prospect) -> Self:
        """From the plan, and what the cluster can give back."""
        why = "it places blobs in packs that are missing or do not have them"
        removed = sorted(plan.documents)
        return cls(
            is_intact=plan.is_intact,
            vault_id=plan.vault.config.vault_id,
            config=RebuiltConfig.of(plan.config),
            index_unindexed=plan.unindexed,
            index_replaced=plan.replaced,
            index_messages=[plan.packs.unreadable.get(name, why) for name in plan.replaced],
            packs=[
                DamagedPack(name=name, message=message, marked=name in plan.marked)
                for name, message in plan.packs.damaged.items()
            ],
            copies=len(plan.needs.copies),
            rebuilt=plan.rebuilt.names,
            exported_again=prospect.tables,
            removed=removed,
            removed_messages=[plan.documents[name] for name in removed],
            readable_again=_texts(prospect.there),
            lost=_texts(prospect.gone),
            losses=[LostObjectResult.of(loss) for loss in plan.needs.lost_objects],
            unreachable=prospect.unreachable or None,
        )


@dataclass(frozen=True, kw_only=True)
class LostFileResult(Result):
    """A file that stays lost after a repair."""

    type: Literal["lost_file"] = "lost_file"
    file: str
    """project/repo@commit:/path."""
    lost_blobs: int
    unreachable: str | None
    """Why Pachyderm, which may have it, could not be asked."""

    @classmethod
    def of(cls, lost: LostFile, prospect: Prospect) -> Self:
        """From a repair's."""
        return cls(file=str(lost), lost_blobs=len(lost.blobs), unreachable=prospect.unreachable or None)


@dataclass(frozen=True, kw_only=True)
class RepairSummary(Result):
    """What `repair` did."""

    type: Literal["repair_summary"] = "repair_summary"
    config: RebuiltConfig | None
    """The `vault.json` that was written; None where it was intact."""
    rebuilt: Sequence[str]
    """File tables and commit lists that were rebuilt."""
    copied: int
    """Blobs that were copied out of damaged packs."""
    healed: int
    """Blobs that were read again from Pachyderm."""
    indexed: int
    """Blobs that were added to the index."""
    marked: Sequence[str]
    """Damaged packs that a prune will delete."""
    removed: Sequence[str]
    lost: int
    """Files that stay lost; there is a `lost_file` for each."""
    losses: int
    """Objects that stay lost; there is a `lost_object` for each."""
    unreachable: str | None
    """Why Pachyderm could not be asked; None where it was, or did not have to be."""

    @classmethod
    def of(cls, repaired: Repaired, prospect: Prospect) -> Self:
        """From what was done."""
        return cls(
            config=RebuiltConfig.of(repaired.config),
            rebuilt=repaired.rebuilt,
            copied=repaired.copied,
            healed=repaired.healed,
            indexed=repaired.indexed,
            marked=repaired.marked,
            removed=repaired.removed,
            lost=len(repaired.lost_files),
            losses=len(repaired.lost_objects),
            unreachable=prospect.unreachable or None,
        )


@text_of(RepairPlanResult)
def _plan(plan: RepairPlanResult) -> None:
    lines = [f"write {_config_line(plan.config)}"] if plan.config else []
    for name, why in zip(plan.index_replaced, plan.index_messages, strict=True):
        lines.append(f"replace {name}: {why}")
    if plan.index_unindexed:
        lines.append(f"index {plan.index_unindexed:,} blobs of packs that no index object has")
    if plan.copies:
        lines.append(f"copy {plan.copies:,} blobs that can still be read out of damaged packs")
    lines += [
        f"{'marked already' if pack.marked else 'mark'} {pack.name}: {pack.message}" for pack in plan.packs
    ]
    lines += [f"remove {name}: {why}" for name, why in zip(plan.removed, plan.removed_messages, strict=True)]
    lines += [f"rebuild {name} from others" for name in plan.rebuilt]
    lines += [
        f"export commits again to rebuild {name}, if that gives the same bytes"
        for name in plan.exported_again
    ]
    lines += _listed("read again from Pachyderm:", plan.readable_again)
    heading = _lost_heading(plan.unreachable, "the commit is gone; a later commit may have the content:")
    losses = [loss for loss in plan.losses if loss.object not in plan.exported_again]
    lines += [*_listed(heading, plan.lost), *_loss_lines(losses)]
    for line in lines:
        put(line)
    say("nothing to repair" if plan.is_intact else "nothing was changed")


@table_of(LostFileResult)
def _lost_files(files: Iterable[LostFileResult]) -> None:
    names = [lost.file for lost in files]
    unreachable = next((lost.unreachable for lost in files), None)
    for line in _listed(_lost_heading(unreachable, "lost:"), names):
        put(line)


@table_of(LostObjectResult)
def _lost_objects(objects: Iterable[LostObjectResult]) -> None:
    for line in _loss_lines(objects):
        put(line)


@text_of(RepairSummary)
def _repaired(summary: RepairSummary) -> None:
    if summary.config is not None:
        say(f"written: {_config_line(summary.config)}")
    for name in summary.rebuilt:
        say(f"rebuilt: {name}")
    losses = summary.lost + summary.losses
    say(
        f"repaired: {summary.indexed:,} blobs indexed, {summary.copied:,} copied, "
        f"{summary.healed:,} read again from Pachyderm, {len(summary.marked)} packs marked, "
        f"{len(summary.removed)} documents removed; "
        + (f"{losses} losses remain" if losses else "nothing is lost")
    )


def _config_line(config: RebuiltConfig) -> str:
    grace = f"grace period {timedelta(seconds=config.grace_seconds) / timedelta(days=1):g} days"
    if not config.is_grace_known:
        grace += " (assumed: no manifest has it)"
    return f"vault.json: vault {config.vault_id[:12]} by its manifests, {grace}"


def _lost_heading(unreachable: str | None, heading: str) -> str:
    return f"lost here; Pachyderm may have it, but: {unreachable}" if unreachable else heading


def _texts(files: Iterable[LostFile]) -> list[str]:
    return [str(file) for file in files]


def _listed(heading: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    rest = [f"  and {len(names) - _SHOWN} more (--json lists all)"] if len(names) > _SHOWN else []
    return [heading, *(f"  {name}" for name in names[:_SHOWN]), *rest]


def _loss_lines(losses: Iterable[LostObjectResult]) -> list[str]:
    lines = []
    for loss in losses:
        affected = ", ".join(loss.snapshots)
        lines.append(f"cannot be rebuilt: {loss.object}: {loss.message}; affected: {affected}")
        lines += [f"  lost: {name}" for name in loss.lost[:_SHOWN]]
    return lines

"""What `prune` reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Self

from pachvault.cli.common import human, put_table, say
from pachvault.cli.render import Result, table_of, text_of
from pachvault.maintenance.prune.emergency_prune import AnnouncedRun
from pachvault.maintenance.prune.prune import PruneOutcome
from pachvault.maintenance.prune.prune_plan import PlannedObject, PruneAction, PrunePlan, Waiting
from pachvault.syntax.quantities import rounded_in_words


@dataclass(frozen=True, kw_only=True)
class PlannedObjectResult(Result):
    """An object, and what a prune would do with it. All packs are listed; other objects only if not kept."""

    type: Literal["planned"] = "planned"
    name: str
    size_bytes: int
    action: PruneAction
    """keep, mark, wait, spare, repack or delete."""
    reason: str
    blob_bytes: int
    """Bytes of all blobs of a pack, before compression; 0 for other objects."""
    live_bytes: int
    """Bytes of those blobs that snapshots need."""
    until: datetime | None
    """For what no snapshot needs: when a prune takes the next step with it, by the store's clock."""

    @classmethod
    def of(cls, planned: PlannedObject) -> Self:
        """From the plan."""
        return cls(
            name=planned.name,
            size_bytes=planned.size,
            action=planned.action,
            reason=planned.reason,
            blob_bytes=planned.blob_bytes,
            live_bytes=planned.live_bytes,
            until=planned.until,
        )


@dataclass(frozen=True, kw_only=True)
class ObjectCount:
    """Objects with the same action."""

    objects: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class WaitingObjects:
    """Objects that no snapshot needs and that a later prune marks or deletes."""

    until: datetime
    """A prune after this time takes the next step, by the store's clock."""
    next: PruneAction
    """mark or delete."""
    objects: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class RunResult(Result):
    """A backup run that is announced and not sealed. After `prune --now` it can no longer be sealed."""

    type: Literal["run"] = "run"
    run: str
    age_seconds: float

    @classmethod
    def of(cls, announced: AnnouncedRun) -> Self:
        """From the announcement."""
        return cls(run=announced.run_id, age_seconds=announced.age.total_seconds())


@dataclass(frozen=True, kw_only=True)
class PrunePlanSummary(Result):
    """What a prune would do, as `prune --dry-run` ends."""

    type: Literal["prune_plan_summary"] = "prune_plan_summary"
    actions: Mapping[PruneAction, ObjectCount]
    """Actions that no object has are left out."""
    expired: Sequence[str]
    """Manifests of forgotten snapshots that would be deleted: they can no longer be brought back."""
    compacted: bool
    """Whether index objects would be rewritten."""
    waiting: Sequence[WaitingObjects]

    @classmethod
    def of(cls, plan: PrunePlan) -> Self:
        """From the plan."""
        by_action = {action: plan.of(action) for action in PruneAction}
        return cls(
            actions={
                action: ObjectCount(objects=len(objects), size_bytes=sum(planned.size for planned in objects))
                for action, objects in by_action.items()
                if objects
            },
            expired=plan.expired,
            compacted=plan.is_compacted,
            waiting=waiting_of(plan.waiting(is_done=False)),
        )


@dataclass(frozen=True, kw_only=True)
class PruneSummary(Result):
    """What `prune` did."""

    type: Literal["prune_summary"] = "prune_summary"
    deleted: Mapping[str, int]
    """Objects that were deleted, by folder of the vault."""
    deleted_bytes: int
    marked: int
    marked_bytes: int
    repacked: int
    """Packs whose live blobs were copied to another pack."""
    repacked_bytes: int
    problems: Sequence[str]
    """A line for each pack that was kept because a needed blob of it cannot be read, and for what was not
    rewritten for lack of space."""
    waiting: Sequence[WaitingObjects]

    @classmethod
    def of(cls, pruned: PruneOutcome, waiting: Sequence[Waiting]) -> Self:
        """From what was done, and what still waits."""
        return cls(
            deleted=pruned.deleted,
            deleted_bytes=pruned.deleted_bytes,
            marked=pruned.marked,
            marked_bytes=pruned.marked_bytes,
            repacked=pruned.repacked,
            repacked_bytes=pruned.repacked_bytes,
            problems=pruned.problems,
            waiting=waiting_of(waiting),
        )


def waiting_of(waiting: Sequence[Waiting]) -> list[WaitingObjects]:
    """What waits, for output."""
    return [
        WaitingObjects(until=group.until, next=group.next, objects=group.objects, size_bytes=group.bytes)
        for group in waiting
    ]


@table_of(PlannedObjectResult)
def _planned(objects: Iterable[PlannedObjectResult]) -> None:
    put_table(
        ["OBJECT", "SIZE", "NEEDED", "ACTION", "WHY"],
        [
            [
                planned.name,
                human(planned.size_bytes),
                f"{planned.live_bytes / planned.blob_bytes:.0%}" if planned.blob_bytes else "-",
                planned.action,
                planned.reason,
            ]
            for planned in objects
        ],
        right=(1, 2),
    )


@text_of(RunResult)
def _run(run: RunResult) -> None:
    age = rounded_in_words(timedelta(seconds=run.age_seconds))
    say(f"backup {run.run}, begun {age} ago, can no longer be sealed")


@text_of(PrunePlanSummary)
def _plan(summary: PrunePlanSummary) -> None:
    if summary.expired:
        say(f"{len(summary.expired)} forgotten snapshots are deleted and cannot be brought back")
    _waiting(summary.waiting)


@text_of(PruneSummary)
def _pruned(summary: PruneSummary) -> None:
    for problem in summary.problems:
        say(problem)
    deleted = ", ".join(f"{count} {folder}" for folder, count in sorted(summary.deleted.items()))
    say(
        f"deleted {deleted or 'nothing'}, {human(summary.deleted_bytes)}; marked {summary.marked}, "
        f"{human(summary.marked_bytes)}; rewrote {summary.repacked} packs"
    )
    _waiting(summary.waiting)


def _waiting(waiting: Sequence[WaitingObjects]) -> None:
    for group in waiting:
        state = "marked" if group.next is PruneAction.DELETE else "unneeded"
        say(
            f"{group.objects} {state} objects, {human(group.size_bytes)}: a prune after "
            f"{group.until:%Y-%m-%d %H:%M} UTC {group.next}s them"
        )

"""The emergency prune: what no snapshot needs is deleted now, and not one grace after it was marked.

Safe only while nothing else runs on the vault, on any machine, for which the user vouches (docs/format.md,
9.12). What can be checked is checked: nothing was written just now, and no run announces itself meanwhile.
Runs that are announced can never be sealed after it. What was forgotten cannot be brought back after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pachvault.errors import BusyError
from pachvault.format import layout
from pachvault.maintenance.prune import prune, prune_plan, receipt_references
from pachvault.maintenance.prune.prune import Pruned
from pachvault.maintenance.prune.prune_plan import PlannedObject, PruneAction, PruneLimits, PrunePlan
from pachvault.runtime.progress import Progress
from pachvault.store.store import ObjectInfo
from pachvault.syntax.quantities import rounded_in_words
from pachvault.vault import clock
from pachvault.vault.vault import Vault

QUIET = timedelta(minutes=5)
"""How long nothing must have been written that a backup, a repair or a prune writes."""
_WRITTEN_BY_RUNS = (layout.RUNS, layout.PACKS, layout.INDEX, layout.TABLES, layout.RECORDS)


@dataclass(frozen=True, slots=True)
class Announced:
    """A run that has frozen and not sealed: it is under way, or died."""

    name: str
    """Of the announcement."""
    age: timedelta

    @property
    def run_id(self) -> str:
        """The run's id."""
        return layout.subject_of(self.name)


@dataclass(frozen=True, slots=True)
class PlanNow:
    """What an emergency prune would do."""

    runs: list[Announced]
    """Those that can no longer be sealed then."""
    prune: PrunePlan
    """With what goes as DELETE."""


@dataclass(frozen=True, slots=True)
class PrunedNow:
    """What an emergency prune did."""

    runs: list[Announced]
    """Those that can no longer be sealed."""
    pruned: Pruned = field(default_factory=Pruned)


def plan(vault: Vault, limits: PruneLimits, now: datetime, progress: Progress) -> PlanNow:
    """What an emergency prune at `now` would do; raises what `prune_plan.plan` raises."""
    planned = _planned(_without_grace(vault), limits, now, progress)
    return PlanNow(
        announced(vault, now),
        replace(planned, packs=_at_once(planned.packs), others=_at_once(planned.others)),
    )


def execute(vault: Vault, limits: PruneLimits, progress: Progress) -> PrunedNow:
    """Delete what no snapshot needs. Safe to repeat, and to break off anywhere.

    Raises BusyError where something was written of late, or a run announces itself meanwhile: nothing that
    such a run relies on was deleted then. DamageError where something that a snapshot needs is missing.
    """
    # the store's clock alone: no age of this machine's counts where there is no grace
    now = clock.store_now(vault)
    check_quiet(vault, now)
    done = PrunedNow(announced(vault, now))
    # first what needs no room; a run without its announcement cannot be sealed
    for run in done.runs:
        vault.delete(run.name)
    bare = _without_grace(vault)
    for name in receipt_references.stale(bare, now):
        vault.delete(name)
    vault.sweep(now)
    # who announces itself from here on sees the marks, and relies on nothing that is marked
    marking = replace(_planned(bare, limits, now, progress), is_compacted=False)
    done.pruned.add(prune.execute(bare, marking, progress))
    now = clock.store_now(vault)
    check_alone(vault, now)
    done.pruned.add(prune.execute(bare, _planned(bare, limits, now, progress), progress))
    return done


def announced(vault: Vault, now: datetime) -> list[Announced]:
    """The runs that have announced themselves, and how long ago; `now` is the store's time."""
    return [
        Announced(info.name, now - info.modified_at)
        for info in vault.objects(layout.RUNS, layout.Kind.ANNOUNCEMENT)
    ]


def check_quiet(vault: Vault, now: datetime) -> None:
    """BusyError where a run seems to be at work: something was written within QUIET of `now`."""
    newest = max(_written(vault), key=lambda info: info.modified_at, default=None)
    if newest is not None and abs(now - newest.modified_at) < QUIET:
        until = newest.modified_at + QUIET
        age = rounded_in_words(now - newest.modified_at)
        raise BusyError(
            f"something is at work here: {newest.name} was written {age} ago",
            where=vault.store.url,
            hint=f"stop it, and prune again after {until:%H:%M:%S} UTC",
        )


def check_alone(vault: Vault, now: datetime) -> None:
    """BusyError where a run is announced."""
    for run in announced(vault, now):
        raise BusyError(
            f"backup {run.run_id} has begun meanwhile, {rounded_in_words(run.age)} ago",
            where=vault.store.url,
            hint="stop the pipelines, and prune again",
        )


def _written(vault: Vault) -> Iterator[ObjectInfo]:
    for folder in _WRITTEN_BY_RUNS:
        for info in vault.objects(folder):
            name = layout.parse(info.name)
            if name is not None and name.kind is not layout.Kind.CLOCK:
                yield info


def _planned(bare: Vault, limits: PruneLimits, now: datetime, progress: Progress) -> PrunePlan:
    """A prune that copies no packs: a full target has no room for that."""
    return prune_plan.plan(bare, replace(limits, repack_bytes=0), now, progress)


def _at_once(planned: list[PlannedObject]) -> list[PlannedObject]:
    return [
        replace(each, action=PruneAction.DELETE) if each.action is PruneAction.MARK else each
        for each in planned
    ]


def _without_grace(vault: Vault) -> Vault:
    return replace(vault, config=vault.config.model_copy(update={"grace_seconds": 0.0}))

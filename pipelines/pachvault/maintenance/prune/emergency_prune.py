"""The emergency prune: deletes what no snapshot needs at once, without a grace period.

It is safe only while nothing else runs on the vault, on any machine; the user confirms that (docs/format.md,
9.12). What can be checked is checked: nothing was written in the last minutes, and no run announces itself
meanwhile. Runs that are announced can never be sealed afterwards, and forgotten snapshots cannot be brought
back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pachvault.errors import BusyError, FullError
from pachvault.format import layout
from pachvault.maintenance.prune import prune, prune_plan, receipt_references
from pachvault.maintenance.prune.prune import PruneOutcome
from pachvault.maintenance.prune.prune_plan import PlannedObject, PruneAction, PruneLimits, PrunePlan
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.checks import verify_manifests
from pachvault.runtime.progress import Progress
from pachvault.store.store import ObjectInfo
from pachvault.syntax.quantities import rounded_in_words
from pachvault.vault import clock
from pachvault.vault.vault import Vault

QUIET = timedelta(minutes=5)
"""How old the newest object must be that a backup, a repair or a prune has written."""
_WRITTEN_BY_RUNS = (layout.RUNS, layout.PACKS, layout.INDEX, layout.TABLES, layout.RECORDS)


@dataclass(frozen=True, slots=True)
class AnnouncedRun:
    """A run that is announced and not sealed: it is in progress, or was interrupted."""

    name: str
    """Of the announcement."""
    age: timedelta

    @property
    def run_id(self) -> str:
        """The run's id."""
        return layout.subject_of(self.name)


@dataclass(frozen=True, slots=True)
class EmergencyPlan:
    """What an emergency prune would do."""

    runs: list[AnnouncedRun]
    """Those that could no longer be sealed afterwards."""
    prune_plan: PrunePlan
    """What is deleted at once has action DELETE in it."""


@dataclass(frozen=True, slots=True)
class EmergencyOutcome:
    """What an emergency prune did."""

    runs: list[AnnouncedRun]
    """Those that can no longer be sealed."""
    prune_outcome: PruneOutcome = field(default_factory=PruneOutcome)


def plan(vault: Vault, limits: PruneLimits, now: datetime, progress: Progress) -> EmergencyPlan:
    """What an emergency prune at `now` would do; raises what `prune_plan.plan` raises."""
    prune_plan.check_manifests(vault)
    planned = _planned(_without_grace(vault), limits, now, progress)
    return EmergencyPlan(
        announced(vault, now),
        replace(planned, packs=_at_once(planned.packs), others=_at_once(planned.others)),
    )


def execute(vault: Vault, limits: PruneLimits, progress: Progress) -> EmergencyOutcome:
    """Delete what no snapshot needs. Safe to repeat, and to interrupt anywhere.

    Raises BusyError where something was written in the last minutes, or a run announces itself meanwhile:
    then nothing that such a run relies on was deleted. Raises DamageError where a manifest, or an object that
    a snapshot needs, is missing.
    """
    # the store's clock alone: without a grace period, no age by this machine's clock counts
    now = clock.store_now(vault)
    check_quiet(vault, now)
    # with the grace period, and before a new list of manifests hides what the old one shows
    prune_plan.check_manifests(vault)
    outcome = EmergencyOutcome(announced(vault, now))
    # deletes that need no room come first; a run without its announcement cannot be sealed
    # format 9.12, 9.6: the announcements first. Afterwards no seal in progress passes its last check
    for run in outcome.runs:
        vault.delete(run.name)
    graceless = _without_grace(vault)
    # without a grace period every receipt is stale: none may hold an object that is deleted below
    for name in receipt_references.stale(graceless, now):
        vault.delete(name)
    # temporary files of interrupted writes, however young: format 9.12, nobody else writes
    vault.sweep(now)
    # format 9.12: before the manifests in `forgotten/` go, else verify would report them as lost
    is_listed = _is_listed(vault, now)
    # a run that announces itself from now on reads the marks, and relies on nothing that is marked
    marking = replace(_planned(graceless, limits, now, progress), is_compacted=False)
    outcome.prune_outcome.add(prune.execute(graceless, marking, progress))
    # one that announced itself before that may rely on something marked: stop before the deletes
    now = clock.store_now(vault)
    check_alone(vault, now)
    # a second prune scans again, and deletes what the first one has marked: with a grace period of zero it is
    # due
    outcome.prune_outcome.add(prune.execute(graceless, _planned(graceless, limits, now, progress), progress))
    if not is_listed:
        verify_manifests.record(vault, audits.PRUNE, now)
    return outcome


def _is_listed(vault: Vault, now: datetime) -> bool:
    """List the manifests in an audit before forgotten ones are deleted, so that verify reports no loss.

    False where there is no room for that yet.
    """
    try:
        verify_manifests.record(vault, audits.PRUNE, now)
    except FullError:
        return False
    return True


def announced(vault: Vault, now: datetime) -> list[AnnouncedRun]:
    """The runs that are announced, and their age at `now`, the store's time."""
    return [
        AnnouncedRun(info.name, now - info.modified_at)
        for info in vault.objects(layout.RUNS, layout.Kind.ANNOUNCEMENT)
    ]


def check_quiet(vault: Vault, now: datetime) -> None:
    """Raises BusyError where something was written within QUIET of `now`: a run may be in progress."""
    # each, and not only the newest: one that is dated in the future must not hide the others
    fresh = [info for info in _written(vault) if abs(now - info.modified_at) < QUIET]
    newest = max(fresh, key=lambda info: info.modified_at, default=None)
    if newest is not None:
        until = newest.modified_at + QUIET
        age = rounded_in_words(now - newest.modified_at)
        raise BusyError(
            f"the vault is in use: {newest.name} was written {age} ago",
            where=vault.store.url,
            hint=f"stop what writes to it, and prune again after {until:%H:%M:%S} UTC",
        )


def check_alone(vault: Vault, now: datetime) -> None:
    """Raises BusyError where a run is announced."""
    for run in announced(vault, now):
        raise BusyError(
            f"backup {run.run_id} was started meanwhile, {rounded_in_words(run.age)} ago",
            where=vault.store.url,
            hint="stop the pipelines, and prune again",
        )


def _written(vault: Vault) -> Iterator[ObjectInfo]:
    for folder in _WRITTEN_BY_RUNS:
        for info in vault.objects(folder):
            name = layout.parse(info.name)
            if name is not None and name.kind is not layout.Kind.CLOCK:
                yield info


def _planned(graceless: Vault, limits: PruneLimits, now: datetime, progress: Progress) -> PrunePlan:
    """A plan that repacks nothing: a full target has no room for that."""
    return prune_plan.plan(graceless, replace(limits, repack_bytes=0), now, progress)


def _at_once(objects: list[PlannedObject]) -> list[PlannedObject]:
    return [
        replace(planned, action=PruneAction.DELETE) if planned.action is PruneAction.MARK else planned
        for planned in objects
    ]


def _without_grace(vault: Vault) -> Vault:
    """The vault with a grace period of zero: all ages suffice, and what is marked is due."""
    return replace(vault, config=vault.config.model_copy(update={"grace_seconds": 0.0}))

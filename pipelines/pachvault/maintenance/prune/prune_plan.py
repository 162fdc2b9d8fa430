"""The plan of a prune: an action and a reason for each pack, and for other objects that are not just kept.

Planning changes nothing in the vault. `prune` carries a plan out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pachvault.errors import CorruptError, StoreError, UsageError
from pachvault.format import index, layout
from pachvault.maintenance.prune import reachability
from pachvault.maintenance.prune.pack_usage import PackCount
from pachvault.maintenance.prune.reachability import Reachability
from pachvault.maintenance.prune.vault_state import VaultState
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.checks import verify_manifests
from pachvault.maintenance.verify.checks.stray_objects import misnamed
from pachvault.runtime.progress import Progress
from pachvault.store.store import object_url
from pachvault.vault.vault import Vault

INDEX_OBJECTS = 64
"""More small index objects than this are compacted."""


class PruneAction(StrEnum):
    """What a prune does with an object."""

    KEEP = "keep"
    MARK = "mark"
    """Make it a pending delete."""
    WAIT = "wait"
    """It is a pending delete, and its grace period is not over."""
    SPARE = "spare"
    """Its grace period is over, and it is referenced again: the mark is dropped."""
    REPACK = "repack"
    """Copy the live blobs to another pack, and mark this one."""
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class PruneLimits:
    """What a prune may do."""

    max_dead: float = 0.5
    """A pack with a greater share of dead bytes is repacked; 0 to 1."""
    repack_bytes: int = 10 * 2**30
    """How many live bytes are copied at most."""
    may_empty: bool = False
    """Whether everything may be deleted from a vault that has no snapshot."""


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """An object and its action. Bytes of packs are those of blobs, before compression."""

    name: str
    size: int
    action: PruneAction
    reason: str
    blob_bytes: int = 0
    live_bytes: int = 0
    until: datetime | None = None
    """Of an unreferenced object: when a prune can take the next step, by the store's clock. It deletes an
    object that waits, and marks one that is kept for now."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Unreferenced objects that a prune after a time of the store's clock marks or deletes."""

    until: datetime
    next: PruneAction
    """MARK or DELETE."""
    objects: int
    bytes: int


_NEXT = {PruneAction.WAIT: PruneAction.DELETE, PruneAction.KEEP: PruneAction.MARK}
"""What a later prune does with an unreferenced object."""


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What a prune will do."""

    now: datetime
    limits: PruneLimits
    state: VaultState
    """What it was planned from."""
    packs: list[PlannedObject]
    """Every pack."""
    others: list[PlannedObject]
    """Records, tables and index objects whose action is not KEEP."""
    expired: list[str]
    """Forgotten manifests that can no longer be brought back: they are deleted."""
    is_compacted: bool
    """Whether index objects are rewritten that are small, or list packs that are gone."""

    def of(self, action: PruneAction) -> list[PlannedObject]:
        """The objects with this action."""
        return [planned for planned in [*self.others, *self.packs] if planned.action is action]

    def waiting(self, *, is_done: bool) -> list[Waiting]:
        """Unreferenced objects by the time of their next action, soonest first.

        `is_done`: the plan was carried out, so what it marks waits, too. Records and tables are counted only
        when they are marked.
        """
        steps = [
            (planned.until, _NEXT[planned.action], planned.size)
            for planned in [*self.others, *self.packs]
            if planned.until is not None and planned.action in _NEXT
        ]
        if is_done:
            until = self.now + self.state.vault.config.grace
            steps += [(until, PruneAction.DELETE, planned.size) for planned in self.of(PruneAction.MARK)]
        groups: dict[tuple[datetime, PruneAction], Waiting] = {}
        for until, action, size in steps:
            # the next full minute: one line for what was marked by one prune
            key = until.replace(second=0, microsecond=0) + timedelta(minutes=1), action
            group = groups.get(key, Waiting(*key, objects=0, bytes=0))
            groups[key] = replace(group, objects=group.objects + 1, bytes=group.bytes + size)
        return [groups[key] for key in sorted(groups)]


def plan(vault: Vault, limits: PruneLimits, now: datetime, progress: Progress) -> PrunePlan:
    """What a prune does at `now`, by the store's clock (see clock.store_now).

    Raises DamageError where an object that a snapshot needs is missing or damaged, or a manifest has lost its
    name: then it is not known which other objects are needed.
    """
    progress.start("prune: what snapshots need", 0)
    # a manifest under a wrong name is not listed: all that only it needs would look unreachable
    _check_names(vault)
    check_manifests(vault)
    reachable = Reachability().extended(vault, now)
    expired = reachability.expired(vault, now)
    has_snapshots = bool(reachable.current.roots or reachable.forgotten.roots or expired)
    if not has_snapshots and not limits.may_empty and next(iter(vault.objects(layout.RECORDS)), None):
        # manifests that somebody moved away look the same: do not delete everything for that
        raise UsageError(
            "the vault has no snapshot, forgotten or not: everything in it would be deleted",
            where=vault.store.url,
            hint="if its manifests were not moved, `pachvault prune --no-snapshots` continues",
        )
    return _planned(VaultState.scan(vault, now, reachable), limits, expired)


def revalidate(plan: PrunePlan) -> PrunePlan:
    """The plan by what is in the vault now. It deletes no object that the given plan does not delete.

    What was sealed or brought back in between is referenced. Raises what `plan` raises for a damaged vault.
    """
    state = plan.state
    # only manifests that are new are read: what is below the others is immutable. `plan.now` stays the same,
    # so nothing becomes old enough while the plan waits for its user
    reachable = state.reachability.extended(state.vault, plan.now)
    current = _planned(VaultState.scan(state.vault, plan.now, reachable, state), plan.limits, plan.expired)
    # revalidation may only take away: the user has seen the plan, and what is due since then was not in it
    names_to_delete = {planned.name for planned in plan.of(PruneAction.DELETE)}

    def held_back(objects: list[PlannedObject]) -> list[PlannedObject]:
        return [
            replace(planned, action=PruneAction.WAIT, reason=f"{planned.reason}; not in the plan")
            if planned.action is PruneAction.DELETE and planned.name not in names_to_delete
            else planned
            for planned in objects
        ]

    return replace(
        current,
        packs=held_back(current.packs),
        others=held_back(current.others),
        is_compacted=plan.is_compacted,
    )


def _check_names(vault: Vault) -> None:
    """Raises CorruptError where a manifest lost its name, StoreError where that cannot be checked."""
    damages = misnamed(vault)
    unchecked = next((damage for damage in damages if not damage.is_read), None)
    if unchecked is not None:
        raise StoreError(
            f"{unchecked.message}: nothing is deleted", where=object_url(vault.store.url, unchecked.object)
        )
    if damages:
        raise CorruptError(
            f"{damages[0].message}: nothing is deleted",
            where=object_url(vault.store.url, damages[0].object),
            hint="rename it, or move it out of the vault",
        )


def check_manifests(vault: Vault) -> None:
    """Raises CorruptError where a manifest is missing: what it needs would look like garbage."""
    # read here, where a listing that fails ends the prune; to verify it is a finding
    check = verify_manifests.check(vault, stored=audits.load(vault))
    missing = next((damage for damage in check.damages if damage.kind == verify_manifests.KIND), None)
    if missing is not None and missing.is_vital:
        raise CorruptError(
            f"{missing.message}: nothing is deleted",
            where=object_url(vault.store.url, missing.object),
            hint="put the manifest back from a copy of the vault; if it is gone for good, delete the audit "
            f"that lists it, {check.listing}",
        )


def _planned(state: VaultState, limits: PruneLimits, expired: list[str]) -> PrunePlan:
    packs = plan_packs(state, limits)
    return PrunePlan(
        now=state.now,
        limits=limits,
        state=state,
        packs=packs,
        others=plan_others(state, packs),
        expired=expired,
        is_compacted=bool(compactable(state, packs)),
    )


def plan_packs(state: VaultState, limits: PruneLimits) -> list[PlannedObject]:
    """The action of every pack."""
    counts = state.usage.packs
    packs = [
        _pack(state, count, with_forgotten, limits)
        for count, with_forgotten in zip(counts, state.usage_with_forgotten.packs, strict=True)
    ]
    budget = limits.repack_bytes
    # the budget goes to the packs with the most dead bytes for each byte that is copied
    for number in sorted(range(len(packs)), key=lambda number: counts[number].dead_share, reverse=True):
        pack = packs[number]
        if pack.action is PruneAction.REPACK:
            budget -= pack.live_bytes
            if budget < 0:
                reason = f"{pack.reason}; beyond the budget"
                packs[number] = replace(pack, action=PruneAction.KEEP, reason=reason)
    return packs


def plan_others(state: VaultState, packs: Iterable[PlannedObject]) -> list[PlannedObject]:
    """The records, tables and index objects whose action is not KEEP."""
    others = [*_documents(state), *_index_objects(state, packs)]
    return [planned for planned in others if planned.action is not PruneAction.KEEP]


def compactable(state: VaultState, packs: Iterable[PlannedObject]) -> list[str]:
    """Index objects to rewrite: those that list packs that are gone, and small ones where they are many."""
    packs_left = {pack.name for pack in packs if pack.action is not PruneAction.DELETE}
    # format 9.7: a rewritten object is marked, so it must be markable. A young one, or one that a receipt
    # names, may be what a run in progress relies on at its seal
    markable = {
        name: index_object
        for name, index_object in state.index.objects.items()
        if name in state.objects and state.is_markable(name)
    }
    stale = {name for name, index_object in markable.items() if index_object.packs - packs_left}
    # less than half full: two such objects fit into one, so compaction always lowers their number
    small = {name for name, index_object in markable.items() if 2 * index_object.rows < index.ROWS}
    return sorted(stale | small if len(small) > INDEX_OBJECTS else stale)


def _pack(
    state: VaultState, count: PackCount, with_forgotten: PackCount, limits: PruneLimits
) -> PlannedObject:
    name = count.info.name
    if not count.live_bytes:
        planned = _unreferenced(state, name, is_in_forgotten=with_forgotten.live_bytes > 0)
    elif state.is_marked(name):
        planned = _referenced_again(state, name)
    else:
        # a young pack is not repacked though it is referenced: it would be marked, and a seal refuses a run
        # of which an object is marked (format 9.5)
        is_repacked = count.dead_share > limits.max_dead and state.is_markable(name)
        action = PruneAction.REPACK if is_repacked else PruneAction.KEEP
        planned = PlannedObject(name, count.info.size, action, f"{count.dead_share:.0%} dead")
    return replace(planned, blob_bytes=count.blob_bytes, live_bytes=count.live_bytes)


def _documents(state: VaultState) -> Iterator[PlannedObject]:
    """Records and tables that are unreferenced or marked."""
    current, forgotten = state.reachability.current, state.reachability.forgotten
    for name in state.objects:
        if name.startswith((f"{layout.RECORDS}/", f"{layout.TABLES}/")):
            if name not in current.names:
                yield _unreferenced(state, name, is_in_forgotten=name in forgotten.names)
            elif state.is_marked(name):
                yield _referenced_again(state, name)


def _index_objects(state: VaultState, packs: Iterable[PlannedObject]) -> Iterator[PlannedObject]:
    """Marked index objects: one is unreferenced if unmarked ones list all its packs that stay."""
    # a marked pack stays until it is deleted, and may be needed again: until then an index object that is not
    # marked must name it
    packs_left = {pack.name for pack in packs if pack.action is not PruneAction.DELETE}
    packs_listed = {
        pack
        for name, index_object in state.index.objects.items()
        if not state.is_marked(name)
        for pack in index_object.packs
    }
    for name, index_object in state.index.objects.items():
        if state.is_marked(name) and name in state.objects:
            if index_object.packs & packs_left <= packs_listed:
                yield _unreferenced(state, name, is_in_forgotten=False)
            else:
                yield _referenced_again(state, name)


def _unreferenced(state: VaultState, name: str, *, is_in_forgotten: bool) -> PlannedObject:
    """The action of an object that no snapshot needs; `is_in_forgotten`: a forgotten one does."""
    size = state.objects[name].size
    if state.is_marked(name):
        reason = f"marked since {state.marked_at[name]:%Y-%m-%d %H:%M} UTC"
        # format 9.7: marked for the whole grace period, and needed by no snapshot that can be brought back
        if state.is_grace_over(name) and not is_in_forgotten:
            return PlannedObject(name, size, PruneAction.DELETE, reason)
        if is_in_forgotten:
            reason += ", and a snapshot that can be brought back needs it"
        until = state.deletable_at(name, is_in_forgotten=is_in_forgotten)
        return PlannedObject(name, size, PruneAction.WAIT, reason, until=until)
    if name in state.held_until:
        reason = "of a run that may be resumed"
        return PlannedObject(name, size, PruneAction.KEEP, reason, until=state.held_until[name])
    if not state.is_markable(name):
        reason = "young: a run in progress may need it"
        return PlannedObject(name, size, PruneAction.KEEP, reason, until=state.old_at(name))
    return PlannedObject(name, size, PruneAction.MARK, "no snapshot needs it")


def _referenced_again(state: VaultState, name: str) -> PlannedObject:
    """The action of a pending delete that a snapshot needs."""
    action = PruneAction.SPARE if state.is_grace_over(name) else PruneAction.WAIT
    return PlannedObject(name, state.objects[name].size, action, "marked, and needed again")

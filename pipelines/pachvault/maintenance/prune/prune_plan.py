"""What prune would do: every pack with its action and the reason, and what else is not simply kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pachvault.errors import AbsentError, CorruptError, StoreError, UsageError
from pachvault.format import digests, index, layout
from pachvault.maintenance.prune import reachability, receipt_references
from pachvault.maintenance.prune.pack_usage import PackCount, PackUsage
from pachvault.maintenance.prune.prune_index import IndexContents
from pachvault.maintenance.prune.reachability import Reachability
from pachvault.maintenance.verify.stray_objects import misnamed
from pachvault.runtime.progress import Progress
from pachvault.store.store import ObjectInfo
from pachvault.vault import pending_deletes
from pachvault.vault.vault import Vault

INDEX_OBJECTS = 64
"""More small index objects than this are compacted."""


class PruneAction(StrEnum):
    """What becomes of an object."""

    KEEP = "keep"
    MARK = "mark"
    WAIT = "wait"
    """Marked, and the grace is not over."""
    SPARE = "spare"
    """Was marked for the whole grace, and is needed again."""
    REPACK = "repack"
    """What is needed of it is copied to another pack, and it is marked."""
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class PruneLimits:
    """What a prune may do."""

    max_dead: float = 0.5
    """A pack of which a greater share is dead is repacked; 0 to 1."""
    repack_bytes: int = 10 * 2**30
    """How many live bytes are copied, at most."""
    may_empty: bool = False
    """Whether a vault without any snapshot may lose all that it has."""


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """An object and what becomes of it. Bytes of packs are those of blobs, before compression."""

    name: str
    size: int
    action: PruneAction
    reason: str
    blob_bytes: int = 0
    live_bytes: int = 0
    until: datetime | None = None
    """For what nothing needs: when a prune does the next thing with it, by the store's clock. It deletes what
    waits, and marks what is kept for now."""


@dataclass(frozen=True, slots=True)
class VaultState:
    """The vault's objects as one state finds them."""

    vault: Vault
    now: datetime
    needed: Reachability
    census: PackUsage
    """By what the snapshots need."""
    wider: PackUsage
    """By what those need, too, that may be brought back: nothing of it is deleted."""
    index: IndexContents
    infos: dict[str, ObjectInfo]
    """Records, tables, index objects and packs."""
    marks: list[pending_deletes.StoredMark]
    since: dict[str, datetime] = field(default_factory=dict)
    """Since when each marked object is."""
    held: dict[str, datetime] = field(default_factory=dict)
    """What runs hold that may be resumed, and until when."""
    last_forgotten: datetime | None = None
    """When the last of the forgotten snapshots was forgotten."""

    @classmethod
    def at(
        cls, vault: Vault, now: datetime, needed: Reachability, before: VaultState | None = None
    ) -> VaultState:
        """Look now, after `needed` was surveyed: packs and index of what is needed are there, then.

        Raises DamageError where they are not. What an earlier state has read is not read again.
        """
        found = pending_deletes.load(vault)
        since = {each.name: mark.info.modified_at for mark in reversed(found) for each in mark.mark.objects}
        index = before.index if before else IndexContents.read(vault, frozenset(since))
        listed = {info.name: info for info in vault.objects(layout.INDEX)}
        if index.said.keys() != listed.keys() or index.marked != since.keys():
            index = IndexContents.read(vault, frozenset(since))
        packs = list(vault.objects(layout.PACKS))
        blobs_now = needed.current.blobs()
        census = PackUsage(index.places, packs, blobs_now, since.keys())
        if census.missing:
            raise AbsentError(
                f"{census.missing} blobs that are needed are in no pack that is there: nothing is deleted",
                where=vault.store.url,
                hint="`pachvault verify` names the files, `pachvault repair` looks for them",
            )
        wider = census
        if needed.forgotten.roots:
            every = digests.unique(digests.joined([blobs_now, needed.forgotten.blobs()]))
            wider = PackUsage(index.places, packs, every, since.keys())
        others = [info for folder in (layout.RECORDS, layout.TABLES) for info in vault.objects(folder)]
        infos = listed | {info.name: info for info in [*others, *packs]}
        last = max((info.modified_at for info in vault.objects(layout.FORGOTTEN)), default=None)
        held = receipt_references.held(vault, now)
        return cls(vault, now, needed, census, wider, index, infos, found, since, held, last)

    def is_due(self, name: str) -> bool:
        """Whether an object has been marked for the whole grace."""
        since = self.since.get(name)
        return since is not None and self.now - since >= self.vault.config.grace

    def is_free(self, name: str) -> bool:
        """Whether an unmarked object may be marked, once nothing needs it: no run can be about to use it."""
        is_old = self.now - self.infos[name].modified_at >= self.vault.config.grace / 2
        return name not in self.since and name not in self.held and is_old

    def unneeded(self, name: str, *, is_kept: bool) -> PlannedObject:
        """What becomes of an object that no snapshot needs; `is_kept`: one that may be brought back does."""
        info = self.infos[name]
        if self.is_due(name) and not is_kept:
            return PlannedObject(name, info.size, PruneAction.DELETE, f"marked since {self._at(name)}")
        if name in self.since:
            why = ", and a snapshot that may be brought back needs it" if is_kept else ""
            until = self._due_at(name, is_kept=is_kept)
            return PlannedObject(
                name, info.size, PruneAction.WAIT, f"marked since {self._at(name)}{why}", until=until
            )
        if name in self.held:
            why = "of a run that may be resumed"
            return PlannedObject(name, info.size, PruneAction.KEEP, why, until=self.held[name])
        if not self.is_free(name):
            until = info.modified_at + self.vault.config.grace / 2
            why = "young: a run may be about to seal it"
            return PlannedObject(name, info.size, PruneAction.KEEP, why, until=until)
        return PlannedObject(name, info.size, PruneAction.MARK, "no snapshot needs it")

    def needed_again(self, name: str) -> PlannedObject:
        """What becomes of a marked object that is needed."""
        action = PruneAction.SPARE if self.is_due(name) else PruneAction.WAIT
        return PlannedObject(name, self.infos[name].size, action, "marked, and needed again")

    def _due_at(self, name: str, *, is_kept: bool) -> datetime:
        """When what is marked may go; what forgotten snapshots need, when the last of them is gone."""
        since = self.since[name]
        if is_kept and self.last_forgotten is not None:
            since = max(since, self.last_forgotten)
        return since + self.vault.config.grace

    def _at(self, name: str) -> str:
        return f"{self.since[name]:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What no snapshot needs, and a prune after a time of the store's clock marks or deletes."""

    until: datetime
    next: PruneAction
    """MARK or DELETE."""
    objects: int
    bytes: int


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
    """Records, tables and index objects that are not simply kept."""
    expired: list[str]
    """Forgotten manifests that can no longer be brought back: deleted."""
    is_compacted: bool
    """Whether small index objects, and those about packs that are gone, are written anew."""

    def of(self, action: PruneAction) -> list[PlannedObject]:
        """The objects with this action."""
        return [each for each in [*self.others, *self.packs] if each.action is action]

    def waiting(self, *, is_done: bool) -> list[Waiting]:
        """What waits until when, soonest first; with what the plan marks, where it `is_done`.

        Of records and tables only what is marked.
        """
        following = {PruneAction.WAIT: PruneAction.DELETE, PruneAction.KEEP: PruneAction.MARK}
        due = [
            (each.until, following[each.action], each.size)
            for each in [*self.others, *self.packs]
            if each.until is not None and each.action in following
        ]
        if is_done:
            until = self.now + self.state.vault.config.grace
            due += [(until, PruneAction.DELETE, each.size) for each in self.of(PruneAction.MARK)]
        counts: dict[tuple[datetime, PruneAction], Waiting] = {}
        for until, action, size in due:
            key = until.replace(second=0, microsecond=0) + timedelta(minutes=1), action
            before = counts.get(key, Waiting(*key, objects=0, bytes=0))
            counts[key] = replace(before, objects=before.objects + 1, bytes=before.bytes + size)
        return [counts[key] for key in sorted(counts)]


def plan(vault: Vault, limits: PruneLimits, now: datetime, progress: Progress) -> PrunePlan:
    """What a prune would do at `now`, by the store's clock (see clock.store_now).

    Raises DamageError where something that a snapshot needs is missing or damaged, or a snapshot has lost
    its name, for then it is not known what else is needed.
    """
    progress.start("prune: what snapshots need", 0)
    nameless = misnamed(vault)
    unlooked = next((damage for damage in nameless if not damage.is_read), None)
    if unlooked is not None:
        raise StoreError(
            f"{unlooked.message}: nothing is deleted", where=f"{vault.store.url}/{unlooked.object}"
        )
    if nameless:
        raise CorruptError(
            f"{nameless[0].message}: nothing is deleted",
            where=f"{vault.store.url}/{nameless[0].object}",
            hint="give it back its name, or move it out of the vault",
        )
    needed = Reachability().extended(vault, now)
    expired = reachability.expired(vault, now)
    is_bare = not (needed.current.roots or needed.forgotten.roots or expired)
    if is_bare and not limits.may_empty and next(iter(vault.objects(layout.RECORDS)), None):
        raise UsageError(
            "the vault has no snapshot, forgotten or not: all that it holds would be deleted",
            where=vault.store.url,
            hint="are its manifests where they were? `pachvault prune --no-snapshots` goes on",
        )
    return _planned(VaultState.at(vault, now, needed), limits, expired)


def revalidate(plan: PrunePlan) -> PrunePlan:
    """The plan as far as it still holds, by what is in the vault now; nothing more is deleted by it.

    What was sealed or brought back since is needed, too. Raises what `plan` raises for a damaged vault.
    """
    state = plan.state
    needed = state.needed.extended(state.vault, plan.now)
    current = _planned(VaultState.at(state.vault, plan.now, needed, state), plan.limits, plan.expired)
    chosen = {item.name for item in plan.of(PruneAction.DELETE)}

    def held_back(items: list[PlannedObject]) -> list[PlannedObject]:
        return [
            replace(item, action=PruneAction.WAIT, reason=f"{item.reason}; not in the plan")
            if item.action is PruneAction.DELETE and item.name not in chosen
            else item
            for item in items
        ]

    return replace(
        current,
        packs=held_back(current.packs),
        others=held_back(current.others),
        is_compacted=plan.is_compacted,
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
    """Every pack: what becomes of it."""
    pairs = zip(state.census.packs, state.wider.packs, strict=True)
    found = [_pack(state, now, wider, limits) for now, wider in pairs]
    budget = limits.repack_bytes
    emptiest_first = sorted(range(len(found)), key=lambda at: state.census.packs[at].dead_share, reverse=True)
    for at in emptiest_first:
        each = found[at]
        if each.action is PruneAction.REPACK:
            budget -= each.live_bytes
            if budget < 0:
                found[at] = replace(each, action=PruneAction.KEEP, reason=f"{each.reason}; beyond the budget")
    return found


def plan_others(state: VaultState, packs: Iterable[PlannedObject]) -> list[PlannedObject]:
    """Records, tables and index objects that are not simply kept."""
    found = [*_documents(state), *_index(state, packs)]
    return [each for each in found if each.action is not PruneAction.KEEP]


def _pack(state: VaultState, count: PackCount, wider: PackCount, limits: PruneLimits) -> PlannedObject:
    name = count.info.name
    if not count.live_bytes:
        found = state.unneeded(name, is_kept=wider.live_bytes > 0)
    elif name in state.since:
        found = state.needed_again(name)
    else:
        is_repacked = count.dead_share > limits.max_dead and state.is_free(name)
        action = PruneAction.REPACK if is_repacked else PruneAction.KEEP
        found = PlannedObject(name, count.info.size, action, f"{count.dead_share:.0%} dead")
    return replace(found, blob_bytes=count.blob_bytes, live_bytes=count.live_bytes)


def _documents(state: VaultState) -> Iterator[PlannedObject]:
    for name in state.infos:
        if name.startswith((f"{layout.RECORDS}/", f"{layout.TABLES}/")):
            if name not in state.needed.current.names:
                yield state.unneeded(name, is_kept=name in state.needed.forgotten.names)
            elif name in state.since:
                yield state.needed_again(name)


def _index(state: VaultState, packs: Iterable[PlannedObject]) -> Iterator[PlannedObject]:
    """Index objects that were compacted: they go when all that they say is said by others that stay."""
    staying = {each.name for each in packs if each.action is not PruneAction.DELETE}
    said = {pack for name, each in state.index.said.items() if name not in state.since for pack in each.packs}
    for name, each in state.index.said.items():
        if name in state.since and name in state.infos:
            is_said = not (each.packs & staying) - said
            yield state.unneeded(name, is_kept=False) if is_said else state.needed_again(name)


def compactable(state: VaultState, packs: Iterable[PlannedObject]) -> list[str]:
    """Index objects to write anew: those about packs that are gone, and small ones where they are many."""
    staying = {each.name for each in packs if each.action is not PruneAction.DELETE}
    free = {
        name: said for name, said in state.index.said.items() if name in state.infos and state.is_free(name)
    }
    stale = {name for name, said in free.items() if said.packs - staying}
    small = {name for name, said in free.items() if 2 * said.rows < index.ROWS}
    return sorted(stale | small if len(small) > INDEX_OBJECTS else stale)

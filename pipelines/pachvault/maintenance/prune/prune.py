"""Prune: mark what no snapshot needs, wait for the grace, delete what is still not needed. No lock.

Executing looks again before it deletes: why that is safe while others back up, restore, forget or prune
is in docs/format.md, section 9.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pachvault.errors import BusyError, DamageError, FullError
from pachvault.format import index, layout
from pachvault.format.maintenance_documents import PendingDelete
from pachvault.format.pack import split_digests
from pachvault.maintenance.blob_copy import copy
from pachvault.maintenance.prune import prune_plan, reachability, receipt_references
from pachvault.maintenance.prune.prune_plan import (
    PlannedObject,
    PruneAction,
    PruneLimits,
    PrunePlan,
    VaultState,
    compactable,
    plan,
)
from pachvault.runtime.progress import Progress
from pachvault.vault import blob_index, clock, index_objects, pending_deletes
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index_rows import IndexRows
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.vault import Vault

_ORDER = (layout.RECORDS, layout.TABLES, layout.INDEX, layout.PACKS)
"""Deletion goes against the order of writing: what names is gone before what is named."""


@dataclass(slots=True)
class Pruned:
    """What a prune did."""

    deleted: Counter[str] = field(default_factory=Counter)
    """Objects, by folder."""
    deleted_bytes: int = 0
    marked: int = 0
    marked_bytes: int = 0
    repacked: int = 0
    repacked_bytes: int = 0
    """Live bytes that were copied, before compression."""
    problems: list[str] = field(default_factory=list)
    """A line for each pack that stays because what is needed of it cannot be read, and for what was not
    rewritten for want of room."""

    def add(self, other: Pruned) -> None:
        """Add what another prune did."""
        self.deleted += other.deleted
        self.deleted_bytes += other.deleted_bytes
        self.marked += other.marked
        self.marked_bytes += other.marked_bytes
        self.repacked += other.repacked
        self.repacked_bytes += other.repacked_bytes
        self.problems += other.problems


def run(
    vault: Vault, limits: PruneLimits, progress: Progress, *, is_scarce: bool = False
) -> tuple[PrunePlan, Pruned]:
    """Plan by the store's clock, and carry the plan out.

    Where room is scarce nothing is written that need not be: no pack and no index object is rewritten. Raises
    what `plan` raises; PachvaultError, before anything is done, where the target does not allow deletion.
    """
    now = clock.read(vault).earlier
    planned = plan(vault, replace(limits, repack_bytes=0) if is_scarce else limits, now, progress)
    if is_scarce:
        planned = replace(planned, is_compacted=False)
    return planned, execute(vault, planned, progress)


def execute(vault: Vault, planned: PrunePlan, progress: Progress) -> Pruned:
    """Carry a plan out, as far as it still holds. Safe to repeat, to break off, and beside another prune."""
    began = (time.monotonic(), time.time())
    progress.start("prune: delete", 0)
    done = Pruned()
    _delete(vault, done, reachability.expired(vault, planned.now))
    plan = prune_plan.revalidate(planned)
    state = plan.state
    doomed = {item.name for item in plan.of(PruneAction.DELETE)}
    doomed -= _unreadable(vault, state, doomed, done)
    # writers avoid these names for another grace: a prune that is slower than this one deletes them, too
    pending_deletes.write(vault, [PendingDelete(name=name, reason="deleted") for name in sorted(doomed)])
    for folder in _ORDER:
        for name in sorted(doomed):
            if name.startswith(f"{folder}/"):
                _check_pace(vault, began)
                _delete(vault, done, [name], state)
    _mark(vault, plan.of(PruneAction.MARK), done)
    try:
        _repack(vault, state, plan.of(PruneAction.REPACK), done, progress)
        if plan.is_compacted:
            _compact(vault, state, plan.packs, doomed, done)
    except FullError as error:
        # what was deleted is gone, what was marked is marked: only this waits for more room
        done.problems.append(f"packs or index objects were not rewritten: {error.what}")
    # last: until here the marks tell what was deleted from what was lost
    _close_marks(vault, state, doomed | {item.name for item in plan.of(PruneAction.SPARE)})
    _delete(vault, done, receipt_references.stale(vault, planned.now))
    vault.sweep(planned.now - vault.config.grace)
    return done


def _unreadable(vault: Vault, state: VaultState, doomed: set[str], done: Pruned) -> set[str]:
    """The packs of `doomed` that must stay: a needed blob of theirs cannot be read elsewhere.

    With them stays every index object, for it may be the one that knows them.
    """
    going = {name for name in doomed if name.startswith(f"{layout.PACKS}/")}
    copied = {name: found for name in sorted(going) if len(found := state.wider.counted_elsewhere(name))}
    if not copied:
        return set()
    reader = _reader(vault, going)
    kept = set()
    for name, names in copied.items():
        try:
            for blob in split_digests(names):
                reader.read(blob)
        except DamageError as error:
            kept.add(name)
            done.problems.append(f"{name} stays, a blob of it cannot be read elsewhere: {error}")
    return kept | {name for name in doomed if kept and name.startswith(f"{layout.INDEX}/")}


def _reader(vault: Vault, avoid: Iterable[str]) -> BlobReader:
    return BlobReader(vault, blob_index.load_places(replace(vault, pending_deletes=frozenset(avoid))))


def _check_pace(vault: Vault, began: tuple[float, float]) -> None:
    """What was seen when the prune began may be relied on for less than the grace.

    Without a grace nothing else runs (an emergency prune): what was seen stays true.
    """
    if not vault.config.grace:
        return
    passed = max(time.monotonic() - began[0], time.time() - began[1])
    if passed > vault.config.grace.total_seconds() / 2:
        raise BusyError("the prune was held up for more than half of the grace", hint="prune again")


def _delete(vault: Vault, done: Pruned, names: Iterable[str], state: VaultState | None = None) -> None:
    for name in names:
        vault.delete(name)
        done.deleted[name.partition("/")[0]] += 1
        done.deleted_bytes += state.infos[name].size if state else 0


def _close_marks(vault: Vault, state: VaultState, settled: set[str]) -> None:
    """Delete the marks whose grace is over and whose objects are all deleted or spared.

    A damaged pack stays marked while it is there: writers must not rely on it.
    """
    for found in state.marks:
        left = {
            each.name
            for each in found.mark.objects
            if each.name in state.infos
            and (each.name not in settled or each.reason.startswith(pending_deletes.DAMAGED))
        }
        if not left and state.now - found.info.modified_at >= vault.config.grace:
            vault.delete(found.info.name)


def _repack(
    vault: Vault, state: VaultState, packs: list[PlannedObject], done: Pruned, progress: Progress
) -> None:
    """Copy what is needed of packs to new ones, then mark them."""
    if not packs:
        return
    progress.start("prune: repack", sum(each.live_bytes for each in packs))
    copied = []
    reader = _reader(vault, [])
    with PackWriter(pending_deletes.for_writing(vault)) as writer:
        for each in packs:
            lost = copy(reader, writer, state.census.counted_in(each.name))
            progress.add(each.live_bytes, 0)
            if lost:
                done.problems.append(f"{each.name} stays, {len(lost)} blobs of it cannot be read")
            else:
                copied.append(replace(each, reason=f"repacked: {each.reason}"))
        writer.finish()
    _mark(vault, copied, done)
    done.repacked += len(copied)
    done.repacked_bytes += sum(each.live_bytes for each in copied)


def _compact(
    vault: Vault, state: VaultState, packs: Iterable[PlannedObject], gone: set[str], done: Pruned
) -> None:
    """Write anew what index objects say of packs that are there, several in one; then mark them."""
    old = compactable(state, packs)
    there = {count.info.name for count in state.census.packs} - gone
    writing = pending_deletes.for_writing(vault)
    made: set[str] = set()
    gathered: list[IndexRows] = []

    def write() -> None:
        made.update(index_objects.write(writing, IndexRows.joined(gathered)))
        gathered.clear()

    for name in old:
        rows = IndexRows.read(vault.read(name))
        absent = state.index.said[name].packs - there
        if absent:
            rows = rows.without(filter(None, map(layout.named_digest, absent)))
        if sum(map(len, gathered)) + len(rows) > index.ROWS:
            write()
        gathered.append(rows)
    write()
    reason = "compacted into another"
    compacted = [
        PlannedObject(name, state.infos[name].size, PruneAction.MARK, reason)
        for name in old
        if name not in made
    ]
    _mark(vault, compacted, done)


def _mark(vault: Vault, planned: list[PlannedObject], done: Pruned) -> None:
    pending_deletes.write(vault, [PendingDelete(name=each.name, reason=each.reason) for each in planned])
    done.marked += len(planned)
    done.marked_bytes += sum(each.size for each in planned)

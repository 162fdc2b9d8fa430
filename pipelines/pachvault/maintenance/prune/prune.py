"""Prune: mark what no snapshot needs, and after the grace period delete what is still not needed. No lock.

`execute` scans the vault again before it deletes. docs/format.md, section 9, proves why that is safe while
others back up, restore, forget or prune.
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
    compactable,
    plan,
)
from pachvault.maintenance.prune.vault_state import VaultState
from pachvault.runtime.progress import Progress
from pachvault.vault import clock, pending_deletes
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index, index_objects
from pachvault.vault.index.index_rows import IndexRows
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.vault import Vault

_ORDER = (layout.RECORDS, layout.TABLES, layout.INDEX, layout.PACKS)
"""The reverse of the order of writing: an object is deleted before the objects that it references."""


@dataclass(slots=True)
class PruneOutcome:
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
    """A line for each pack that was kept because a needed blob of it cannot be read, and for objects that
    were not rewritten because the target is full."""

    def add(self, other: PruneOutcome) -> None:
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
) -> tuple[PrunePlan, PruneOutcome]:
    """Plan by the store's clock, and carry the plan out.

    `is_scarce`: the target is full, so no pack and no index object is rewritten. Raises what `plan` raises;
    PachvaultError, before anything is done, where the target does not allow deletion.
    """
    # format 9.1: with the earlier clock no age is too great unless both clocks are ahead
    now = clock.read(vault).earlier
    planned = plan(vault, replace(limits, repack_bytes=0) if is_scarce else limits, now, progress)
    if is_scarce:
        planned = replace(planned, is_compacted=False)
    return planned, execute(vault, planned, progress)


def execute(vault: Vault, planned: PrunePlan, progress: Progress) -> PruneOutcome:
    """Revalidate a plan and carry it out. Safe to repeat, to interrupt, and beside another prune."""
    # taken before the scan of `revalidate`: counted from later on, the scan would look younger than it is
    began = (time.monotonic(), time.time())
    progress.start("prune: delete", 0)
    outcome = PruneOutcome()
    # format 11.3: manifests go first, so none is left that names deleted objects; they also free a little
    # room for the marks on a full target
    _delete(vault, outcome, reachability.expired(vault, planned.now))
    # format 9.7: only a scan begun after the grace period of the mark may lead to a delete
    plan = prune_plan.revalidate(planned)
    state = plan.state
    to_delete = {item.name for item in plan.of(PruneAction.DELETE)}
    to_delete -= _needed_copies(vault, state, to_delete, outcome)
    # a deleted name is not reused for another grace period: a slower prune may still delete it
    pending_deletes.write(vault, [PendingDelete(name=name, reason="deleted") for name in sorted(to_delete)])
    for folder in _ORDER:
        for name in sorted(to_delete):
            if name.startswith(f"{folder}/"):
                # checked before every delete: a single one on a stuck mount may outlast the scan
                _check_scan_age(vault, began)
                _delete(vault, outcome, [name], state)
    # before anything is rewritten: a repack that fails for lack of room must not keep space from being freed
    _mark(vault, plan.of(PruneAction.MARK), outcome)
    try:
        _repack(vault, state, plan.of(PruneAction.REPACK), outcome, progress)
        if plan.is_compacted:
            _compact(vault, state, plan.packs, to_delete, outcome)
    except FullError as error:
        # deletes and marks are done: only rewriting waits for more room
        outcome.problems.append(f"packs or index objects were not rewritten: {error.what}")
    # last, for until here the marks show that an object was deleted and not lost
    _close_marks(vault, state, to_delete | {item.name for item in plan.of(PruneAction.SPARE)})
    _delete(vault, outcome, receipt_references.stale(vault, planned.now))
    vault.sweep(planned.now - vault.config.grace)
    return outcome


def _needed_copies(vault: Vault, state: VaultState, to_delete: set[str], outcome: PruneOutcome) -> set[str]:
    """The packs of `to_delete` that are kept: a needed blob of theirs has no other readable copy.

    All index objects are kept with them, for any of these may be the only one that lists such a pack.
    """
    packs = {name for name in to_delete if name.startswith(f"{layout.PACKS}/")}
    blobs_by_pack = {
        pack: blobs
        for pack in sorted(packs)
        if len(blobs := state.usage_with_forgotten.blobs_live_elsewhere(pack))
    }
    if not blobs_by_pack:
        return set()
    # without any of the packs to be deleted: a copy in another one of them would be deleted, too
    reader = _reader(vault, packs)
    packs_to_keep = set()
    for pack, blobs in blobs_by_pack.items():
        try:
            for blob in split_digests(blobs):
                reader.read(blob)
        except DamageError as error:
            packs_to_keep.add(pack)
            outcome.problems.append(f"kept {pack}: a needed blob of it has no other readable copy: {error}")
    if not packs_to_keep:
        return set()
    # index objects to be deleted were planned as if these packs went, so one of them may be the last to name
    # a pack that stays
    return packs_to_keep | {name for name in to_delete if name.startswith(f"{layout.INDEX}/")}


def _reader(vault: Vault, avoid: Iterable[str]) -> BlobReader:
    return BlobReader(vault, blob_index.load_places(replace(vault, pending_deletes=frozenset(avoid))))


def _check_scan_age(vault: Vault, began: tuple[float, float]) -> None:
    """Raises BusyError where the scan is older than half the grace period: a run may have been sealed since.

    Without a grace period, in an emergency prune, nothing else runs: the scan stays valid.
    """
    if not vault.config.grace:
        return
    # two clocks: one stands still while the machine sleeps, the other one may be set back
    passed = max(time.monotonic() - began[0], time.time() - began[1])
    if passed > vault.config.grace.total_seconds() / 2:
        raise BusyError("aborted: the scan is older than half the grace period", hint="run prune again")


def _delete(
    vault: Vault, outcome: PruneOutcome, names: Iterable[str], state: VaultState | None = None
) -> None:
    for name in names:
        vault.delete(name)
        outcome.deleted[name.partition("/")[0]] += 1
        outcome.deleted_bytes += state.objects[name].size if state else 0


def _close_marks(vault: Vault, state: VaultState, settled: set[str]) -> None:
    """Delete the marks whose grace period is over and whose objects are all deleted or spared.

    A damaged pack stays marked while it is in the vault: writers must not rely on it.
    """
    for mark in state.marks:
        is_open = any(
            marked.name in state.objects
            and (marked.name not in settled or marked.reason.startswith(pending_deletes.DAMAGED))
            for marked in mark.mark.objects
        )
        # format 9.8: a young mark stays even if all of it is deleted, for a deleted name must not be reused
        # while a slower prune may still delete it
        if not is_open and state.now - mark.info.modified_at >= vault.config.grace:
            vault.delete(mark.info.name)


def _repack(
    vault: Vault, state: VaultState, packs: list[PlannedObject], outcome: PruneOutcome, progress: Progress
) -> None:
    """Copy the live blobs of packs to new ones, then mark the old ones."""
    if not packs:
        return
    progress.start("prune: repack", sum(pack.live_bytes for pack in packs))
    repacked = []
    reader = _reader(vault, [])
    # the marks are read again: this prune has just written some, and a new pack must not get a name from them
    with PackWriter(pending_deletes.for_writing(vault)) as writer:
        for pack in packs:
            unread = copy(reader, writer, state.usage.live_blobs(pack.name))
            progress.add(pack.live_bytes, 0)
            if unread:
                outcome.problems.append(f"kept {pack.name}: {len(unread)} needed blobs of it cannot be read")
            else:
                repacked.append(replace(pack, reason=f"repacked: {pack.reason}"))
        # format 6.1, 9.10: new packs and their index object are durable before the old packs are marked
        writer.finish()
    _mark(vault, repacked, outcome)
    outcome.repacked += len(repacked)
    outcome.repacked_bytes += sum(pack.live_bytes for pack in repacked)


def _compact(
    vault: Vault, state: VaultState, packs: Iterable[PlannedObject], deleted: set[str], outcome: PruneOutcome
) -> None:
    """Rewrite index objects, several to one and without packs that are gone; then mark the old ones."""
    old_names = compactable(state, packs)
    existing_packs = {count.info.name for count in state.usage.packs} - deleted
    # again with the marks of this prune: repacked packs, and names that it has just deleted
    writing = pending_deletes.for_writing(vault)
    new_names: set[str] = set()
    pending_rows: list[IndexRows] = []

    def write() -> None:
        new_names.update(index_objects.write(writing, IndexRows.joined(pending_rows)))
        pending_rows.clear()

    for name in old_names:
        rows = IndexRows.read(vault.read(name))
        gone_packs = state.index.objects[name].packs - existing_packs
        if gone_packs:
            rows = rows.without(filter(None, map(layout.named_digest, gone_packs)))
        if sum(map(len, pending_rows)) + len(rows) > index.ROWS:
            write()
        pending_rows.append(rows)
    write()
    compacted = [
        PlannedObject(name, state.objects[name].size, PruneAction.MARK, "compacted into another")
        for name in old_names
        # the same rows have the same name: such an object is not replaced
        if name not in new_names
    ]
    _mark(vault, compacted, outcome)


def _mark(vault: Vault, to_mark: list[PlannedObject], outcome: PruneOutcome) -> None:
    pending_deletes.write(
        vault, [PendingDelete(name=planned.name, reason=planned.reason) for planned in to_mark]
    )
    outcome.marked += len(to_mark)
    outcome.marked_bytes += sum(planned.size for planned in to_mark)

"""Erase: removes files from all snapshots, and their bytes from the vault, without a grace period.

Snapshots are rewritten without the files, one after the other: at any moment each is there, as it was or as
it will be. Only then bytes are deleted, and only while no backup is in progress. The old tables are deleted
last: they record what is to be erased, so that erasing again finishes what an interruption left.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from pachvault.errors import BusyError, DamageError, PachvaultError
from pachvault.format import documents, layout
from pachvault.format.digests import SortedDigests
from pachvault.format.maintenance_documents import PendingDelete, Pin
from pachvault.maintenance import pins, reserve
from pachvault.maintenance.erase import erase_packs
from pachvault.maintenance.erase.erase_plan import ErasePlan
from pachvault.maintenance.erase.erase_plan import plan as make_plan
from pachvault.maintenance.erase.snapshot_rewriter import Rewriter
from pachvault.runtime.progress import Progress
from pachvault.vault import clock, pending_deletes
from pachvault.vault.index import blob_index
from pachvault.vault.packs import read_any_toc
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault

_REASON = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What was done."""

    renamed: dict[str, str]
    """Snapshots that were rewritten: old id to new."""
    blobs: int
    """Blobs that were erased."""
    packs: list[str]
    """Packs that were deleted."""
    bytes: int
    """By how much the packs are smaller together."""
    unreadable: list[str]
    """Packs whose content cannot be determined."""


@dataclass(slots=True)
class _Rewritten:
    """What is rewritten so far: kept when erasing begins again with the reserve."""

    renamed: dict[str, str] = field(default_factory=dict)
    """Snapshots, old id to new."""
    objects: set[str] = field(default_factory=set)
    """Records and commit lists that new ones replace."""


def execute(plan: ErasePlan, progress: Progress) -> Erasure:
    """Carry a plan out, and check the result. Uses the reserve where the target is full.

    Raises BusyError while a backup is in progress: then nothing was deleted but manifests that new ones
    replace. DamageError where what is to stay cannot be read.
    """
    rewritten = _Rewritten()

    def attempt(is_repeated: bool) -> Erasure:
        current = make_plan(plan.vault, plan.selection, progress) if is_repeated else plan
        return _execute(current, rewritten, progress)

    return reserve.used(plan.vault, attempt)


def _execute(plan: ErasePlan, rewritten: _Rewritten, progress: Progress) -> Erasure:
    vault = plan.vault
    clocks = clock.read(vault)
    check_nobody_writes(vault, clocks.earlier)
    to_be_deleted = {*plan.packs, *(layout.table_path(name) for name in plan.tables)}
    writing = pending_deletes.for_writing(vault)
    # a new object must not get the name of one that is deleted at the end (format 3.7)
    writing = replace(writing, pending_deletes=writing.pending_deletes | to_be_deleted)
    _rewrite(plan, writing, clocks.store, rewritten, progress)
    # planned again: includes what was sealed meanwhile, and what an earlier erasure left
    left = make_plan(vault, plan.selection, progress)
    if left.snapshots or left.superseded:
        raise BusyError("a snapshot was sealed meanwhile", where=vault.store.url, hint="erase again")
    # a record that a snapshot outside the selection still needs stays
    old_objects = sorted((rewritten.objects | _tables(left)) - left.reached)
    # before the second look for runs: one that announces itself later has to read these marks (format 9.5),
    # one that did so earlier is found by the look
    _mark(vault, [*left.packs, *old_objects])
    try:
        check_nobody_writes(vault, clocks.earlier)
    except BusyError as busy:
        busy.what += "; the snapshots are rewritten already, the bytes are still there"
        raise
    before, after = left.pack_bytes, erase_packs.repack(left, writing, progress)
    erase_packs.drop_traces(vault, plan.selection)
    # format 9.11: last. The old tables are what a second erase finds the erased files by
    for name in old_objects:
        vault.delete(name)
    # temporary files of aborted writes may hold erased bytes
    vault.sweep(clocks.store)
    _check(left, progress)
    return Erasure(
        renamed=rewritten.renamed,
        blobs=len(left.gone),
        packs=left.packs,
        bytes=before - after,
        unreadable=left.unreadable,
    )


def check_nobody_writes(vault: Vault, now: datetime) -> None:
    """BusyError while a backup is announced that could still be sealed with what is about to be deleted."""
    for info in vault.objects(layout.RUNS, layout.Kind.ANNOUNCEMENT):
        run = layout.subject_of(info.name)
        until = info.modified_at + vault.config.grace / 2
        if now < until:
            raise BusyError(
                f"backup {run} is in progress since {info.modified_at:%Y-%m-%d %H:%M} UTC",
                where=vault.store.url,
                hint=f"erase again once it has sealed; if it has died, from {until:%Y-%m-%d %H:%M} UTC on, "
                f"or at once if you delete {info.name}, without which it can never be sealed",
            )


def _rewrite(
    plan: ErasePlan, writing: Vault, now: datetime, rewritten: _Rewritten, progress: Progress
) -> None:
    """Replace the old snapshots by new ones."""
    progress.start("erase: snapshots", 0)
    rewriter = Rewriter(writing, plan.selection, frozenset(plan.tables), now)
    for old, new in plan.superseded:
        _replace(plan.vault, old, new)
        rewritten.renamed[old.id] = new.id
    try:
        for affected in plan.snapshots:
            new = rewriter.rewrite(affected)
            _replace(plan.vault, affected.name, new)
            rewritten.renamed[affected.name.id] = new.id
    finally:
        rewritten.objects |= rewriter.replaced


def _replace(vault: Vault, old: SnapshotName, new: SnapshotName) -> None:
    """Delete the old manifest. The new one is there, and gets its pin first."""
    pin = pins.load(vault).get(old.id)
    if pin is not None:
        if not pins.is_pinned(vault, new.id):
            data = documents.encode(Pin(snapshot=new.id, pinned_at=pin.pinned_at, reason=pin.reason))
            vault.store.put(layout.pin_path(new.id), [data], len(data))
        pins.unpin(vault, old.id)  # before the manifest: a pin without its snapshot is damage
    vault.delete(old.path)


def _tables(left: ErasePlan) -> set[str]:
    return {layout.table_path(name) for name in left.tables}


def _mark(vault: Vault, names: list[str]) -> None:
    """List these as pending deletes: writers that begin from here on do not rely on them."""
    marked = pending_deletes.for_writing(vault).pending_deletes
    new = [name for name in names if name not in marked]
    if new:
        pending_deletes.write(vault, [PendingDelete(name=name, reason=_REASON) for name in new])


def _check(left: ErasePlan, progress: Progress) -> None:
    """PachvaultError where anything of what was to be erased is still there."""
    vault = left.vault
    if not make_plan(vault, left.selection, progress).is_empty:
        raise PachvaultError("there is still something to erase", where=vault.store.url, hint="erase again")
    erased = SortedDigests(left.gone)
    packs = [info.name for info in vault.objects(layout.PACKS) if _holds(vault, info.name, info.size, erased)]
    if packs or erased.has(blob_index.all_rows(vault, ()).digests).any():
        raise PachvaultError(
            f"what was erased is still in {', '.join(packs) or 'the index'}",
            where=vault.store.url,
            hint="erase again",
        )


def _holds(vault: Vault, name: str, size: int, blobs: SortedDigests) -> bool:
    try:
        content = read_any_toc(vault, name, size)[1].blobs["digest"]
    except DamageError:
        return False  # no reader gets a blob from it; the plan has named it
    return bool(blobs.has(content).any())

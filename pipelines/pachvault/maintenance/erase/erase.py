"""Erase: files out of all snapshots, and their bytes out of the vault, at once.

Snapshots are written anew without them, one after the other: at any moment each is there as it was or as
it will be. Only then bytes are deleted, and only while nobody backs up. What is left of the old snapshots
says what was to go until all of it has gone: so erasing again finishes what an interruption left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pachvault.errors import BusyError, DamageError, PachvaultError
from pachvault.format import documents, layout
from pachvault.format.digests import SortedDigests
from pachvault.format.maintenance_documents import PendingDelete, Pin
from pachvault.maintenance import pins
from pachvault.maintenance.erase import erase_packs
from pachvault.maintenance.erase.erase_plan import ErasePlan
from pachvault.maintenance.erase.erase_plan import plan as look
from pachvault.maintenance.erase.snapshot_rewriter import Rewriter
from pachvault.runtime.progress import Progress
from pachvault.vault import blob_index, clock, pending_deletes
from pachvault.vault.packs import read_any_toc
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault

_REASON = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What was done."""

    renamed: dict[str, str]
    """Snapshots that were written anew: old id to new."""
    blobs: int
    """Blobs that are gone."""
    packs: list[str]
    """Packs that are gone."""
    bytes: int
    """By how much the packs are smaller together."""
    unreadable: list[str]
    """Packs of which nobody can say what they hold."""


def execute(plan: ErasePlan, progress: Progress) -> Erasure:
    """Carry a plan out, and see that it is so.

    Raises BusyError while a backup is under way: nothing was deleted then but manifests that new ones stand
    for. DamageError where what is to stay cannot be read.
    """
    vault = plan.vault
    clocks = clock.read(vault)
    check_nobody_writes(vault, clocks.earlier)
    doomed = {*plan.packs, *(layout.table_path(name) for name in plan.tables)}
    writing = pending_deletes.for_writing(vault)
    writing = replace(writing, pending_deletes=writing.pending_deletes | doomed)
    renamed, replaced = _rewrite(plan, writing, clocks.store, progress)
    # what is there now says what goes: what was sealed meanwhile, and what an earlier erasure left
    left = look(vault, plan.selection, progress)
    if left.snapshots or left.superseded:
        raise BusyError("a snapshot was sealed meanwhile", where=vault.store.url, hint="erase again")
    old_objects = sorted((replaced | _tables(left)) - left.reached)
    _mark(vault, [*left.packs, *old_objects])
    try:
        check_nobody_writes(vault, clocks.earlier)
    except BusyError as busy:
        busy.what += "; the snapshots are written anew already, the bytes are still there"
        raise
    before, after = left.pack_bytes, erase_packs.repack(left, writing, progress)
    erase_packs.drop_traces(vault, plan.selection)
    for name in old_objects:
        vault.delete(name)
    vault.sweep(clocks.store)
    _check(left, progress)
    return Erasure(
        renamed=renamed,
        blobs=len(left.gone),
        packs=left.packs,
        bytes=before - after,
        unreadable=left.unreadable,
    )


def check_nobody_writes(vault: Vault, now: datetime) -> None:
    """BusyError while a backup is announced that could still seal what is about to be deleted."""
    for info in vault.objects(layout.RUNS, layout.Kind.ANNOUNCEMENT):
        run = layout.subject_of(info.name)
        until = info.modified_at + vault.config.grace / 2
        if now < until:
            raise BusyError(
                f"backup {run} is under way since {info.modified_at:%Y-%m-%d %H:%M} UTC",
                where=vault.store.url,
                hint=f"erase again once it has sealed; if it has died, from {until:%Y-%m-%d %H:%M} UTC on, "
                f"or at once if you delete {info.name}, without which it can never be sealed",
            )


def _rewrite(
    plan: ErasePlan, writing: Vault, now: datetime, progress: Progress
) -> tuple[dict[str, str], set[str]]:
    """New snapshots in place of the old ones; old id to new, and the objects that new ones stand for."""
    progress.start("erase: snapshots", 0)
    rewriter = Rewriter(writing, plan.selection, frozenset(plan.tables), now)
    renamed = {old.id: new.id for old, new in plan.superseded}
    for old, new in plan.superseded:
        _replace(plan.vault, old, new)
    for hit in plan.snapshots:
        new = rewriter.rewrite(hit)
        _replace(plan.vault, hit.name, new)
        renamed[hit.name.id] = new.id
    return renamed, rewriter.replaced


def _replace(vault: Vault, old: SnapshotName, new: SnapshotName) -> None:
    """Delete the old manifest; its pin goes to the new one, which is there."""
    pin = pins.load(vault).get(old.id)
    if pin is not None and not pins.is_pinned(vault, new.id):
        data = documents.encode(Pin(snapshot=new.id, pinned_at=pin.pinned_at, reason=pin.reason))
        vault.store.put(layout.pin_path(new.id), [data], len(data))
    vault.delete(old.path)
    if pin is not None:
        pins.unpin(vault, old.id)


def _tables(left: ErasePlan) -> set[str]:
    return {layout.table_path(name) for name in left.tables}


def _mark(vault: Vault, names: list[str]) -> None:
    """Who begins to write from here on keeps away from what goes."""
    marked = pending_deletes.for_writing(vault).pending_deletes
    new = [name for name in names if name not in marked]
    if new:
        pending_deletes.write(vault, [PendingDelete(name=name, reason=_REASON) for name in new])


def _check(left: ErasePlan, progress: Progress) -> None:
    """PachvaultError where anything of what was to go is still there."""
    vault = left.vault
    again = look(vault, left.selection, progress)
    if not again.is_empty:
        raise PachvaultError("there is still something to erase", where=vault.store.url, hint="erase again")
    gone = SortedDigests(left.gone)
    still = [info.name for info in vault.objects(layout.PACKS) if _holds(vault, info.name, info.size, gone)]
    if still or gone.has(blob_index.all_rows(vault, ()).digests).any():
        raise PachvaultError(
            f"what was erased is still in {', '.join(still) or 'the index'}",
            where=vault.store.url,
            hint="erase again",
        )


def _holds(vault: Vault, name: str, size: int, gone: SortedDigests) -> bool:
    try:
        held = read_any_toc(vault, name, size)[1].blobs["digest"]
    except DamageError:
        return False  # no reader finds a blob in it; the plan has named it
    return bool(gone.has(held).any())

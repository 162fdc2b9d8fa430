"""Repair: rebuild damaged objects from intact ones, and report exactly what stays lost.

A repair writes new objects and reads them back. It removes an index object, a `vault.json` or a damaged
table only when what replaces it can be written. It deletes no packs: it lists damaged ones as pending
deletes, so that writers do not rely on them and prune deletes them after the grace period. A repair may
be repeated, killed, and run twice at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pachvault.errors import BusyError, DamageError
from pachvault.format import digests, documents, layout
from pachvault.format.ids import digest
from pachvault.format.maintenance_documents import Audit, AuditEntry, PendingDelete
from pachvault.format.pack import split_digests
from pachvault.maintenance import pins
from pachvault.maintenance.blob_copy import copy, in_order
from pachvault.maintenance.readback import read_back
from pachvault.maintenance.repair import repair_config, vault_rebuild
from pachvault.maintenance.repair.overlay_store import OverlayStore
from pachvault.maintenance.repair.repair_config import Rebuilt
from pachvault.maintenance.repair.repair_needs import LostFile, LostObject, RepairNeeds, needs
from pachvault.maintenance.repair.repair_packs import PackSurvey, survey
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.checks import verify_documents
from pachvault.maintenance.verify.verify import Level
from pachvault.runtime.progress import Progress
from pachvault.store.store import Store, object_url
from pachvault.vault import pending_deletes
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import index_objects
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.vault import Vault

_NAMED = 1000
"""Lost files that such an audit names."""

Heal = Callable[[Sequence[LostFile], PackWriter], None]
"""Looks for the lost blobs of files in the cluster, and adds those that are there to the writer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairPlan:
    """What is damaged, and with that what a repair does."""

    vault: Vault
    config: Rebuilt | None
    """The configuration to be written, where `vault.json` is lost."""
    packs: PackSurvey
    rebuilt: OverlayStore
    """The tables and commit lists that are lost and can be made again, over the vault's store."""
    needs: RepairNeeds
    """With the rebuilt objects in place."""
    unindexed: int
    """Blobs in packs that no index object places."""
    pending_deletes: frozenset[str]
    """Objects that are listed as pending deletes already: nothing is written under their names."""
    documents: dict[str, str]
    """Marks, pins, audits, and documents of runs, that cannot be read, and what is wrong with them."""

    @property
    def reader(self) -> Vault:
        """The vault with the rebuilt objects in place, for reading."""
        return replace(self.vault, store=self.rebuilt)

    @property
    def marked(self) -> frozenset[str]:
        """The damaged packs that are pending deletes already."""
        return self.pending_deletes & self.packs.damaged.keys()

    @property
    def replaced(self) -> list[str]:
        """The index objects that cannot be read, or place blobs where they are not."""
        return sorted({*self.packs.unreadable, *self.packs.false_rows})

    @property
    def is_intact(self) -> bool:
        """Whether there is nothing to repair, and nothing lost.

        The index may still place blobs in packs that are missing and that nobody needs: prune leaves it so.
        """
        damaged = self.packs.damaged.keys() - self.marked
        is_index_wrong = self.unindexed or self.packs.unreadable or self.packs.contradicted
        is_wrong = self.config is not None or is_index_wrong or damaged or self.documents
        is_lost = self.rebuilt.names or self.needs.lost_files or self.needs.lost_objects
        return not (is_wrong or is_lost or self.needs.copies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair did, and what stays lost."""

    config: Rebuilt | None
    """The configuration that was written."""
    rebuilt: list[str]
    """File tables and commit lists that were made again."""
    copied: int
    """Blobs that were copied out of damaged packs."""
    healed: int
    """Lost blobs that the cluster still had."""
    indexed: int
    """Blobs that were added to the index."""
    marked: list[str]
    """Damaged packs that are pending deletes now."""
    removed: list[str]
    """Unreadable marks, audits and run records that were deleted, and pins that were rewritten."""
    lost_files: list[LostFile]
    """Files that stay lost."""
    lost_objects: list[LostObject]
    """Objects that stay lost."""

    @property
    def is_intact(self) -> bool:
        """Whether nothing is lost any more."""
        return not self.lost_files and not self.lost_objects


def plan(store: Store, level: Level, progress: Progress) -> RepairPlan:
    """Look at everything; nothing is changed."""
    vault, config = repair_config.open_or_rebuild(store)
    packs = survey(vault, level, progress)
    overlay = OverlayStore(store)
    repair_plan = RepairPlan(
        vault=vault,
        config=config,
        packs=packs,
        rebuilt=overlay,
        needs=needs(vault, packs),
        unindexed=len(packs.unplaced),
        pending_deletes=pending_deletes.for_writing(vault).pending_deletes,
        documents={
            damage.object: damage.message
            for damage in verify_documents.check(vault)
            if damage.is_degraded and damage.is_read
        },
    )
    while True:  # what a rebuilt commit list names may be lost, too
        before = len(overlay.names)
        objects = vault_rebuild.rebuild(repair_plan.reader, repair_plan.needs)
        repair_plan = with_rebuilt(repair_plan, objects)
        if len(overlay.names) == before:
            return repair_plan


def with_rebuilt(plan: RepairPlan, objects: Iterable[tuple[str, bytes]]) -> RepairPlan:
    """The plan with more objects, by name and bytes, that can be made again, and what is lost besides."""
    before = len(plan.rebuilt.names)
    for name, data in objects:
        if name not in plan.pending_deletes:
            plan.rebuilt.put(name, [data], len(data))
    if len(plan.rebuilt.names) == before:
        return plan
    return replace(plan, needs=needs(plan.reader, plan.packs))


def execute(plan: RepairPlan, heal: Heal | None, progress: Progress) -> Repaired:
    """Carry a plan out; without `heal` from the vault alone."""
    # again: a prune may have marked, since the plan, what is about to be written
    writing = pending_deletes.for_writing(plan.vault)
    marked_since = writing.pending_deletes.intersection(plan.rebuilt.names)
    # format 9.10: nothing is written under the name of a pending delete, for prune would delete it
    if marked_since:
        what = "a lost object was listed as a pending delete meanwhile"
        raise BusyError(what, where=object_url(plan.vault.store.url, min(marked_since)), hint="repair again")
    # first: every other command refuses a vault without it
    if plan.config is not None:
        repair_config.write(plan.vault)
    for name in plan.rebuilt.names:
        _write_rebuilt(plan.vault, name, plan.rebuilt.get(name))
    damaged = frozenset(plan.packs.damaged)
    # do not write under the name of a damaged object: it will be deleted
    writing = replace(writing, pending_deletes=writing.pending_deletes | damaged | set(plan.replaced))
    progress.start("repair: blobs", 0)
    with PackWriter(writing) as writer:
        copies = in_order(plan.packs.damaged_places, digests.of(plan.needs.copies))
        unread = copy(BlobReader(plan.vault, plan.packs.damaged_places), writer, copies)
        if heal is not None and plan.needs.lost_files:
            heal(plan.needs.lost_files, writer)
        written = writer.finish()
    # format 9.10: what was written is read back before anything is deleted or marked
    stored = frozenset(split_digests(read_back(plan.vault, written)))
    lost = plan.needs.lost_blobs
    still_lost = (lost | set(unread)) - stored
    # before the damaged packs are marked: a writer that avoids them then finds the copies in the index
    indexed = _index(plan, writing, still_lost)
    marked = sorted(damaged - plan.marked)
    if marked:
        pending_deletes.write(
            writing,
            [
                PendingDelete(name=name, reason=f"{pending_deletes.DAMAGED}{plan.packs.damaged[name]}")
                for name in marked
            ],
        )
    for name in plan.documents:
        if name.startswith(f"{layout.PINS}/"):
            pins.renew(plan.vault, name)
        else:
            plan.vault.delete(name)
    lost_files = [file for file in plan.needs.lost_files if still_lost.intersection(file.blobs)]
    _audit(plan, lost_files)
    return Repaired(
        config=plan.config,
        rebuilt=plan.rebuilt.names,
        copied=len(copies) - len(unread),
        healed=len(lost & stored),
        indexed=indexed,
        marked=marked,
        removed=sorted(plan.documents),
        lost_files=lost_files,
        lost_objects=plan.needs.lost_objects,
    )


def _write_rebuilt(vault: Vault, name: str, data: bytes) -> None:
    """Write an object that is named by its digest. A corrupt one of that name is removed first."""
    try:
        # a second repair, or a backup, may have written it meanwhile: an intact one stays
        vault.read(name)
    except DamageError:
        if digest(data) != layout.named_digest(name):
            raise  # format 9.10: nothing is deleted for bytes of another digest
        vault.delete(name)
        vault.store.put(name, [data], len(data))
        vault.read(name)


def _index(plan: RepairPlan, vault: Vault, still_lost: set[bytes]) -> int:
    """Write what the index lacks, and remove the objects that are wrong; how many blobs were added."""
    packs = plan.packs
    replaced = set(packs.unreadable)
    for name, missing in packs.false_rows.items():
        # a pack that is missing may come back: its places are kept as long as something of it is lost
        if not any(still_lost & packs.placed_in(pack) for pack in missing):
            replaced.add(name)
    # written and read back before the old ones are deleted; in between both are there, which format 6.2
    # allows
    index_objects.write(vault, packs.rows_without(replaced))
    for name in sorted(replaced):
        vault.delete(name)
    return len(packs.unplaced)


def _audit(plan: RepairPlan, lost_files: Sequence[LostFile]) -> None:
    """Write an audit of what stays lost, unless the newest audit is equal.

    No audit counts as nothing lost.
    """
    objects = [*_audited_objects(plan.needs.lost_objects), *_audited_files(lost_files)]
    newest = [stored.audit.objects for stored in audits.last(audits.load(plan.vault), audits.REPAIR)]
    # a repair that runs on a schedule would else write the same audit each time
    if all(recorded == objects for recorded in newest or [[]]):
        return
    audit = Audit(audited_at=datetime.now(UTC), level=audits.REPAIR, objects=objects)
    data = documents.encode(audit)
    path = layout.stamped_path(layout.AUDITS, audit.audited_at, digest(data))
    plan.vault.store.put(path, [data], len(data))


def _audited_objects(lost_objects: Sequence[LostObject]) -> Iterator[AuditEntry]:
    for lost in lost_objects:
        affected = ", ".join(lost.snapshots) or "no snapshot"
        message = f"{lost.message}; lost in {affected}: {'; '.join(lost.what)}"
        yield AuditEntry(name=lost.object, result="damaged", message=message)


def _audited_files(lost_files: Sequence[LostFile]) -> Iterator[AuditEntry]:
    for file in lost_files[:_NAMED]:
        yield AuditEntry(name=str(file), result="damaged", message=f"{len(file.blobs)} blobs are lost")
    if len(lost_files) > _NAMED:
        more = len(lost_files) - _NAMED
        yield AuditEntry(name="and more files", result="damaged", message=f"{more} more are lost")

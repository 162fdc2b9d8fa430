"""Repair: what can be made whole again is written anew; what is lost is said exactly.

A repair writes new objects, reads them back, and removes an index object or a `vault.json` only when
what replaces it is there. Packs it does not delete: damaged ones are marked, so that writers keep away
from them and prune takes them after the grace. It may be repeated, killed and run twice at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pachvault.format import digests, documents, layout
from pachvault.format.ids import digest
from pachvault.format.maintenance_documents import Audit, AuditEntry, PendingDelete
from pachvault.format.pack import split_digests
from pachvault.maintenance import pins
from pachvault.maintenance.blob_copy import copy, in_order
from pachvault.maintenance.readback import read_back
from pachvault.maintenance.repair import repair_config
from pachvault.maintenance.repair.repair_config import Rebuilt
from pachvault.maintenance.repair.repair_needs import LostFile, LostObject, RepairNeeds, needs
from pachvault.maintenance.repair.repair_packs import PackSurvey, survey
from pachvault.maintenance.verify import audits, verify_documents
from pachvault.maintenance.verify.verify import Level
from pachvault.runtime.progress import Progress
from pachvault.store.store import Store
from pachvault.vault import index_objects, pending_deletes
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.vault import Vault

LEVEL = "repair"
"""Of the audits that say what a repair left lost."""
_NAMED = 1000
"""Lost files that an audit names, of each snapshot's damage."""

Heal = Callable[[Sequence[LostFile], PackWriter], None]
"""Looks for the lost blobs of files where they came from, and adds those it finds to the writer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairPlan:
    """What was found, and with that what a repair does."""

    vault: Vault
    config: Rebuilt | None
    """The configuration to be written, where `vault.json` is lost."""
    packs: PackSurvey
    needs: RepairNeeds
    unindexed: int
    """Blobs in packs that no index object places."""
    marked: frozenset[str]
    """Damaged packs that are marked already."""
    documents: dict[str, str]
    """Marks, pins, audits, and what runs left, that do not read, and what is wrong with them."""

    @property
    def replaced(self) -> list[str]:
        """The index objects that cannot be read, or place blobs where they are not."""
        return sorted({*self.packs.unreadable, *self.packs.gone})

    @property
    def is_whole(self) -> bool:
        """Whether there is nothing to repair, and nothing lost.

        Packs that are gone and that nobody needs may be in the index still: prune leaves it so.
        """
        damaged = self.packs.damaged.keys() - self.marked
        is_index_wrong = self.unindexed or self.packs.unreadable or self.packs.wrong
        is_wrong = self.config is not None or is_index_wrong or damaged or self.documents
        return not (is_wrong or self.needs.copies or self.needs.wants or self.needs.losses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair did, and what it could not do."""

    config: Rebuilt | None
    """The configuration that was written anew."""
    copied: int
    """Blobs saved out of damaged packs."""
    healed: int
    """Blobs found again where they came from."""
    indexed: int
    """Blobs that the index places again."""
    marked: list[str]
    """Damaged packs, given over to prune."""
    removed: list[str]
    """Marks, audits, and what runs left, that did not read; pins, which were made anew."""
    lost: list[LostFile]
    """Files that stay lost."""
    losses: list[LostObject]
    """Objects that stay lost."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost any more."""
        return not self.lost and not self.losses


def plan(store: Store, level: Level, progress: Progress) -> RepairPlan:
    """Look at everything; nothing is changed."""
    vault, config = repair_config.open_or_rebuild(store)
    packs = survey(vault, level, progress)
    return RepairPlan(
        vault=vault,
        config=config,
        packs=packs,
        needs=needs(vault, packs),
        unindexed=len(packs.unplaced),
        marked=pending_deletes.for_writing(vault).pending_deletes & packs.damaged.keys(),
        documents={
            damage.object: damage.message
            for damage in verify_documents.check(vault)
            if damage.is_degraded and damage.is_read
        },
    )


def execute(plan: RepairPlan, heal: Heal | None, progress: Progress) -> Repaired:
    """Carry a plan out; without `heal` with what the vault itself has."""
    if plan.config is not None:
        repair_config.write(plan.vault)
    damaged = frozenset(plan.packs.damaged)
    # a name that damage holds is not written under: it will be deleted
    writing = pending_deletes.for_writing(plan.vault)
    writing = replace(writing, pending_deletes=writing.pending_deletes | damaged | set(plan.replaced))
    progress.start("repair: blobs", 0)
    lost = plan.needs.lost
    with PackWriter(writing) as writer:
        copies = in_order(plan.packs.hurt, digests.of(plan.needs.copies))
        unread = copy(BlobReader(plan.vault, plan.packs.hurt), writer, copies)
        if heal is not None and plan.needs.wants:
            heal(plan.needs.wants, writer)
        written = writer.finish()
    found = frozenset(split_digests(read_back(plan.vault, written)))
    still_lost = (lost | set(unread)) - found
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
    remaining = _remaining(plan.needs.wants, still_lost)
    _audit(plan, remaining)
    return Repaired(
        config=plan.config,
        copied=len(copies) - len(unread),
        healed=len(lost & found),
        indexed=indexed,
        marked=marked,
        removed=sorted(plan.documents),
        lost=remaining,
        losses=plan.needs.losses,
    )


def _index(plan: RepairPlan, vault: Vault, still_lost: set[bytes]) -> int:
    """Write what the index lacks, and remove the objects that are wrong; how many blobs were placed."""
    packs = plan.packs
    replaced = set(packs.unreadable)
    for name, missing in packs.gone.items():
        # a pack that is missing may come back: it is remembered as long as something of it is lost
        if not any(still_lost & packs.placed_in(pack) for pack in missing):
            replaced.add(name)
    index_objects.write(vault, packs.rows_without(replaced))
    for name in sorted(replaced):
        vault.delete(name)
    return len(packs.unplaced)


def _remaining(wants: Sequence[LostFile], lost: set[bytes]) -> list[LostFile]:
    return [want for want in wants if lost.intersection(want.blobs)]


def _audit(plan: RepairPlan, lost: Sequence[LostFile]) -> None:
    """Record what stays lost, unless the newest record says just that; nothing is what no record says."""
    objects = [*_audited_losses(plan.needs.losses), *_audited_files(lost)]
    newest = [each.audit.objects for each in audits.last(audits.load(plan.vault), LEVEL)]
    if all(each == objects for each in newest or [[]]):
        return
    audit = Audit(audited_at=datetime.now(UTC), level=LEVEL, objects=objects)
    data = documents.encode(audit)
    path = layout.stamped_path(layout.AUDITS, audit.audited_at, digest(data))
    plan.vault.store.put(path, [data], len(data))


def _audited_losses(losses: Sequence[LostObject]) -> Iterator[AuditEntry]:
    for loss in losses:
        hit = ", ".join(loss.snapshots) or "no snapshot"
        message = f"{loss.message}; lost in {hit}: {'; '.join(loss.what)}"
        yield AuditEntry(name=loss.object, result="damaged", message=message)


def _audited_files(lost: Sequence[LostFile]) -> Iterator[AuditEntry]:
    for want in lost[:_NAMED]:
        yield AuditEntry(name=str(want), result="damaged", message=f"{len(want.blobs)} blobs are lost")
    if len(lost) > _NAMED:
        more = len(lost) - _NAMED
        yield AuditEntry(name="and more files", result="damaged", message=f"{more} more are lost")

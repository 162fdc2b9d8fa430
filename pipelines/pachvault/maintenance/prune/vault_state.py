"""What prune plans from: the objects of a vault, which are referenced, and since when they are marked.

Facts only: `prune_plan` decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pachvault.errors import AbsentError
from pachvault.format import digests, layout
from pachvault.maintenance.prune import receipt_references
from pachvault.maintenance.prune.pack_usage import PackUsage
from pachvault.maintenance.prune.prune_index import IndexContents
from pachvault.maintenance.prune.reachability import Reachability
from pachvault.store.store import ObjectInfo
from pachvault.vault import pending_deletes
from pachvault.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class VaultState:
    """The vault's objects as one scan lists them."""

    vault: Vault
    now: datetime
    """By the store's clock."""
    reachability: Reachability
    usage: PackUsage
    """Of packs by the snapshots."""
    usage_with_forgotten: PackUsage
    """Of packs by the snapshots and by the forgotten ones that can be brought back: what these use is not
    deleted."""
    index: IndexContents
    objects: dict[str, ObjectInfo]
    """Records, tables, index objects and packs, by name."""
    marks: list[pending_deletes.StoredMark]
    marked_at: dict[str, datetime] = field(default_factory=dict)
    """When each pending delete was marked first."""
    held_until: dict[str, datetime] = field(default_factory=dict)
    """Until when the receipt of a run that may be resumed references an object."""
    last_forgotten_at: datetime | None = None

    @classmethod
    def scan(
        cls, vault: Vault, now: datetime, reachability: Reachability, previous: VaultState | None = None
    ) -> VaultState:
        """List the vault. Call it after `reachability` was computed: all that it names must be there then.

        Raises AbsentError where a needed blob is in no pack. Objects of the index that a previous state has
        read are not read again.
        """
        marks = pending_deletes.load(vault)
        # marks are sorted by age: the oldest one of an object is set last, and counts
        marked_at = {
            marked.name: mark.info.modified_at for mark in reversed(marks) for marked in mark.mark.objects
        }
        index = previous.index if previous else IndexContents.read(vault, frozenset(marked_at))
        index_infos = {info.name: info for info in vault.objects(layout.INDEX)}
        # also if only the marks changed: of a marked index object only the packs were read
        if index.objects.keys() != index_infos.keys() or index.marked != marked_at.keys():
            index = IndexContents.read(vault, frozenset(marked_at))
        packs = list(vault.objects(layout.PACKS))
        current_blobs = reachability.current.blobs()
        usage = PackUsage(index.places, packs, current_blobs, marked_at.keys())
        # the graph is damaged, or the index incomplete: other packs may hold the blobs without an index
        # object, and would look unreferenced
        if usage.missing_count:
            raise AbsentError(
                f"{usage.missing_count} needed blobs are in no pack: nothing is deleted",
                where=vault.store.url,
                hint="`pachvault verify` names the files, `pachvault repair` looks for them",
            )
        usage_with_forgotten = usage
        # a second usage doubles the memory for blobs, so it is made only where forgotten snapshots exist
        if reachability.forgotten.roots:
            blobs = digests.unique(digests.joined([current_blobs, reachability.forgotten.blobs()]))
            usage_with_forgotten = PackUsage(index.places, packs, blobs, marked_at.keys())
        documents = [info for folder in (layout.RECORDS, layout.TABLES) for info in vault.objects(folder)]
        return cls(
            vault,
            now,
            reachability,
            usage,
            usage_with_forgotten,
            index,
            index_infos | {info.name: info for info in [*documents, *packs]},
            marks,
            marked_at,
            receipt_references.held(vault, now),
            max((info.modified_at for info in vault.objects(layout.FORGOTTEN)), default=None),
        )

    def is_marked(self, name: str) -> bool:
        """Whether an object is a pending delete."""
        return name in self.marked_at

    def is_grace_over(self, name: str) -> bool:
        """Whether an object has been a pending delete for at least the grace period."""
        return self.is_marked(name) and self.now - self.marked_at[name] >= self.vault.config.grace

    def is_markable(self, name: str) -> bool:
        """Whether an object may be marked if nothing references it.

        It must be unmarked, in no kept receipt, and older than half the grace period: a run that wrote a
        younger object may not be sealed yet.
        """
        return not self.is_marked(name) and name not in self.held_until and self.now >= self.old_at(name)

    def old_at(self, name: str) -> datetime:
        """When an object is older than any run that can still be sealed."""
        return self.objects[name].modified_at + self.vault.config.grace / 2

    def deletable_at(self, name: str, *, is_in_forgotten: bool) -> datetime:
        """When a pending delete can be deleted.

        What a forgotten snapshot references waits until the last one of them can no longer be brought back.
        """
        begin = self.marked_at[name]
        if is_in_forgotten and self.last_forgotten_at is not None:
            begin = max(begin, self.last_forgotten_at)
        return begin + self.vault.config.grace

"""Verify: every reference resolves, every pack has its checksums, every blob its digest.

Findings are values and are all collected; one damage does not hide another, and what cannot be read is
a finding, too. Nothing is changed: to remember what was verified is for `audits`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pachvault.errors import UsageError
from pachvault.format import layout
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.maintenance.retrying_store import with_retries
from pachvault.maintenance.verify import (
    damage_impact,
    stray_objects,
    verify_documents,
    verify_packs,
    verify_structure,
    verify_tables,
)
from pachvault.maintenance.verify.findings import Damage, Finding, Severity, tried
from pachvault.maintenance.verify.verify_structure import Structure
from pachvault.runtime.progress import Progress
from pachvault.vault import pending_deletes, snapshots
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault


class Level(StrEnum):
    """How deep to look; each includes those before it."""

    STRUCTURE = "structure"
    PACKS = "packs"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class PackShare:
    """Part `number` of `count` of all packs: disjoint, all of them together, and a pack stays in its own."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> PackShare:
        """`3/30`, or UsageError."""
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        share = cls(int(found[1]), int(found[2])) if found else cls(0, 0)
        if not 1 <= share.number <= share.count:
            raise UsageError(f"not a share: {text!r}", hint="3/30 is the third of thirty")
        return share

    def holds(self, name: str) -> bool:
        """Whether an object, which is named by a digest, is in it."""
        digest = layout.named_digest(name) or bytes(8)
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification looked at, and what it found."""

    level: Level
    findings: list[Finding]
    snapshots: int
    audited: list[AuditEntry]
    """The structure, and each pack that was read or could not be."""
    packs_read: int
    packs_total: int
    bytes_read: int
    """Of packs."""
    seconds: float
    repeated: int
    """Reads that went well only when they were tried again."""


def verify(vault: Vault, level: Level, progress: Progress) -> list[Finding]:
    """Check a whole vault; what is wrong with it, in the order it was found."""
    return examine(vault, level, progress).findings


def examine(
    vault: Vault,
    level: Level,
    progress: Progress,
    *,
    snapshot: SnapshotName | None = None,
    share: PackShare | None = None,
    packs: Collection[str] | None = None,
) -> Verified:
    """Check a vault, or what one snapshot of it needs.

    Of the packs' bytes only those of `share`, or only those named by `packs`, where given; the structure is
    always checked whole.
    """
    began = time.monotonic()
    vault, store = with_retries(vault)
    progress.start("verify: structure", 0)
    # in this order: what is sealed or deleted meanwhile must not look like damage
    names, lost, strays = _names(vault, snapshot)
    structure = verify_structure.read_structure(vault, names)
    places, unindexed = verify_packs.load_index(vault)
    verify_tables.scan_tables(vault, structure, places)
    sizes, unlisted = _sizes(vault)
    structure.damages += lost
    damages = [*structure.damages, *strays, *unindexed, *unlisted]
    if not all(damage.is_read for damage in unindexed):
        # they may be in the part of the index that was not to be had
        damages = [_unknown(damage) if damage.kind == "blob-missing" else damage for damage in damages]
    short = list(verify_packs.against_listing(places, sizes)) if not unlisted else []
    damages += short
    marked, failed = tried(
        Damage(kind="listing", object=layout.MARKS),
        lambda: pending_deletes.for_writing(vault).pending_deletes,
    )
    damages += failed
    if snapshot is None:
        damages += verify_documents.check(vault)
    for name in marked or ():
        places.is_staying[places.in_pack(layout.named_digest(name))] = False
    chosen: dict[str, int] = {}
    read: dict[str, list[Damage]] = {}
    if level is not Level.STRUCTURE:
        wanted = sizes.keys() if packs is None else sizes.keys() & set(packs)
        wanted -= {damage.object for damage in short}
        if snapshot is not None:
            wanted &= places.needed_packs()
        if share is not None:
            wanted = {name for name in wanted if share.holds(name)}
        chosen = {name: sizes[name] for name in sorted(wanted)}
        progress.start(f"verify: {level}", sum(chosen.values()))
        for done in verify_packs.scrub(vault, chosen, places, is_decoded=level is Level.DATA):
            read[done.name] = done.damages
            damages += done.damages
            progress.add(chosen[done.name], 1)
    findings = damage_impact.judged(vault, structure, places, damages)
    # one that nobody needs was deleted before the index was compacted
    unneeded = {each.object for each in findings if each.severity is Severity.NOTE}
    short = [each for each in short if each.object not in unneeded]
    return Verified(
        level=level,
        findings=findings,
        snapshots=len(names),
        audited=[_whole(structure, snapshot), *_results(read, short)],
        packs_read=len(read),
        packs_total=len(sizes),
        bytes_read=sum(chosen.values()),
        seconds=time.monotonic() - began,
        repeated=store.repeated,
    )


def _names(
    vault: Vault, snapshot: SnapshotName | None
) -> tuple[list[SnapshotName], list[Damage], list[Damage]]:
    """The snapshots to look at; what keeps others from being found; what lies among them and is none."""
    if snapshot is not None:
        return [snapshot], [], []
    listing = Damage(kind="listing", object=layout.SNAPSHOTS)
    names, failed = tried(listing, lambda: snapshots.names(vault))
    if failed:
        return [], failed, []
    lost = stray_objects.misnamed(vault)
    return names or [], lost, stray_objects.strays(vault, {each.object for each in lost})


def _sizes(vault: Vault) -> tuple[dict[str, int], list[Damage]]:
    listing = Damage(kind="listing", object=layout.PACKS)
    sizes, failed = tried(listing, lambda: {info.name: info.size for info in vault.objects(layout.PACKS)})
    return sizes or {}, failed


def _unknown(damage: Damage) -> Damage:
    return replace(damage, is_read=False, kind="blob-unreadable")


def _whole(structure: Structure, snapshot: SnapshotName | None) -> AuditEntry:
    """A line for all that is above the packs."""
    bad = next((damage for damage in structure.damages if damage.is_read), None)
    what = bad or next(iter(structure.damages), None)
    return AuditEntry(
        name=snapshot.path if snapshot else "structure",
        result="damaged" if bad else "unreadable" if what else "ok",
        message=f"{what.object}: {what.message}" if what else "",
    )


def _results(read: Mapping[str, list[Damage]], short: list[Damage]) -> list[AuditEntry]:
    """A line for each pack that was looked at."""
    results = [AuditEntry(name=each.object, result="damaged", message=each.message) for each in short]
    for name, damages in read.items():
        is_damaged = any(damage.is_read for damage in damages)
        message = "; ".join(damage.message for damage in damages[:3])
        results.append(
            AuditEntry(
                name=name,
                result="damaged" if is_damaged else "unreadable" if damages else "ok",
                message=message,
            )
        )
    return results

"""Verify: every reference resolves, every pack has its checksums, every blob and every file its digest.

Findings are values, and all are collected: one damage does not hide another, and what cannot be read is a
finding, too. Nothing is changed; `audits` records what was verified.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pachvault.errors import UsageError
from pachvault.format import layout
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.maintenance.retrying_store import with_retries
from pachvault.maintenance.verify import damage_impact
from pachvault.maintenance.verify.checks import (
    stray_objects,
    verify_documents,
    verify_manifests,
    verify_packs,
    verify_structure,
    verify_tables,
)
from pachvault.maintenance.verify.checks.verify_files import check_files
from pachvault.maintenance.verify.checks.verify_structure import Structure
from pachvault.maintenance.verify.findings import Damage, Finding, Severity, tried
from pachvault.maintenance.verify.verify_places import CheckedPlaces
from pachvault.runtime.progress import Progress
from pachvault.vault import pending_deletes, snapshots
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault


class Level(StrEnum):
    """How much is checked; each level includes those before it."""

    STRUCTURE = "structure"
    PACKS = "packs"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class PackShare:
    """Part `number` of `count` of all packs. A pack is in one part only, and always in the same one."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> PackShare:
        """`3/30`, or UsageError."""
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        share = cls(int(match[1]), int(match[2])) if match else cls(0, 0)
        if not 1 <= share.number <= share.count:
            raise UsageError(f"not a share: {text!r}", hint="3/30 is the third of thirty")
        return share

    def holds(self, name: str) -> bool:
        """Whether a pack, by its path, is in the share."""
        # digests are spread evenly, so the shares are about equal, and no list of them is kept
        digest = layout.named_digest(name) or bytes(8)
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of a verification."""

    level: Level
    findings: list[Finding]
    snapshots: int
    audited: list[AuditEntry]
    """For the audit: the structure, and each pack that was read or could not be."""
    packs_read: int
    packs_total: int
    bytes_read: int
    """Of packs."""
    seconds: float
    repeated: int
    """Reads that succeeded only when they were tried again."""
    manifests: list[str] | None = None
    """Of a whole vault every manifest, forgotten ones included, as paths; None where one is missing."""


def verify(vault: Vault, level: Level, progress: Progress) -> list[Finding]:
    """Check a whole vault; the findings in the order in which they were made."""
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

    Of the packs' bytes only those of `share`, or only those of `packs`, where given; the structure is always
    checked completely.
    """
    began = time.monotonic()
    vault, store = with_retries(vault)
    progress.start("verify: structure", 0)
    # in this order: what is sealed or deleted meanwhile must not look like damage
    names, unnamed, strays = _names(vault, snapshot)
    structure = verify_structure.read_structure(vault, names)
    places, unindexed = verify_packs.load_index(vault)
    verify_tables.scan_tables(vault, structure, places)
    sizes, unlisted = _sizes(vault)
    structure.damages += unnamed
    damages = [*structure.damages, *strays, *unindexed, *unlisted]
    if not all(damage.is_read for damage in unindexed):
        # they may be in the part of the index that could not be read
        damages = [_unknown(damage) if damage.kind == "blob-missing" else damage for damage in damages]
    short = list(verify_packs.against_listing(places, sizes)) if not unlisted else []
    damages += [*short, *_note_pending_deletes(vault, places)]
    manifests: list[str] | None = None
    if snapshot is None:
        damages += verify_documents.check(vault)
        manifests = _check_manifests(vault, structure, damages, unnamed)
    by_pack: dict[str, list[Damage]] = {}
    chosen: dict[str, int] = {}
    if level is not Level.STRUCTURE:

        def is_chosen(name: str) -> bool:
            return (share is None or share.holds(name)) and (packs is None or name in packs)

        # a short pack is damage already; its TOC is at its end, and cannot be read
        readable = sizes.keys() - {damage.object for damage in short}
        if snapshot is not None:
            readable &= places.needed_packs()
        chosen = {name: sizes[name] for name in sorted(readable) if is_chosen(name)}
        damages += _read_packs(vault, level, chosen, places, by_pack, progress)
        if level is Level.DATA:
            progress.start("verify: files", 0)
            for wrong in check_files(vault, structure, places, is_chosen, progress):
                damages.append(wrong.damage)
                for name in wrong.packs:
                    by_pack.setdefault(name, []).append(wrong.damage)
    findings = damage_impact.findings(vault, structure, places, damages)
    # a pack that no snapshot needs was deleted before the index was compacted
    unneeded = {finding.object for finding in findings if finding.severity is Severity.NOTE}
    short = [damage for damage in short if damage.object not in unneeded]
    return Verified(
        level=level,
        findings=findings,
        snapshots=len(names),
        audited=[_structure_result(structure, snapshot), *_pack_results(by_pack, short)],
        packs_read=len(chosen),
        packs_total=len(sizes),
        bytes_read=sum(chosen.values()),
        seconds=time.monotonic() - began,
        repeated=store.repeated,
        manifests=manifests,
    )


def _names(
    vault: Vault, snapshot: SnapshotName | None
) -> tuple[list[SnapshotName], list[Damage], list[Damage]]:
    """The snapshots to check; manifests that cannot be listed or have a wrong name; stray objects."""
    if snapshot is not None:
        return [snapshot], [], []
    listing = Damage(kind="listing", object=layout.SNAPSHOTS)
    names, failed = tried(listing, lambda: snapshots.names(vault))
    if failed:
        return [], failed, []
    misnamed = stray_objects.misnamed(vault)
    return names or [], misnamed, stray_objects.strays(vault, {damage.object for damage in misnamed})


def _sizes(vault: Vault) -> tuple[dict[str, int], list[Damage]]:
    listing = Damage(kind="listing", object=layout.PACKS)
    sizes, failed = tried(listing, lambda: {info.name: info.size for info in vault.objects(layout.PACKS)})
    return sizes or {}, failed


def _note_pending_deletes(vault: Vault, places: CheckedPlaces) -> list[Damage]:
    """Note in `places` which packs are pending deletes."""
    listing = Damage(kind="listing", object=layout.MARKS)
    pending, failed = tried(listing, lambda: pending_deletes.for_writing(vault).pending_deletes)
    for name in pending or ():
        places.is_staying[places.in_pack(layout.named_digest(name))] = False
    return failed


def _check_manifests(
    vault: Vault, structure: Structure, damages: list[Damage], misnamed: Sequence[Damage]
) -> list[str] | None:
    """Add the missing manifests to `damages`; the manifests that are there, see ManifestCheck.paths."""
    check = verify_manifests.check(vault, frozenset().union(*(damage.snapshots for damage in misnamed)))
    structure.damages += [damage for damage in check.damages if damage.is_vital]
    reported = {(damage.kind, damage.object) for damage in damages}
    damages += [damage for damage in check.damages if (damage.kind, damage.object) not in reported]
    return check.paths


def _read_packs(
    vault: Vault,
    level: Level,
    chosen: Mapping[str, int],
    places: CheckedPlaces,
    by_pack: dict[str, list[Damage]],
    progress: Progress,
) -> Iterator[Damage]:
    """Read packs, given with their sizes; their damages go to `by_pack`, too."""
    progress.start(f"verify: {level}", sum(chosen.values()))
    for scrubbed in verify_packs.scrub(vault, chosen, places, is_decoded=level is Level.DATA):
        by_pack[scrubbed.name] = list(scrubbed.damages)
        yield from scrubbed.damages
        progress.add(chosen[scrubbed.name], 1)


def _unknown(damage: Damage) -> Damage:
    return replace(damage, is_read=False, kind="blob-unreadable")


def _structure_result(structure: Structure, snapshot: SnapshotName | None) -> AuditEntry:
    """The result for all that is above the packs."""
    damaged = next((damage for damage in structure.damages if damage.is_read), None)
    first = damaged or next(iter(structure.damages), None)
    return AuditEntry(
        name=snapshot.path if snapshot else "structure",
        result="damaged" if damaged else "unreadable" if first else "ok",
        message=f"{first.object}: {first.message}" if first else "",
    )


def _pack_results(by_pack: Mapping[str, list[Damage]], short: list[Damage]) -> list[AuditEntry]:
    """The result for each pack that was read, and for those that are missing or too short."""
    results = [AuditEntry(name=damage.object, result="damaged", message=damage.message) for damage in short]
    for name, damages in by_pack.items():
        is_damaged = any(damage.is_read for damage in damages)
        results.append(
            AuditEntry(
                name=name,
                result="damaged" if is_damaged else "unreadable" if damages else "ok",
                message="; ".join(damage.message for damage in damages[:3]),
            )
        )
    return results

"""Damage that audits record and that no later audit found intact.

Only audits and marks are read, and the index where packs are missing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pachvault.errors import DamageError
from pachvault.format import layout
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.audits import AuditResult, Results, StoredAudit
from pachvault.maintenance.verify.verify import Level
from pachvault.vault import pending_deletes
from pachvault.vault.index import blob_index
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

STRUCTURE = "structure"
"""The name in audits of all that is above the packs."""
_GOODS = {
    Level.STRUCTURE: (Level.PACKS, Level.DATA),
    Level.PACKS: (Level.PACKS, Level.DATA),
    Level.DATA: (Level.DATA,),
}
"""For a pack that failed at a level: the levels whose good results replace that."""


@dataclass(frozen=True, slots=True)
class KnownDamage:
    """What is damaged by the audits."""

    damaged: list[AuditEntry]
    """Damaged, or unreadable at the last try."""
    waiting: list[str]
    """Damaged packs from which a repair has copied all that is needed: prune will delete them."""

    @property
    def lost(self) -> list[AuditEntry]:
        """What was read and is damaged, unreadable objects left out."""
        return [audited for audited in self.damaged if audited.result == "damaged"]


def known(vault: Vault, stored: Sequence[StoredAudit], now: datetime) -> KnownDamage:
    """The damage that these audits record, at the store's time `now`."""
    results = audits.results(stored, now)
    present = {info.name for folder in (layout.PACKS, layout.SNAPSHOTS) for info in vault.objects(folder)}
    bad = {name: result.audited for name, result in _bad(results, present)}
    repaired = _repaired(vault, stored)
    missing = {name for name in bad if name.startswith(f"{layout.PACKS}/") and name not in present}
    deleted = _deleted(vault, missing) if missing else missing
    damaged = [bad[name] for name in sorted(bad.keys() - repaired - deleted)]
    return KnownDamage(damaged, sorted(bad.keys() & repaired & present))


def _bad(results: Results, present: set[str]) -> Iterator[tuple[str, AuditResult]]:
    """The bad results that no good one replaces."""
    of_structure = [results[level, STRUCTURE] for level in Level if (level, STRUCTURE) in results]
    for (level, name), result in results.items():
        if level not in list(Level) or result.audited.result == "ok":
            continue
        is_pack = name.startswith(f"{layout.PACKS}/")
        if name.startswith(f"{layout.SNAPSHOTS}/") and name not in present:
            continue
        levels = _GOODS[Level(level)] if is_pack and name in present else tuple(Level)
        goods = [results[replacing, name] for replacing in levels if (replacing, name) in results]
        if not is_pack or name not in present or level == Level.STRUCTURE:
            goods += of_structure
        if not any(audits.is_after(good, result) for good in goods):
            yield name, result


def _repaired(vault: Vault, stored: Sequence[StoredAudit]) -> set[str]:
    """The packs that a repair marked, if nothing of them is lost."""
    # an audit of a repair names files, not packs: while anything is lost it is unknown from which pack
    if any(audit.audit.objects for audit in audits.last(stored, audits.REPAIR)):
        return set()
    marked = [marked for mark in pending_deletes.load(vault) for marked in mark.mark.objects]
    return {pack.name for pack in marked if pack.reason.startswith(pending_deletes.DAMAGED)}


def _deleted(vault: Vault, missing: set[str]) -> set[str]:
    """The packs that prune deleted, or that the index no longer names; none where the index is unreadable."""
    try:
        return missing - set(blob_index.lost_packs(pending_deletes.for_writing(vault)))
    except DamageError as error:
        _log.info("the index is damaged: it is unknown which missing packs prune deleted: %s", error)
        return set()

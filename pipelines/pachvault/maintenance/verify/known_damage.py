"""What audits know to be damaged and was not found whole since. Of the vault's objects it reads none but
audits and marks, and the index where packs are gone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pachvault.errors import DamageError
from pachvault.format import layout
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.maintenance.repair.repair import LEVEL as REPAIR
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.audits import AuditResult, Results, StoredAudit
from pachvault.maintenance.verify.verify import Level
from pachvault.vault import blob_index, pending_deletes
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

STRUCTURE = "structure"
"""What audits call all that is above the packs."""
_GOODS = {
    Level.STRUCTURE: (Level.PACKS, Level.DATA),
    Level.PACKS: (Level.PACKS, Level.DATA),
    Level.DATA: (Level.DATA,),
}
"""A pack that failed at a level: good results of which levels make up for it."""


@dataclass(frozen=True, slots=True)
class KnownDamage:
    """What is known to be amiss."""

    damaged: list[AuditEntry]
    """Damaged, or unreadable when it was last looked at."""
    waiting: list[str]
    """Damaged packs that a repair has saved all from that is needed: prune will delete them."""

    @property
    def lost(self) -> list[AuditEntry]:
        """What was read and is damaged."""
        return [each for each in self.damaged if each.result == "damaged"]


def known(vault: Vault, found: Sequence[StoredAudit], now: datetime) -> KnownDamage:
    """What these audits know of the vault, by the store's time `now`."""
    results = audits.results(found, now)
    there = {info.name for folder in (layout.PACKS, layout.SNAPSHOTS) for info in vault.objects(folder)}
    bad = {name: result.audited for name, result in _bad(results, there)}
    saved = _saved(vault, found)
    gone = {name for name in bad if name.startswith(f"{layout.PACKS}/") and name not in there}
    settled = _deleted(vault, gone) if gone else gone
    damaged = [bad[name] for name in sorted(bad.keys() - saved - settled)]
    return KnownDamage(damaged, sorted(bad.keys() & saved & there))


def _bad(results: Results, there: set[str]) -> Iterator[tuple[str, AuditResult]]:
    wholes = [results[level, STRUCTURE] for level in Level if (level, STRUCTURE) in results]
    for (level, name), result in results.items():
        if level not in list(Level) or result.audited.result == "ok":
            continue
        is_pack = name.startswith(f"{layout.PACKS}/")
        if name.startswith(f"{layout.SNAPSHOTS}/") and name not in there:
            continue
        levels = _GOODS[Level(level)] if is_pack and name in there else tuple(Level)
        goods = [results[each, name] for each in levels if (each, name) in results]
        if not is_pack or name not in there or level == Level.STRUCTURE:
            goods += wholes
        if not any(audits.is_after(good, result) for good in goods):
            yield name, result


def _saved(vault: Vault, found: Sequence[StoredAudit]) -> set[str]:
    """The packs that a repair marked, if it left nothing lost."""
    if any(each.audit.objects for each in audits.last(found, REPAIR)):
        return set()
    marked = [each for mark in pending_deletes.load(vault) for each in mark.mark.objects]
    return {each.name for each in marked if each.reason.startswith(pending_deletes.DAMAGED)}


def _deleted(vault: Vault, gone: set[str]) -> set[str]:
    """Those that prune deleted, or that the index is not about any more; none where it does not read."""
    try:
        return gone - set(blob_index.lost_packs(pending_deletes.for_writing(vault)))
    except DamageError as error:
        _log.info("which lost packs prune deleted is not known, the index is damaged: %s", error)
        return set()

"""Audits: what was verified, when, with what result (docs/format.md, section 9.9). They are advisory.

A good result counts from the earlier of two times: the one that its writer recorded, and the store's time of
the object. A good result from the future does not count; a bad one counts wherever it is dated.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pachvault.errors import DamageError, DeniedError
from pachvault.format import documents, layout
from pachvault.format.ids import digest
from pachvault.format.maintenance_documents import Audit, AuditEntry
from pachvault.vault import clock
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

DRILL = "drill"
REPAIR = "repair"
"""Of the audits that list what a repair left lost."""
PACKS = "packs"
DATA = "data"
PRUNE = "prune"
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_LEVELS = {PACKS: (PACKS, DATA), DATA: (DATA,)}
"""For each level, the levels whose good result counts for it.

Level data includes the checks of level packs.
"""


@dataclass(frozen=True, slots=True)
class StoredAudit:
    """An audit as it lies in the vault."""

    name: str
    modified_at: datetime
    audit: Audit


@dataclass(frozen=True, slots=True)
class AuditResult:
    """The result for one object, and since when it counts; `at` is None where its time is not credible."""

    audited: AuditEntry
    at: datetime | None


_LISTED = (layout.PACKS, layout.SNAPSHOTS)
"""Results for objects in these folders are dropped with the objects."""

Results = Mapping[tuple[str, str], AuditResult]
"""The newest result of each level and name."""


def record(
    vault: Vault,
    level: str,
    objects: Iterable[AuditEntry],
    manifests: Sequence[str] | None = None,
    *,
    at: datetime | None = None,
) -> None:
    """Write an audit of what a verification read; `manifests`: every manifest that was there, as paths.

    It is dated `at`; by default now, by this machine's clock.
    """
    listed = None if manifests is None else sorted(manifests)
    audited_at = at or datetime.now(UTC)
    _put(vault, Audit(audited_at=audited_at, level=level, objects=list(objects), snapshots=listed))


def load(vault: Vault) -> list[StoredAudit]:
    """Every audit that can be read."""
    stored = []
    for info in vault.objects(layout.AUDITS):
        try:
            audit = documents.decode(Audit, vault.read(info.name))
            stored.append(StoredAudit(info.name, info.modified_at, audit))
        except DamageError as error:  # damaged, or merged into another one since the listing: advisory
            _log.info("skipped an audit: %s", error)
    return stored


def results(stored: Iterable[StoredAudit], now: datetime) -> Results:
    """The newest result for each object at each level, by the store's time `now`."""
    newest: dict[tuple[str, str], AuditResult] = {}
    for audit in stored:
        for audited, at in times(audit, now):
            key = audit.audit.level, audited.name
            old = newest.get(key)
            if old is None or _rank(audited, at) >= _rank(old.audited, old.at):
                newest[key] = AuditResult(audited, at)
    return newest


def last(stored: Iterable[StoredAudit], level: str) -> list[StoredAudit]:
    """The audit of a level that was written last by its writer's clock, and by the store's: one or two."""
    of_level = [audit for audit in stored if audit.audit.level == level]
    if not of_level:
        return []
    by_writer = max(of_level, key=lambda audit: audit.audit.audited_at)
    by_store = max(of_level, key=lambda audit: audit.modified_at)
    return [by_writer] if by_writer == by_store else [by_writer, by_store]


def newest_list(stored: Iterable[StoredAudit], now: datetime) -> StoredAudit | None:
    """The newest audit that lists the manifests, at the store's time `now`; None where there is none.

    One that either clock dates in the future does not count.
    """
    lists = [
        audit
        for audit in stored
        if audit.audit.snapshots is not None
        and not clock.is_future(max(audit.audit.audited_at, audit.modified_at), now)
    ]
    return max(lists, key=counts_from, default=None)


def counts_from(stored: StoredAudit) -> datetime:
    """The earlier of an audit's two times."""
    return min(stored.audit.audited_at, stored.modified_at)


def good_at(known: Results, level: str, name: str) -> datetime | None:
    """When a pack was last found intact at a level or a deeper one; None if it never was, or failed since."""
    if has_failed(known, name):
        return None
    goods = (known.get((deeper, name)) for deeper in _LEVELS[level])
    return max((good.at for good in goods if good is not None and good.at is not None), default=None)


def has_failed(known: Results, name: str) -> bool:
    """Whether a pack was found damaged, or could not be read, and was not found intact since.

    Only a good result of the same level or a deeper one replaces a bad one.
    """
    for level in (PACKS, DATA):
        bad = known.get((level, name))
        if bad is not None and bad.audited.result != "ok":
            goods = (known.get((deeper, name)) for deeper in _LEVELS[level])
            if not any(good is not None and is_after(good, bad) for good in goods):
                return True
    return False


def compact(vault: Vault, now: datetime, period: timedelta) -> int:
    """Merge the audits that are older than the period into one a level; the number of objects removed.

    Results that a later audit replaced are dropped, and results for objects that are gone. The audit with the
    newest list of manifests stays as it is. Where the store refuses to delete, the old audits stay, too.
    """
    stored = load(vault)
    known = results(stored, now)
    listing = newest_list(stored, now)
    # format 9.9: the list of manifests is what a loss is found by
    old = [audit for audit in stored if audit.audit.audited_at < now - period and audit != listing]
    listed = {info.name for folder in _LISTED for info in vault.objects(folder)}
    removed = 0
    for level in sorted({audit.audit.level for audit in old}):
        of_level = [audit for audit in old if audit.audit.level == level]
        merged = _merge(of_level, known, listed, now)
        name = _put(vault, merged) if merged is not None else ""
        for audit in of_level:
            # a merge of one audit gives the same bytes and so the same name: it must not be deleted
            if audit.name != name:
                try:
                    vault.delete(audit.name)
                except DeniedError:
                    return removed
                removed += 1
    return removed


def _merge(
    of_level: list[StoredAudit], known: Results, listed: Collection[str], now: datetime
) -> Audit | None:
    """One audit of the results that are still the newest; always the same bytes. None where none is."""
    kept: dict[str, AuditEntry] = {}
    newest = max(of_level, key=lambda audit: audit.audit.audited_at)
    for audit in of_level:
        for audited, at in times(audit, now):
            result = known[audit.audit.level, audited.name]
            is_there = audited.name in listed or audited.name.partition("/")[0] not in _LISTED
            is_there &= audit is newest or audit.audit.level != DRILL  # which has other names every time
            if is_there and result.audited == audited and result.at == at:
                audited_at = at or _audited_at(audit, audited)
                kept[audited.name] = audited.model_copy(update={"audited_at": audited_at})
    if not kept:
        return None
    last_at = max(audited.audited_at for audited in kept.values() if audited.audited_at is not None)
    objects = [kept[name] for name in sorted(kept)]
    return Audit(audited_at=last_at, level=of_level[0].audit.level, objects=objects)


def times(stored: StoredAudit, now: datetime) -> Iterator[tuple[AuditEntry, datetime | None]]:
    """An audit's results, and since when each counts; None where its time is not credible."""
    for audited in stored.audit.objects:
        first, last = sorted((_audited_at(stored, audited), stored.modified_at))
        # one clock that was ahead is enough to doubt a good result; a bad one needs no such care
        is_credible = not clock.is_future(last if audited.result == "ok" else first, now)
        yield audited, first if is_credible else None


def _audited_at(stored: StoredAudit, audited: AuditEntry) -> datetime:
    return audited.audited_at or stored.audit.audited_at


def _rank(audited: AuditEntry, at: datetime | None) -> tuple[datetime, bool]:
    """Newer results rank higher. From the future, a good one ranks lowest of all, a bad one highest."""
    is_bad = audited.result != "ok"
    if at is None:
        return _LAST if is_bad else _FIRST, is_bad
    return at, is_bad


def is_after(good: AuditResult, bad: AuditResult) -> bool:
    """Whether a result is good, and later than a bad one."""
    if good.audited.result != "ok" or good.at is None or bad.at is None:
        return False
    return good.at > bad.at


def _put(vault: Vault, audit: Audit) -> str:
    data = documents.encode(audit)
    name = layout.stamped_path(layout.AUDITS, audit.audited_at, digest(data))
    vault.store.put(name, [data], len(data))
    return name

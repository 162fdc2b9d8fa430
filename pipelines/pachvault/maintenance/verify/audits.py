"""Audits: what was verified, when, with what result (docs/format.md, section 9.9). Advice: all may be lost.

A good result counts from the earlier of two times: what its writer said, and what the store says of the
object. One from the future counts for nothing; a bad one is believed whenever it comes from.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
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
PACKS = "packs"
DATA = "data"
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_LEVELS = {PACKS: (PACKS, DATA), DATA: (DATA,)}
"""Which levels a good result of which counts for the level: who decodes a pack has checked its checksums."""


@dataclass(frozen=True, slots=True)
class StoredAudit:
    """An audit as it lies in the vault."""

    name: str
    modified_at: datetime
    audit: Audit


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What became of one thing, and when; `at` is None where that time is not to be believed."""

    audited: AuditEntry
    at: datetime | None


_LISTED = (layout.PACKS, layout.SNAPSHOTS)
"""What is said of objects in these is dropped with the objects."""

Results = Mapping[tuple[str, str], AuditResult]
"""The newest result of each level and name."""


def record(vault: Vault, level: str, objects: Iterable[AuditEntry]) -> None:
    """Write down what a verification looked at."""
    _put(vault, Audit(audited_at=datetime.now(UTC), level=level, objects=list(objects)))


def load(vault: Vault) -> list[StoredAudit]:
    """Every audit that can be read."""
    found = []
    for info in vault.objects(layout.AUDITS):
        try:
            audit = documents.decode(Audit, vault.read(info.name))
            found.append(StoredAudit(info.name, info.modified_at, audit))
        except DamageError as error:  # folded since the listing, or damaged: it is advice only
            _log.info("skipped an audit: %s", error)
    return found


def results(found: Iterable[StoredAudit], now: datetime) -> Results:
    """The newest result of each thing at each level, by the store's time `now`."""
    newest: dict[tuple[str, str], AuditResult] = {}
    for each in found:
        for audited, at in times(each, now):
            key = each.audit.level, audited.name
            old = newest.get(key)
            if old is None or _rank(audited, at) >= _rank(old.audited, old.at):
                newest[key] = AuditResult(audited, at)
    return newest


def last(found: Iterable[StoredAudit], level: str) -> list[StoredAudit]:
    """The audit of a level that was written last by its writer's clock, and by the store's: one or two."""
    mine = [each for each in found if each.audit.level == level]
    if not mine:
        return []
    by_writer = max(mine, key=lambda each: each.audit.audited_at)
    by_store = max(mine, key=lambda each: each.modified_at)
    return [by_writer] if by_writer == by_store else [by_writer, by_store]


def good_at(known: Results, level: str, name: str) -> datetime | None:
    """When a pack was last found whole at a level or a deeper one; None where it was not, or failed since."""
    if has_failed(known, name):
        return None
    goods = (known.get((each, name)) for each in _LEVELS[level])
    return max((good.at for good in goods if good is not None and good.at is not None), default=None)


def has_failed(known: Results, name: str) -> bool:
    """Whether a pack was found bad, or could not be read, and was not found whole since.

    Only a good result of the same level or a deeper one makes up for a bad one.
    """
    for level in (PACKS, DATA):
        bad = known.get((level, name))
        if bad is not None and bad.audited.result != "ok":
            goods = (known.get((each, name)) for each in _LEVELS[level])
            if not any(good is not None and is_after(good, bad) for good in goods):
                return True
    return False


def compact(vault: Vault, now: datetime, period: timedelta) -> int:
    """Fold what is older than the period into one audit a level; how many objects that removed.

    What a later audit has superseded is dropped, and so is what is said of objects that are gone. Where the
    store refuses to delete, the folded ones stay, and nothing is wrong.
    """
    found = load(vault)
    known = results(found, now)
    old = [each for each in found if each.audit.audited_at < now - period]
    listed = {info.name for folder in _LISTED for info in vault.objects(folder)}
    removed = 0
    for level in sorted({each.audit.level for each in old}):
        mine = [each for each in old if each.audit.level == level]
        kept = _fold(mine, known, listed, now)
        name = _put(vault, kept) if kept is not None else ""
        for each in mine:
            if each.name != name:
                try:
                    vault.delete(each.name)
                except DeniedError:
                    return removed
                removed += 1
    return removed


def _fold(mine: list[StoredAudit], known: Results, listed: Collection[str], now: datetime) -> Audit | None:
    """One audit of what is still the newest of these; the same whenever it is made. None for nothing."""
    kept: dict[str, AuditEntry] = {}
    newest = max(mine, key=lambda each: each.audit.audited_at)
    for each in mine:
        for audited, at in times(each, now):
            result = known[each.audit.level, audited.name]
            is_there = audited.name in listed or audited.name.partition("/")[0] not in _LISTED
            is_there &= each is newest or each.audit.level != DRILL  # which has other names every time
            if is_there and result.audited == audited and result.at == at:
                kept[audited.name] = audited.model_copy(update={"audited_at": at or _said(each, audited)})
    if not kept:
        return None
    last = max(each.audited_at for each in kept.values() if each.audited_at is not None)
    objects = [kept[name] for name in sorted(kept)]
    return Audit(audited_at=last, level=mine[0].audit.level, objects=objects)


def times(found: StoredAudit, now: datetime) -> Iterator[tuple[AuditEntry, datetime | None]]:
    """What an audit says, and since when each counts; None where that is not to be believed."""
    for audited in found.audit.objects:
        said = _said(found, audited)
        first, last = sorted((said, found.modified_at))
        # one clock that was ahead is enough to doubt a good result; a bad one needs no such care
        is_credible = not clock.is_future(last if audited.result == "ok" else first, now)
        yield audited, first if is_credible else None


def _said(found: StoredAudit, audited: AuditEntry) -> datetime:
    return audited.audited_at or found.audit.audited_at


def _rank(audited: AuditEntry, at: datetime | None) -> tuple[datetime, bool]:
    """Newer counts for more; a good result from the future for least of all, a bad one for most."""
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

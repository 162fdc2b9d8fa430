"""Whether snapshots are sound, as far as records, commit lists and listings tell: for many snapshots at once.

It is not verify: no pack is read, and file tables only where packs are missing. What snapshots share is
looked at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from pachvault.errors import AbsentError, DamageError
from pachvault.format import layout
from pachvault.format.documents import Manifest, RepoRecord
from pachvault.maintenance.forget import snapshot_check
from pachvault.vault import blob_index, pending_deletes
from pachvault.vault.vault import Vault

Found = TypeVar("Found")
_Record = tuple[tuple[str, ...], tuple[bytes, ...]]
"""Of a repo record the branches' names, and the commit lists."""


class QuickCheck:
    """The vault's objects as one look finds them. Make it after the snapshots were listed."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._tables = {info.name for info in vault.objects(layout.TABLES)}
        is_short = bool(blob_index.lost_packs(pending_deletes.for_writing(vault)))
        self._index = blob_index.held(vault) if is_short else None
        self._records: dict[bytes, _Record | DamageError] = {}
        self._seen: dict[bytes, bool | DamageError] = {}

    def branches(self, record: bytes) -> tuple[str, ...]:
        """The names of the branches of a repo record."""
        return self._record(record)[0]

    def check(self, manifest: Manifest) -> None:
        """Raises DamageError where something that the snapshot needs is not there, or is damaged."""
        _once(self._seen, manifest.pipelines, partial(self._pipelines, manifest.pipelines))
        for entry in manifest.repos:
            for each in self._record(entry.record)[1]:
                _once(self._seen, each, partial(self._list, each))

    def _record(self, name: bytes) -> _Record:
        return _once(self._records, name, lambda: _brief(self._vault.repo_record(name)))

    def _pipelines(self, name: bytes) -> bool:
        self._vault.pipelines_record(name)
        return True

    def _list(self, name: bytes) -> bool:
        for each in self._vault.tables_of_list(name):
            if layout.table_path(each) not in self._tables:
                raise AbsentError("no such object", where=layout.table_path(each))
            if self._index is not None:
                _once(self._seen, each, partial(self._table, each, self._index))
        return True

    def _table(self, name: bytes, index: blob_index.BlobIndex) -> bool:
        snapshot_check.check_table(self._vault, index, name)
        return True


def _brief(record: RepoRecord) -> _Record:
    return tuple(each.name for each in record.branches), tuple(each.table for each in record.segments)


def _once(known: dict[bytes, Found | DamageError], name: bytes, look: Callable[[], Found]) -> Found:
    """What `look` found, or raised, when it looked at this first."""
    if name not in known:
        try:
            known[name] = look()
        except DamageError as error:
            known[name] = error
    found = known[name]
    if isinstance(found, DamageError):
        raise type(found)(found.what, where=found.where, hint=found.hint)
    return found

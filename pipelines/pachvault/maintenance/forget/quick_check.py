"""Whether snapshots are intact, as far as records, commit lists and listings show: for many at once.

It is not verify: no pack is read, and file tables only where packs are missing. What snapshots share is
checked once.
"""

from __future__ import annotations

from pachvault.errors import AbsentError, DamageError, PachvaultError
from pachvault.format import layout
from pachvault.maintenance.forget import snapshot_check
from pachvault.vault import blob_index, pending_deletes
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault
from pachvault.vault.walk import NodeKind, Reached, walk


class QuickCheck:
    """The vault's objects as one listing shows them. Make it after the snapshots were listed."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._tables = {info.name for info in vault.objects(layout.TABLES)}
        is_pack_missing = bool(blob_index.lost_packs(pending_deletes.for_writing(vault)))
        self._index = blob_index.load_digests(vault) if is_pack_missing else None
        self._branches: dict[bytes, tuple[str, ...]] = {}
        self._intact: set[str] = set()
        """Objects that are intact, with all that they need."""
        self._damaged: dict[str, DamageError] = {}

    def branches(self, record: bytes) -> tuple[str, ...]:
        """The names of the branches of a repo record."""
        if record not in self._branches:
            names = tuple(branch.name for branch in self._vault.repo_record(record).branches)
            self._branches[record] = names
        return self._branches[record]

    def check(self, name: SnapshotName) -> None:
        """Raises DamageError where something that the snapshot needs is not there, or is damaged."""
        below: list[str] = []
        """The record that is being checked, and what it needs."""
        for at in walk(self._vault, [name], self._note, is_skipped=self._is_intact):
            if at.kind is NodeKind.RECORD and at.record is not None:
                self._branches[at.digest] = tuple(branch.name for branch in at.record.branches)
            if at.kind in (NodeKind.PIPELINES, NodeKind.RECORD):
                self._intact.update(below)
                below = []
            if at.kind is NodeKind.FILE_TABLE:
                try:
                    self._check_table(at)
                except DamageError as error:
                    self._note(at, error)
            if at.kind is not NodeKind.MANIFEST:
                below.append(at.path)
        self._intact.update(below)

    def _check_table(self, at: Reached) -> None:
        if at.path not in self._tables:
            raise AbsentError("no such object", where=at.path)
        if self._index is not None:
            snapshot_check.check_table(self._vault, self._index, at.digest)

    def _note(self, at: Reached, error: PachvaultError) -> None:
        if isinstance(error, DamageError):
            self._damaged[at.path] = error
        raise error

    def _is_intact(self, path: str) -> bool:
        if path in self._damaged:
            error = self._damaged[path]
            raise type(error)(error.what, where=error.where, hint=error.hint)
        return path in self._intact

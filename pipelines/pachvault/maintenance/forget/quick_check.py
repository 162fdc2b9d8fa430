"""Checks many snapshots by their records, commit lists and the vault's listings.

Not verify: it reads no packs, and file tables only if packs are missing. An object that several snapshots
need is checked once.
"""

from __future__ import annotations

from pachvault.errors import AbsentError, DamageError, PachvaultError
from pachvault.format import layout
from pachvault.maintenance.forget import snapshot_check
from pachvault.maintenance.forget.rule_matching import branch_names
from pachvault.vault import pending_deletes
from pachvault.vault.index import blob_index
from pachvault.vault.index.blob_places import BlobPlaces
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault
from pachvault.vault.walk import NodeKind, Reached, walk


class QuickCheck:
    """The vault's objects by one listing."""

    @classmethod
    def of(cls, vault: Vault) -> QuickCheck:
        """List the vault's objects. Call it after the snapshots were listed."""
        tables = {info.name for info in vault.objects(layout.TABLES)}
        is_pack_missing = bool(blob_index.lost_packs(pending_deletes.for_writing(vault)))
        return cls(vault, tables, blob_index.load_digests(vault) if is_pack_missing else None)

    def __init__(self, vault: Vault, tables: set[str], index: BlobPlaces | None) -> None:
        """`index`: the blobs that packs have, where a pack is missing; None where none is."""
        self._vault, self._tables, self._index = vault, tables, index
        self._branches: dict[bytes, tuple[str, ...]] = {}
        self._intact: set[str] = set()
        """Objects that are intact, as are all the objects below them."""
        self._damaged: dict[str, DamageError] = {}

    def branches(self, record: bytes) -> tuple[str, ...]:
        """The names of the branches of a repo record."""
        if record not in self._branches:
            self._branches[record] = branch_names(self._vault, record)
        return self._branches[record]

    def check(self, snapshot: Snapshot) -> None:
        """Raises DamageError where an object that the snapshot needs is missing or damaged."""
        pending: list[str] = []
        """The record that is being checked and the objects below it: intact when the walk leaves them."""
        for node in walk(self._vault, [snapshot], self._note, is_skipped=self._is_intact):
            if node.kind is NodeKind.RECORD and node.record is not None:
                self._branches[node.digest] = tuple(branch.name for branch in node.record.branches)
            if node.kind in (NodeKind.PIPELINES, NodeKind.RECORD):
                self._intact.update(pending)
                pending = []
            if node.kind is NodeKind.FILE_TABLE:
                try:
                    self._check_table(node)
                except DamageError as error:
                    self._note(node, error)
            if node.kind is not NodeKind.MANIFEST:
                pending.append(node.path)
        self._intact.update(pending)

    def _check_table(self, node: Reached) -> None:
        if node.path not in self._tables:
            raise AbsentError("no such object", where=node.path)
        # only where a pack is missing: else every blob of an intact index is there, and no table needs to be
        # read
        if self._index is not None:
            snapshot_check.check_table(self._vault, self._index, node.digest)

    def _note(self, node: Reached, error: PachvaultError) -> None:
        if isinstance(error, DamageError):
            self._damaged[node.path] = error
        raise error

    def _is_intact(self, path: str) -> bool:
        if path in self._damaged:
            error = self._damaged[path]
            # a new one: an exception that is raised again would collect the tracebacks of all snapshots
            raise type(error)(error.what, where=error.where, hint=error.hint)
        return path in self._intact

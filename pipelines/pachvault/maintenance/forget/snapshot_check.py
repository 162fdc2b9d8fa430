"""Checks that all objects of one snapshot are in the vault. Not verify: it stops at the first missing one."""

from __future__ import annotations

from pachvault.errors import AbsentError
from pachvault.format import layout
from pachvault.vault.index import blob_index
from pachvault.vault.index.blob_places import BlobPlaces
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault
from pachvault.vault.walk import NodeKind, walk


def check(vault: Vault, name: SnapshotName) -> None:
    """Raises DamageError where a record, a table, or a pack with a blob of the snapshot is missing."""
    index = blob_index.load_digests(vault)
    for node in walk(vault, [name]):
        if node.kind is NodeKind.FILE_TABLE:
            check_table(vault, index, node.digest)


def check_table(vault: Vault, index: BlobPlaces, table_digest: bytes) -> None:
    """Raises DamageError where a file table is missing, or a blob of it is in no pack of the index."""
    if not index.has_all(vault.blobs_of_table(table_digest)):
        raise AbsentError(
            "a blob of the table is in no pack of the vault", where=layout.table_path(table_digest)
        )

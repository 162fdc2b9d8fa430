"""Whether all that one snapshot needs is there. It is not verify: it stops at the first object missing."""

from __future__ import annotations

from pachvault.errors import AbsentError
from pachvault.format import layout
from pachvault.vault import blob_index
from pachvault.vault.blob_places import BlobPlaces
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault
from pachvault.vault.walk import NodeKind, walk


def check(vault: Vault, name: SnapshotName) -> None:
    """Raises DamageError where a record, a table, or a pack with a blob of the snapshot is not there."""
    index = blob_index.load_digests(vault)
    for at in walk(vault, [name]):
        if at.kind is NodeKind.FILE_TABLE:
            check_table(vault, index, at.digest)


def check_table(vault: Vault, index: BlobPlaces, name: bytes) -> None:
    """Raises DamageError where a file table is not there, or a blob of it is in no pack of the index."""
    if not index.has_all(vault.blobs_of_table(name)):
        raise AbsentError("a blob of the table is in no pack that is there", where=layout.table_path(name))

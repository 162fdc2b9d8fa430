"""Whether all that one snapshot needs is there. It is not verify: it stops at the first thing missing."""

from __future__ import annotations

from pachvault.errors import AbsentError
from pachvault.format import layout
from pachvault.format.table import tables_of
from pachvault.vault import blob_index
from pachvault.vault.blob_index import BlobIndex
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault


def check(vault: Vault, snapshot: Snapshot) -> None:
    """Raises DamageError where a record, a table, or a pack with a blob of the snapshot is not there."""
    index = blob_index.held(vault)
    vault.pipelines_record(snapshot.manifest.pipelines)
    seen: set[bytes] = set()
    for _, history in snapshot.repos():
        for name in tables_of(history.commits):
            if name in seen:
                continue
            seen.add(name)
            check_table(vault, index, name)


def check_table(vault: Vault, index: BlobIndex, name: bytes) -> None:
    """Raises DamageError where a file table is not there, or a blob of it is in no pack of the index."""
    if not index.has_all(vault.blobs_of_table(name)):
        raise AbsentError("a blob of the table is in no pack that is there", where=layout.table_path(name))

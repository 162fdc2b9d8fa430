"""Reading back what was just written: nothing is deleted for it before that."""

from __future__ import annotations

from collections.abc import Iterable

from pachvault.errors import CorruptError
from pachvault.format import layout
from pachvault.format.digests import Digests
from pachvault.maintenance.blob_copy import in_order, read
from pachvault.vault.blob_places import BlobPlaces
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index_rows import IndexRows
from pachvault.vault.vault import StoredObject, Vault

_CACHE_BYTES = 8 * 1024 * 1024
"""Of frames: blobs are read in their order."""


def read_back(vault: Vault, written: Iterable[StoredObject]) -> Digests:
    """The blobs that new index objects place, each read and checked; DamageError where one is not there."""
    rows = IndexRows.joined(IndexRows.read(vault.read(layout.index_path(each.digest))) for each in written)
    places = BlobPlaces(rows)
    for blob, content in read(BlobReader(vault, places, _CACHE_BYTES), in_order(places, rows.digests)):
        if content is None:
            raise CorruptError(f"blob {blob.hex()} was just written and does not read", where=vault.store.url)
    return rows.digests

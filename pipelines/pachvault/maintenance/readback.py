"""Reads back what was just written. Only then may the objects be deleted that it replaces."""

from __future__ import annotations

from collections.abc import Iterable

from pachvault.errors import CorruptError
from pachvault.format import layout
from pachvault.format.digests import Digests
from pachvault.maintenance.blob_copy import in_order, read
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index.blob_places import BlobPlaces
from pachvault.vault.index.index_rows import IndexRows
from pachvault.vault.vault import StoredObject, Vault

_CACHE_BYTES = 8 * 1024 * 1024
"""For decoded frames. It can be small: blobs are read in the order of the frames."""


def read_back(vault: Vault, written: Iterable[StoredObject]) -> Digests:
    """The blobs that new index objects list, each read and verified; DamageError where one cannot be read."""
    rows = IndexRows.joined(
        IndexRows.read(vault.read(layout.index_path(index_object.digest))) for index_object in written
    )
    # only of the new index objects: by the whole index a blob could be read from an old pack, and the new
    # copy would not be checked
    places = BlobPlaces(rows)
    for blob, content in read(BlobReader(vault, places, _CACHE_BYTES), in_order(places, rows.digests)):
        if content is None:
            raise CorruptError(
                f"blob {blob.hex()} was just written and cannot be read", where=vault.store.url
            )
    return rows.digests

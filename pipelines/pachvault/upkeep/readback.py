"""Reading back what was just written: nothing is deleted for it before that."""

from __future__ import annotations

from pachvault.errors import DamageError
from pachvault.format import layout
from pachvault.format.pack import split_digests
from pachvault.upkeep.copy import in_order, read
from pachvault.vault.blobs import BlobIndex
from pachvault.vault.columns import Columns
from pachvault.vault.reader import BlobReader
from pachvault.vault.vault import Vault, Written


def read_back(vault: Vault, written: Written | None) -> frozenset[bytes]:
    """The blobs that a new index object places, each read and checked; DamageError where one is not there."""
    if written is None:
        return frozenset()
    rows = Columns.read(vault.read(layout.index_path(written.digest)))
    places = BlobIndex(rows)
    names = in_order(places, split_digests(rows.digests))
    for blob, content in read(BlobReader(vault, places), names):
        if content is None:
            raise DamageError(f"blob {blob.hex()} was just written and does not read", where=vault.store.url)
    return frozenset(names)

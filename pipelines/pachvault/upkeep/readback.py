"""Reading back what was just written: nothing is deleted for it before that."""

from __future__ import annotations

from pachvault.format import index, layout
from pachvault.vault.blobs import BlobIndex
from pachvault.vault.reader import BlobReader
from pachvault.vault.vault import Vault, Written


def read_back(vault: Vault, written: Written | None) -> frozenset[bytes]:
    """The blobs that a new index object places, each read and checked; DamageError where one is not there."""
    if written is None:
        return frozenset()
    rows = index.decode(vault.read(layout.index_path(written.digest)))
    reader = BlobReader(vault, BlobIndex(rows))
    # in this order a frame is decoded once
    names = rows.sort_by([("pack", "ascending"), ("frame_offset", "ascending")])["blob"].to_pylist()
    for name in names:
        reader.read(name)
    return frozenset(names)

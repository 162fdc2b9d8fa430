"""The index as prune reads it: what each object of it is about, and the places that all of them give."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pachvault.format import index, layout
from pachvault.maintenance.prune.pack_usage import NUMBERS
from pachvault.vault import blob_index
from pachvault.vault.blob_places import BlobPlaces
from pachvault.vault.index_rows import IndexRows
from pachvault.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class IndexObject:
    """An index object: which packs it is about, and how many blobs it places."""

    packs: frozenset[str]
    rows: int


@dataclass(frozen=True, slots=True)
class IndexContents:
    """All index objects. Their names vouch for them, so what was read once need not be read again."""

    said: dict[str, IndexObject]
    places: BlobPlaces
    marked: frozenset[str]
    """What was marked when it was read."""

    @classmethod
    def read(cls, vault: Vault, marked: frozenset[str]) -> IndexContents:
        """Of a marked object only what it is about, where others are about its packs, too."""
        found = blob_index.read_each(vault, lambda name, data: _read(data, is_brief=name in marked))
        said = {name: each for name, (each, _) in found.items()}
        alive = {pack for name, each in said.items() if name not in marked for pack in each.packs}
        for name, each in said.items():
            if name in marked and each.packs - alive:
                found[name] = _read(vault.read(name), is_brief=False)
        # each is let go as it is taken: both at once would be twice the memory
        rows = IndexRows.joined((part for name in said if (part := found.pop(name)[1])), NUMBERS)
        return cls(said, BlobPlaces(rows), marked)


def _read(data: bytes, *, is_brief: bool) -> tuple[IndexObject, IndexRows | None]:
    if is_brief:
        packs, rows = index.packs_of(data)
        return IndexObject(_paths(packs), rows), None
    part = IndexRows.read(data, NUMBERS)
    return IndexObject(_paths(pack.tobytes() for pack in part.packs), len(part)), part


def _paths(packs: Iterable[bytes]) -> frozenset[str]:
    return frozenset(layout.pack_path(name) for name in packs)

"""The index as prune reads it: the packs that each index object lists, and the places of all blobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pachvault.format import index, layout
from pachvault.maintenance.prune.pack_usage import INDEX_COLUMNS
from pachvault.vault.index import blob_index
from pachvault.vault.index.blob_places import BlobPlaces
from pachvault.vault.index.index_rows import IndexRows
from pachvault.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class IndexObject:
    """An index object: the packs that it lists, and its number of rows."""

    packs: frozenset[str]
    rows: int


@dataclass(frozen=True, slots=True)
class IndexContents:
    """All index objects. They are content-addressed: one that was read need not be read again."""

    objects: dict[str, IndexObject]
    """By name."""
    places: BlobPlaces
    marked: frozenset[str]
    """What was marked when the index was read."""

    @classmethod
    def read(cls, vault: Vault, marked: frozenset[str]) -> IndexContents:
        """Read all index objects.

        The rows of a marked one are read only if it lists a pack that no unmarked one lists: after a
        compaction other objects have all rows of the marked ones.
        """
        contents = blob_index.read_each(vault, lambda name, data: _read(data, is_brief=name in marked))
        objects = {name: index_object for name, (index_object, _) in contents.items()}
        packs_listed = {
            pack
            for name, index_object in objects.items()
            if name not in marked
            for pack in index_object.packs
        }
        for name, index_object in objects.items():
            if name in marked and index_object.packs - packs_listed:
                contents[name] = _read(vault.read(name), is_brief=False)
        # popped one by one: parts and joined rows at once would be twice the memory
        rows = IndexRows.joined((part for name in objects if (part := contents.pop(name)[1])), INDEX_COLUMNS)
        return cls(objects, BlobPlaces(rows), marked)


def _read(data: bytes, *, is_brief: bool) -> tuple[IndexObject, IndexRows | None]:
    if is_brief:
        packs, rows = index.packs_of(data)
        return IndexObject(_paths(packs), rows), None
    part = IndexRows.read(data, INDEX_COLUMNS)
    return IndexObject(_paths(pack.tobytes() for pack in part.packs), len(part)), part


def _paths(packs: Iterable[bytes]) -> frozenset[str]:
    return frozenset(layout.pack_path(name) for name in packs)

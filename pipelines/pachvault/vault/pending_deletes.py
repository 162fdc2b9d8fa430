"""Marks: what prune will delete. Writers keep away from it (docs/format.md, section 9.4)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pachvault.errors import AbsentError, CorruptError, DamageError
from pachvault.format import documents, layout
from pachvault.format.ids import digest
from pachvault.format.maintenance_documents import Mark, PendingDelete
from pachvault.store.store import ObjectInfo
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_OBJECTS_A_MARK = 250_000
"""More are several marks: a document must not be longer than docs/format.md, 3.9, allows."""
DAMAGED = "damaged: "
"""How the reason begins for which repair marks a pack."""


@dataclass(frozen=True, slots=True)
class StoredMark:
    """A mark as it lies in the vault; its age is that of its listing entry."""

    info: ObjectInfo
    mark: Mark


def load(vault: Vault) -> list[StoredMark]:
    """Every mark that can be read, oldest first. A corrupt one marks nothing, for prune either.

    It is read once more before it is taken for corrupt: prune may read what a writer once misread.
    """
    found = []
    for info in vault.objects(layout.MARKS):
        try:
            mark = _read(vault, info.name)
        except AbsentError:
            continue  # deleted since the listing
        except CorruptError:
            try:
                mark = _read(vault, info.name)
            except DamageError as error:
                _log.info("a list of pending deletes cannot be read, its objects stay: %s", error)
                continue
        found.append(StoredMark(info, mark))
    return sorted(found, key=lambda each: each.info.modified_at)


def _read(vault: Vault, name: str) -> Mark:
    return documents.decode(Mark, vault.read(name))


def for_writing(vault: Vault) -> Vault:
    """The vault for a writer that begins now: marked objects count as absent.

    Call it before the index is loaded: a mark that goes in between takes its packs with it.
    """
    return replace(
        vault, pending_deletes=frozenset(each.name for found in load(vault) for each in found.mark.objects)
    )


def write(vault: Vault, objects: list[PendingDelete]) -> None:
    """Mark objects; their grace begins."""
    for first in range(0, len(objects), _OBJECTS_A_MARK):
        mark = Mark(marked_at=datetime.now(UTC), objects=objects[first : first + _OBJECTS_A_MARK])
        data = documents.encode(mark)
        vault.store.put(layout.stamped_path(layout.MARKS, mark.marked_at, digest(data)), [data], len(data))

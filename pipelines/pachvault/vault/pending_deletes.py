"""Pending deletes: the objects that marks list, and that prune deletes after the grace period.

Writers treat them as absent (docs/format.md, 9.4 and 9.5).
"""

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
"""A mark with more objects could be longer than docs/format.md, 3.9, allows; then several are written."""
DAMAGED = "damaged: "
"""How the reason of a pending delete begins where repair lists a damaged pack."""


@dataclass(frozen=True, slots=True)
class StoredMark:
    """A mark in the vault. Its age is computed from the time in the listing, not from `marked_at`."""

    info: ObjectInfo
    mark: Mark


def load(vault: Vault) -> list[StoredMark]:
    """Every readable mark, oldest first. A corrupt mark lists nothing, for writers and for prune alike.

    A mark is read twice before it counts as corrupt: a writer that misreads it once must not ignore what
    prune, reading it correctly, deletes.
    """
    marks = []
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
        marks.append(StoredMark(info, mark))
    # by the store's clock: `marked_at` is of whatever machine wrote it
    return sorted(marks, key=lambda stored: stored.info.modified_at)


def _read(vault: Vault, name: str) -> Mark:
    return documents.decode(Mark, vault.read(name))


def for_writing(vault: Vault) -> Vault:
    """The vault for a writer that begins now: it has the pending deletes, which count as absent.

    Call this before the index is loaded. Prune deletes a mark after the packs that it lists: a writer that
    loads the index first could rely on such a pack and find the mark gone.
    """
    return replace(
        vault,
        pending_deletes=frozenset(pending.name for stored in load(vault) for pending in stored.mark.objects),
    )


def write(vault: Vault, objects: list[PendingDelete]) -> None:
    """List objects as pending deletes; their grace period begins."""
    for first in range(0, len(objects), _OBJECTS_A_MARK):
        mark = Mark(marked_at=datetime.now(UTC), objects=objects[first : first + _OBJECTS_A_MARK])
        # `marked_at` has microseconds, so no earlier mark is equal: put would leave that one as it is,
        # and the objects would be as old as it (format 9.8)
        data = documents.encode(mark)
        vault.store.put(layout.stamped_path(layout.MARKS, mark.marked_at, digest(data)), [data], len(data))

"""Pins: a pinned snapshot is not forgotten, whatever the policy is."""

from __future__ import annotations

from datetime import UTC, datetime

from pachvault.errors import AbsentError, CorruptError, TakenError
from pachvault.format import documents, layout
from pachvault.format.maintenance_documents import Pin
from pachvault.store.store import ObjectInfo
from pachvault.vault.vault import Vault


def load(vault: Vault) -> dict[str, Pin]:
    """Every pin by the snapshot's id. One that cannot be read still counts: its name has the id."""
    return {pin.snapshot: pin for info in vault.objects(layout.PINS) if (pin := _read(vault, info))}


def is_pinned(vault: Vault, snapshot_id: str) -> bool:
    """Whether a snapshot is pinned now."""
    return vault.store.stat(layout.pin_path(snapshot_id)) is not None


def pin(vault: Vault, snapshot_id: str, reason: str = "") -> bool:
    """Pin a snapshot; False where it was pinned already, whose reason stays."""
    if is_pinned(vault, snapshot_id):
        return False
    data = documents.encode(Pin(snapshot=snapshot_id, pinned_at=datetime.now(UTC), reason=reason))
    try:
        return vault.store.put(layout.pin_path(snapshot_id), [data], len(data))
    # format 3.3: nothing is overwritten, so of two pins the first one stays
    except TakenError:
        return False  # another process was quicker


def renew(vault: Vault, name: str) -> None:
    """Write a damaged pin again. The snapshot stays pinned, the reason is lost."""
    snapshot_id = layout.subject_of(name)
    vault.delete(name)
    pin(vault, snapshot_id, "(the pin was damaged)")


def unpin(vault: Vault, snapshot_id: str) -> bool:
    """Delete a pin; False where there was none."""
    was_pinned = is_pinned(vault, snapshot_id)
    vault.delete(layout.pin_path(snapshot_id))
    return was_pinned


def _read(vault: Vault, info: ObjectInfo) -> Pin | None:
    snapshot_id = layout.subject_of(info.name)
    try:
        stored = documents.decode(Pin, vault.get(info.name))
    except AbsentError:
        return None  # deleted since the listing
    except CorruptError:
        stored = None
    if stored is None or stored.snapshot != snapshot_id:
        return Pin(snapshot=snapshot_id, pinned_at=info.modified_at, reason="(the pin is damaged)")
    return stored

"""A manifest's way from `snapshots/` to `forgotten/`: no write of it leaves the manifest in neither place.

Nothing is deleted in one place before the other was read. Whether to forget is not decided here.
"""

from __future__ import annotations

from datetime import datetime

from pachvault.errors import AbsentError, CorruptError, DamageError
from pachvault.format import layout
from pachvault.format.ids import digest
from pachvault.maintenance import pins
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault

_STALE = 0.1
"""The part of the grace after which what an interrupted forget left is written anew."""


def forget(vault: Vault, name: SnapshotName, now: datetime) -> bool:
    """Move a manifest to where the forgotten ones are; False where it is gone or brought back meanwhile."""
    try:
        data = vault.get(name.path)
    except AbsentError:
        return False  # gone: another one was quicker
    there = layout.forgotten_path(name.path)
    if digest(data) != layout.named_digest(name.path):
        # a read may lie: what differs from what is stored raises here, and nothing is moved
        vault.store.put(name.path, [data], len(data))
        if _is_whole(vault, there):
            vault.delete(name.path)  # the other one may be brought back
            return True
    return (
        _is_cleared(vault, name, data, now) and _is_written(vault, name, data) and _is_left(vault, name, data)
    )


def has(vault: Vault, path: str, data: bytes) -> bool:
    """Whether an object is there, with these bytes."""
    try:
        return vault.get(path) == data
    except AbsentError:
        return False


def _is_cleared(vault: Vault, name: SnapshotName, data: bytes, now: datetime) -> bool:
    """Delete what is left of an earlier forget, unless it will do; False where the snapshot is gone."""
    there = layout.forgotten_path(name.path)
    left = vault.store.stat(there)
    # its age counts from here; but one that was just written may be that of another forget, under way
    is_stale = left is not None and now - left.modified_at > vault.config.grace * _STALE
    if left is not None and (is_stale or not _is_whole(vault, there)):
        if not has(vault, name.path, data):
            return False
        vault.delete(there)
    return True


def _is_written(vault: Vault, name: SnapshotName, data: bytes) -> bool:
    """Write the manifest in its new place; False where it is being brought back."""
    there = layout.forgotten_path(name.path)
    vault.store.put(there, [data], len(data))
    try:
        is_there = vault.get(there) == data
    except AbsentError:
        return False
    if not is_there:
        raise CorruptError(
            "what was just written there is something else", where=f"{vault.store.url}/{there}"
        )
    # who brings it back pins it first; in both places it is not forgotten
    return not pins.is_pinned(vault, name.id)


def _is_left(vault: Vault, name: SnapshotName, data: bytes) -> bool:
    """Delete the manifest in its old place; False, and it is there, where the new one is gone since."""
    vault.delete(name.path)
    if vault.store.stat(layout.forgotten_path(name.path)) is None:
        vault.store.put(name.path, [data], len(data))
        return False
    return True


def _is_whole(vault: Vault, path: str) -> bool:
    try:
        vault.read(path)
    except DamageError:
        return False
    return True

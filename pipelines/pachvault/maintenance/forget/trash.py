"""Moves a manifest from `snapshots/` to `forgotten/`. At no moment is it in neither folder.

It is deleted in one folder only after it was read in the other. Whether to forget is not decided here.
"""

from __future__ import annotations

from datetime import datetime

from pachvault.errors import AbsentError, CorruptError, DamageError
from pachvault.format import layout
from pachvault.format.ids import digest
from pachvault.maintenance import pins
from pachvault.store.store import object_url
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault

_STALE = 0.1
"""The part of the grace period after which a manifest that an interrupted forget left is written again."""


def forget(vault: Vault, name: SnapshotName, now: datetime) -> bool:
    """Move a manifest to `forgotten/`; False where it is gone, or is being brought back."""
    try:
        data = vault.get(name.path)
    except AbsentError:
        return False  # another forget was quicker
    forgotten_path = layout.forgotten_path(name.path)
    if digest(data) != layout.named_digest(name.path):
        # the read may be wrong: `put` raises where the stored bytes differ from these, and nothing is moved
        vault.store.put(name.path, [data], len(data))
        if _is_intact(vault, forgotten_path):
            # keep the intact one of the two: it can be brought back
            vault.delete(name.path)
            return True
    return (
        _clear(vault, name, data, now)
        and _write_forgotten(vault, name, data)
        and _delete_old(vault, name, data)
    )


def has(vault: Vault, path: str, data: bytes) -> bool:
    """Whether an object is in the vault, with these bytes."""
    try:
        return vault.get(path) == data
    except AbsentError:
        return False


def _clear(vault: Vault, name: SnapshotName, data: bytes, now: datetime) -> bool:
    """Delete what an earlier forget left in `forgotten/`, if it must go; False if the snapshot is gone."""
    forgotten_path = layout.forgotten_path(name.path)
    leftover = vault.store.stat(forgotten_path)
    # the time to bring it back counts from the age of this object, so it must be new; but a young one may be
    # that of another forget, in progress
    is_stale = leftover is not None and now - leftover.modified_at > vault.config.grace * _STALE
    if leftover is not None and (is_stale or not _is_intact(vault, forgotten_path)):
        # the leftover may be the only copy: another process may have finished the forget since `data` was
        # read
        if not has(vault, name.path, data):
            return False
        # format 3.3: `put` overwrites nothing, so a manifest with a new time needs the old one deleted
        vault.delete(forgotten_path)
    return True


def _write_forgotten(vault: Vault, name: SnapshotName, data: bytes) -> bool:
    """Write the manifest in `forgotten/`; False where it is being brought back."""
    forgotten_path = layout.forgotten_path(name.path)
    vault.store.put(forgotten_path, [data], len(data))
    try:
        is_equal = vault.get(forgotten_path) == data
    except AbsentError:
        return False
    if not is_equal:
        raise CorruptError(
            "the bytes read differ from those just written", where=object_url(vault.store.url, forgotten_path)
        )
    # `bring_back` pins a snapshot first; while the manifest is in both folders it is not forgotten
    return not pins.is_pinned(vault, name.id)


def _delete_old(vault: Vault, name: SnapshotName, data: bytes) -> bool:
    """Delete the manifest in `snapshots/`; False, and it is written again, if the new one is gone by then."""
    # format 9.2: only now, with the new one read back. The next check closes the race with a forget that
    # found the leftover stale, and deleted what this one wrote
    vault.delete(name.path)
    if vault.store.stat(layout.forgotten_path(name.path)) is None:
        vault.store.put(name.path, [data], len(data))
        return False
    return True


def _is_intact(vault: Vault, path: str) -> bool:
    try:
        vault.read(path)
    except DamageError:
        return False
    return True

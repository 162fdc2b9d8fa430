"""Files in the vault's folder that are not objects. Nothing reads or deletes them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial

from pachvault.errors import DamageError
from pachvault.format import documents, layout
from pachvault.format.ids import digest
from pachvault.format.manifest import Manifest
from pachvault.maintenance.verify.findings import Damage, tried
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault

_NAMED = 100
"""How many stray files are named, one by one."""


def misnamed(vault: Vault) -> list[Damage]:
    """Manifests of this vault under wrong names, and files that could not be read."""
    listing = Damage(kind="listing", object=layout.SNAPSHOTS)
    infos, lost = tried(listing, lambda: list(vault.store.list(layout.SNAPSHOTS)))
    listed = {info.name for info in infos or ()}
    for info in infos or ():
        if info.other or snapshots.parse_path(info.name) is not None:
            continue
        about = Damage(kind="stray", object=shown(info.name))
        data, damages = tried(about, partial(vault.store.get, info.name, layout.most_bytes(info.name)))
        # a file that is too long for a manifest is not one
        lost += [damage for damage in damages if not damage.is_read]
        path = _true_name(vault, data) if data is not None else ""
        if path and path not in listed:
            message = f"a manifest under a wrong name, so its snapshot is not listed: rename it to {path}"
            snapshot = frozenset([(layout.named_digest(path) or b"").hex()[:12]])
            lost.append(
                replace(about, kind="manifest-misnamed", message=message, is_vital=True, snapshots=snapshot)
            )
    return lost


def strays(vault: Vault, besides: Collection[str] = ()) -> list[Damage]:
    """The files in the vault's folder that are not its objects, without those in `besides`."""
    infos, failed = tried(Damage(kind="listing", object=""), lambda: list(vault.store.list("")))
    notes = []
    for info in infos or ():
        name = shown(info.name)
        # a file system of its own has this folder at its root, with access for root only
        if name.partition("/")[0] == layout.LOST_AND_FOUND or name in besides:
            continue
        if info.other or layout.parse(info.name) is None:
            what = f"{info.other or 'no object of the vault has such a name'}: it is ignored"
            notes.append(Damage(kind="stray", object=name, message=what, is_stray=True))
    if len(notes) > _NAMED:
        more = f"{len(notes) - _NAMED} more files that are not objects of the vault"
        notes[_NAMED:] = [replace(notes[_NAMED - 1], object=".", message=more)]
    return [*failed, *notes]


def shown(name: str) -> str:
    """A name from a listing as text that can be encoded, whatever its bytes are."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _true_name(vault: Vault, data: bytes) -> str:
    """The right name of a manifest of this vault; empty where it is none."""
    try:
        manifest = documents.decode(Manifest, data)
    except DamageError:
        return ""
    is_ours = manifest.vault_id == vault.config.vault_id
    return layout.snapshot_path(manifest.frozen_at, manifest.sequence, digest(data)) if is_ours else ""

"""What lies in the vault and is none of its objects: no reader looks there, and nothing here removes it."""

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
"""So many strays are named, one by one."""


def misnamed(vault: Vault) -> list[Damage]:
    """Manifests of this vault that lost their names, and what could not be looked at."""
    listing = Damage(kind="listing", object=layout.SNAPSHOTS)
    infos, lost = tried(listing, lambda: list(vault.store.list(layout.SNAPSHOTS)))
    listed = {info.name for info in infos or ()}
    for info in infos or ():
        if info.other or snapshots.parse_path(info.name) is not None:
            continue
        about = Damage(kind="stray", object=shown(info.name))
        data, damages = tried(about, partial(vault.store.get, info.name, layout.most_bytes(info.name)))
        # what is too long for a manifest is none
        lost += [damage for damage in damages if not damage.is_read]
        path = _true_name(vault, data) if data is not None else ""
        if path and path not in listed:
            message = f"a snapshot that nobody finds: it must be named {path}"
            lost.append(replace(about, kind="manifest-misnamed", message=message, is_vital=True))
    return lost


def strays(vault: Vault, besides: Collection[str] = ()) -> list[Damage]:
    """What lies in the vault's place and is none of its objects, but for what is named already."""
    infos, failed = tried(Damage(kind="listing", object=""), lambda: list(vault.store.list("")))
    notes = []
    for info in infos or ():
        name = shown(info.name)
        if name.partition("/")[0] == layout.LOST_AND_FOUND or name in besides:
            continue
        if info.other or layout.parse(info.name) is None:
            what = f"{info.other or 'no object of the vault has such a name'}: it is not looked at"
            notes.append(Damage(kind="stray", object=name, message=what, is_stray=True))
    if len(notes) > _NAMED:
        more = f"{len(notes) - _NAMED} more like the one before"
        notes[_NAMED:] = [replace(notes[_NAMED - 1], object=".", message=more)]
    return [*failed, *notes]


def shown(name: str) -> str:
    """A name from a listing as text that can be written, whatever its bytes are."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _true_name(vault: Vault, data: bytes) -> str:
    """What a manifest of this vault must be named; empty where it is none."""
    try:
        manifest = documents.decode(Manifest, data)
    except DamageError:
        return ""
    is_ours = manifest.vault_id == vault.config.vault_id
    return layout.snapshot_path(manifest.frozen_at, manifest.sequence, digest(data)) if is_ours else ""

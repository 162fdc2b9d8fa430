"""What lies among the snapshots under a name that no manifest has: no reader looks there."""

from __future__ import annotations

from functools import partial

from pachvault.errors import DamageError
from pachvault.format import documents, layout
from pachvault.format.documents import Manifest
from pachvault.format.ids import digest
from pachvault.upkeep.findings import Damage, tried
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault


def unnamed(vault: Vault) -> tuple[list[Damage], list[Damage]]:
    """Manifests that lost their names, or could not be looked at; and what is none."""
    listing = Damage(kind="listing", object=layout.SNAPSHOTS)
    listed, lost = tried(listing, lambda: {info.name for info in vault.store.list(layout.SNAPSHOTS)})
    strays = []
    for name in sorted(listed or ()):
        if snapshots.named(name) is None:
            data, damages = tried(Damage(kind="stray", object=name), partial(vault.store.get, name))
            lost += damages
            path = _true_name(vault, data) if data is not None else ""
            if path and path not in (listed or ()):
                message = f"a snapshot that nobody finds: it must be named {path}"
                lost.append(Damage(kind="manifest-misnamed", object=name, message=message, is_vital=True))
            elif data is not None:
                what = f"a copy of {path}" if path else "no manifest has such a name"
                strays.append(Damage(kind="stray", object=name, message=what, is_stray=True))
    return lost, strays


def _true_name(vault: Vault, data: bytes) -> str:
    """What a manifest of this vault must be named; empty where it is none."""
    try:
        manifest = documents.decode(Manifest, data)
    except DamageError:
        return ""
    is_ours = manifest.vault_id == vault.config.vault_id
    return layout.snapshot_path(manifest.frozen_at, digest(data)) if is_ours else ""

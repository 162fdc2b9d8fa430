"""`vault.json` made anew from what the manifests say of the vault."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from pachvault.errors import DamageError, NoVaultError
from pachvault.format import documents, layout
from pachvault.format.config import FORMAT, GRACE_SECONDS, Config, Header
from pachvault.format.ids import digest
from pachvault.format.manifest import Manifest
from pachvault.store.store import Store
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault, list_objects, open_vault

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A configuration that was made up here, because `vault.json` is lost."""

    config: Config
    is_grace_known: bool
    """Whether anything says the vault's grace; else that of a new vault was assumed."""


def open_or_rebuild(store: Store) -> tuple[Vault, Rebuilt | None]:
    """The vault, and what its `vault.json` is to be where that is lost; nothing is written.

    Raises NoVaultError where no manifest says whose vault this is, and what `open_vault` raises for
    a vault that is sealed or newer: that is no damage.
    """
    if not store.exists():
        return open_vault(store), None
    config = None if _is_lost(store) else open_vault(store).config
    owners = _owners(store)
    if config is not None and (config.vault_id in owners or len(owners) != 1):
        return Vault(store, config), None
    if len(owners) != 1:
        why = "manifests of several vaults" if owners else "no manifest that can be read"
        raise NoVaultError(
            f"vault.json is lost, and there is {why}: nothing says which vault this is",
            where=store.url,
            hint="put vault.json back from a copy",
        )
    ((vault_id, said),) = owners.items()
    if config is not None:
        rebuilt = Rebuilt(config.model_copy(update={"vault_id": vault_id}), is_grace_known=True)
    else:
        began = min(each.freeze_began_at for each in said)
        known = [each for each in said if each.grace_seconds is not None]
        last = max(known, key=lambda each: (each.sequence, each.sealed_at), default=None)
        grace = last.grace_seconds if last else None
        made = Config(vault_id=vault_id, created_at=began, grace_seconds=grace or GRACE_SECONDS)
        rebuilt = Rebuilt(made, is_grace_known=grace is not None)
    return Vault(store, rebuilt.config), rebuilt


def write(vault: Vault) -> None:
    """Write the configuration; what lies in its place and says nothing true is removed first."""
    data = vault.config.encode()
    if vault.store.stat(layout.CONFIG) is not None:
        if vault.get(layout.CONFIG) == data:
            return
        vault.delete(layout.CONFIG)
    vault.store.put(layout.CONFIG, [data], len(data))
    open_vault(vault.store)


def _owners(store: Store) -> dict[str, list[_Said]]:
    """What manifests say, by the id of the vault that they name."""
    found: dict[str, list[_Said]] = {}
    for folder in (layout.SNAPSHOTS, layout.FORGOTTEN):
        for info in list_objects(store, folder):
            manifest = _manifest(store, info.name)
            if manifest is not None:
                said = _Said(
                    manifest.freeze_began_at, manifest.sequence, manifest.sealed_at, manifest.grace_seconds
                )
                found.setdefault(manifest.vault_id, []).append(said)
    return found


class _Said(NamedTuple):
    """What a manifest says of its vault."""

    freeze_began_at: datetime
    sequence: int
    sealed_at: datetime
    grace_seconds: float | None


def _is_lost(store: Store) -> bool:
    """Whether there is no `vault.json`, or one that says nothing."""
    if store.stat(layout.CONFIG) is None:
        return True
    try:
        data = store.get(layout.CONFIG, layout.most_bytes(layout.CONFIG))
        if documents.decode(Header, data).format <= FORMAT:
            documents.decode(Config, data)
    except DamageError as error:
        _log.info("the configuration is rebuilt: %s", error)
        return True
    return False


def _manifest(store: Store, path: str) -> Manifest | None:
    if snapshots.parse_path(path) is None:
        return None
    try:
        data = store.get(path, layout.most_bytes(path))
        return documents.decode(Manifest, data) if digest(data) == layout.named_digest(path) else None
    except DamageError as error:
        _log.info("skipped a damaged snapshot: %s", error)
        return None

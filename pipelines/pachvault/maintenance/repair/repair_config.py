"""`vault.json` rebuilt from what the manifests record of the vault."""

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
    """A configuration in place of a lost `vault.json`."""

    config: Config
    is_grace_known: bool
    """Whether a manifest records the grace period. If none does, the default is used."""


def open_or_rebuild(store: Store) -> tuple[Vault, Rebuilt | None]:
    """The vault, and its rebuilt `vault.json` where that is lost; nothing is written.

    Raises NoVaultError where no manifest records the vault's id, and what `open_vault` raises for a vault
    that is encrypted or has a newer format: such a vault is not damaged.
    """
    # raises NoVaultError: an unmounted place is no vault that has lost its `vault.json`
    if not store.exists():
        return open_vault(store), None
    config = None if _is_lost(store) else open_vault(store).config
    owners = _owners(store)
    # format 8.4.3: by a `vault.json` of another vault no manifest could be read, so it counts as lost. Where
    # manifests disagree there is nothing to decide by
    if config is not None and (config.vault_id in owners or len(owners) != 1):
        return Vault(store, config), None
    if len(owners) != 1:
        why = "the manifests name several vaults" if owners else "no manifest can be read"
        raise NoVaultError(
            f"vault.json is lost, and the vault's id cannot be determined: {why}",
            where=store.url,
            hint="put vault.json back from a copy",
        )
    ((vault_id, records),) = owners.items()
    if config is not None:
        rebuilt = Rebuilt(config.model_copy(update={"vault_id": vault_id}), is_grace_known=True)
    else:
        created_at = min(record.freeze_began_at for record in records)
        with_grace = [record for record in records if record.grace_seconds is not None]
        # format 8.4.4: that of the manifest sealed last; its time only orders manifests of one number
        newest = max(with_grace, key=lambda record: (record.sequence, record.sealed_at), default=None)
        grace = newest.grace_seconds if newest else None
        config = Config(vault_id=vault_id, created_at=created_at, grace_seconds=grace or GRACE_SECONDS)
        rebuilt = Rebuilt(config, is_grace_known=grace is not None)
    return Vault(store, rebuilt.config), rebuilt


def write(vault: Vault) -> None:
    """Write the configuration; a damaged one is removed first."""
    data = vault.config.encode()
    if vault.store.stat(layout.CONFIG) is not None:
        try:
            if vault.get(layout.CONFIG) == data:
                return
        except DamageError:
            pass  # too long for a configuration: it is replaced like any other damaged one
        vault.delete(layout.CONFIG)
    vault.store.put(layout.CONFIG, [data], len(data))
    # format 9.10: read back
    open_vault(vault.store)


def _owners(store: Store) -> dict[str, list[_VaultRecord]]:
    """What manifests record, by the id of the vault that they name."""
    records: dict[str, list[_VaultRecord]] = {}
    for folder in (layout.SNAPSHOTS, layout.FORGOTTEN):
        for info in list_objects(store, folder):
            manifest = _manifest(store, info.name)
            if manifest is not None:
                record = _VaultRecord(
                    manifest.freeze_began_at, manifest.sequence, manifest.sealed_at, manifest.grace_seconds
                )
                records.setdefault(manifest.vault_id, []).append(record)
    return records


class _VaultRecord(NamedTuple):
    """What a manifest records of its vault."""

    freeze_began_at: datetime
    sequence: int
    sealed_at: datetime
    grace_seconds: float | None


def _is_lost(store: Store) -> bool:
    """Whether `vault.json` is missing or corrupt."""
    if store.stat(layout.CONFIG) is None:
        return True
    try:
        data = store.get(layout.CONFIG, layout.most_bytes(layout.CONFIG))
        # a newer format has fields that this version cannot judge: `open_vault` refuses it, and repair must
        # not replace it
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

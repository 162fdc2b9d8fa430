"""Erasures that a new snapshot inherits from those that it builds on. Nothing is erased here."""

from __future__ import annotations

import logging
from collections.abc import Collection

from pachvault.errors import DamageError
from pachvault.format.manifest import ErasureNote
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)


def inherited(vault: Vault, records: Collection[bytes]) -> list[ErasureNote]:
    """What was erased from the newest snapshots that have these records, each once."""
    wanted = set(records)
    erased: list[ErasureNote] = []
    for name in reversed(snapshots.names(vault)):
        if not wanted:
            break
        try:
            manifest = snapshots.load(vault, name).manifest
        except DamageError as error:
            _log.info("skipped a damaged snapshot when looking for erasures: %s", error)
            continue  # skipped when the records were chosen, too
        their_records = {entry.record for entry in manifest.repos}
        if wanted & their_records:
            erased += [erasure for erasure in manifest.erased if erasure not in erased]
            wanted -= their_records
    return erased

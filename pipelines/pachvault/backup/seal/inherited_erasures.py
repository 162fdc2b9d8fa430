"""What a new snapshot lacks because it was erased from those that it builds on. Nothing is erased here."""

from __future__ import annotations

import logging
from collections.abc import Collection

from pachvault.errors import DamageError
from pachvault.format.documents import Erased
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)


def inherited(vault: Vault, records: Collection[bytes]) -> list[Erased]:
    """What was taken out of the newest snapshots that have these records, each once."""
    wanted = set(records)
    found: list[Erased] = []
    for name in reversed(snapshots.names(vault)):
        if not wanted:
            break
        try:
            manifest = snapshots.load(vault, name).manifest
        except DamageError as error:  # as when the records were chosen
            _log.info("skipped a damaged snapshot when looking for erasures: %s", error)
            continue
        theirs = {entry.record for entry in manifest.repos}
        if wanted & theirs:
            found += [each for each in manifest.erased if each not in found]
            wanted -= theirs
    return found

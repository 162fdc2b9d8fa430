"""How long a restore will take: R = D / B, data by the bandwidth that was measured."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pachvault.errors import DamageError
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_LEAST_BYTES = 1_000_000
"""Of less than this, a run's time says nothing about bandwidth."""
_NEWEST = 10
"""So many restores or snapshots are asked."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Bytes a second, and where that is from, in words."""

    bytes_per_second: float
    source: str


def measured(recorded: Sequence[Mapping[str, Any]], vault: Vault) -> Throughput | None:
    """What finished restores of this vault attained (records, oldest first), else its newest exports."""
    mine = [
        said
        for said in recorded
        if said.get("vault") == vault.config.vault_id
        and said.get("seconds")
        and said["bytes"] >= _LEAST_BYTES
    ][-_NEWEST:]
    if mine:
        rate = sum(said["bytes"] for said in mine) / sum(said["seconds"] for said in mine)
        restores = f"the last {len(mine)} restores" if len(mine) > 1 else "the last restore"
        return Throughput(rate, f"{restores} of this vault")
    for name in snapshots.names(vault)[: -_NEWEST - 1 : -1]:
        try:
            totals = snapshots.load(vault, name).manifest.totals
        except DamageError as error:
            _log.info("skipped a damaged snapshot when estimating the throughput: %s", error)
            continue
        if totals.bytes_read >= _LEAST_BYTES and totals.export_seconds:
            rate = totals.bytes_read / totals.export_seconds
            return Throughput(rate, f"the export of snapshot {name.id[:12]}, for no restore was measured yet")
    return None

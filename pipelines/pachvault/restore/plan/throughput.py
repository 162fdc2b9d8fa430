"""Estimates how long a restore takes: data divided by the throughput that was measured."""

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
"""The time of a smaller run does not depend on throughput."""
_NEWEST = 10
"""The number of restores, or of snapshots, that an estimate uses."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Bytes a second, and the source of the figure as text."""

    bytes_per_second: float
    source: str


def measured(recorded: Sequence[Mapping[str, Any]], vault: Vault) -> Throughput | None:
    """The throughput of finished restores of this vault (records, oldest first), or of its exports."""
    usable = [
        record
        for record in recorded
        if record.get("vault") == vault.config.vault_id
        and record.get("seconds")
        and record["bytes"] >= _LEAST_BYTES
    ][-_NEWEST:]
    if usable:
        # sums, not a mean of rates: a small restore would count as much as a large one
        rate = sum(record["bytes"] for record in usable) / sum(record["seconds"] for record in usable)
        restores = f"the last {len(usable)} restores" if len(usable) > 1 else "the last restore"
        return Throughput(rate, f"{restores} of this vault")
    # newest first: the names are in the order of sealing
    for name in snapshots.names(vault)[: -_NEWEST - 1 : -1]:
        try:
            totals = snapshots.load(vault, name).manifest.totals
        except DamageError as error:
            _log.info("skipped a damaged snapshot when estimating the throughput: %s", error)
            continue
        if totals.bytes_read >= _LEAST_BYTES and totals.export_seconds:
            rate = totals.bytes_read / totals.export_seconds
            return Throughput(rate, f"the export of snapshot {name.id[:12]}, as no restore was measured yet")
    return None

"""The newest snapshots of a vault, as its status shows them: what they note, and which are dated ahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from pachvault.errors import DamageError
from pachvault.syntax.quantities import rounded_in_words
from pachvault.vault import clock, snapshots
from pachvault.vault.snapshots import Snapshot, SnapshotName
from pachvault.vault.vault import Vault

_READS_AT_ONCE = 4
_NOTED = 20
"""How many problems and notes of a snapshot are shown."""


@dataclass(frozen=True, slots=True)
class LatestSnapshot:
    """The snapshot sealed last, of those that are not dated in the future."""

    id: str
    frozen_at: datetime
    partial: bool
    policy: str


@dataclass(frozen=True, slots=True)
class NewestSnapshots:
    """What status tells of the snapshots."""

    count: int
    """All of them."""
    latest: LatestSnapshot | None
    future: list[str]
    """Those that are dated in the future, and so count neither as newest nor as covering; a line each."""
    notes: list[str]
    """What the newest one of each cluster and policy notes or lacks, a line each."""
    damaged: list[str]
    """Manifests that cannot be read, a line each."""


def newest(vault: Vault, policy: str | None, now: datetime) -> NewestSnapshots:
    """Look through all manifests. With a policy's name, the latest one is of that policy."""
    names = snapshots.names(vault)
    future: list[str] = []
    damaged: list[str] = []
    past: dict[tuple[str, str], Snapshot] = {}  # the last one is the one sealed last

    def read(name: SnapshotName) -> Snapshot | DamageError:
        try:
            return snapshots.load(vault, name)
        except DamageError as error:
            return error

    with ThreadPoolExecutor(_READS_AT_ONCE, "newest") as pool:
        for name, found in zip(names, pool.map(read, names), strict=True):
            if isinstance(found, DamageError):
                damaged.append(f"{name.path}: {found.what}")
            elif clock.is_future(name.frozen_at, now):
                ahead = rounded_in_words(name.frozen_at - now)
                future.append(f"{found.short_id}, dated {ahead} ahead of this machine's clock")
            else:
                key = found.manifest.cluster.id, found.manifest.policy
                past.pop(key, None)
                past[key] = found
    mine = [each for each in past.values() if policy in (None, each.manifest.policy)]
    latest = _latest(mine[-1]) if mine else None
    return NewestSnapshots(len(names), latest, future, list(_notes(past.values())), damaged)


def _latest(snapshot: Snapshot) -> LatestSnapshot:
    manifest = snapshot.manifest
    return LatestSnapshot(snapshot.name.id, snapshot.name.frozen_at, manifest.partial, manifest.policy)


def _notes(found: Iterable[Snapshot]) -> Iterator[str]:
    for snapshot in found:
        problems = snapshot.manifest.problems
        where = f"snapshot {snapshot.short_id} of policy {snapshot.manifest.policy}"
        for problem in problems[:_NOTED]:
            yield f"{where}: {problem.kind}: {problem.where}: {problem.message}"
        if len(problems) > _NOTED:
            yield f"{where}: {len(problems) - _NOTED} more: `pachvault show {snapshot.short_id}`"

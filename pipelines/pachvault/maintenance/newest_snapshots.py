"""The newest snapshots of a vault, for its status: their problems, and those dated in the future."""

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
_PROBLEMS_SHOWN = 20
"""Of each snapshot, at most."""


@dataclass(frozen=True, slots=True)
class LatestSnapshot:
    """The snapshot that was sealed last, of those that are not dated in the future."""

    id: str
    frozen_at: datetime
    partial: bool
    policy: str


@dataclass(frozen=True, slots=True)
class NewestSnapshots:
    """What `pachvault status` reports of the snapshots."""

    count: int
    """All of them."""
    latest: LatestSnapshot | None
    future: list[str]
    """Those dated in the future, a line each: they do not count as the newest, and cover no tick."""
    notes: list[str]
    """The problems of the newest snapshot of each cluster and policy, a line each."""
    damaged: list[str]
    """Manifests that cannot be read, a line each."""


def newest(vault: Vault, policy: str | None, now: datetime) -> NewestSnapshots:
    """Read all manifests. `latest` is that of the policy, if one is named."""
    names = snapshots.names(vault)
    future: list[str] = []
    damaged: list[str] = []
    newest_by_owner: dict[tuple[str, str], Snapshot] = {}
    """By cluster and policy, in the order of sealing."""

    def read(name: SnapshotName) -> Snapshot | DamageError:
        try:
            return snapshots.load(vault, name)
        except DamageError as error:
            return error

    with ThreadPoolExecutor(_READS_AT_ONCE, "newest") as pool:
        for name, snapshot in zip(names, pool.map(read, names), strict=True):
            if isinstance(snapshot, DamageError):
                damaged.append(f"{name.path}: {snapshot.what}")
            # format 8.5.4: one machine whose clock was ahead must not hide that backups stopped
            elif clock.is_future(name.frozen_at, now):
                ahead = rounded_in_words(name.frozen_at - now)
                future.append(f"{snapshot.short_id}, dated {ahead} ahead of this machine's clock")
            else:
                owner = snapshot.manifest.cluster.id, snapshot.manifest.policy
                newest_by_owner.pop(owner, None)  # so that the key is moved to the end
                newest_by_owner[owner] = snapshot
    of_policy = [
        snapshot for snapshot in newest_by_owner.values() if policy in (None, snapshot.manifest.policy)
    ]
    latest = _latest(of_policy[-1]) if of_policy else None
    return NewestSnapshots(len(names), latest, future, list(_notes(newest_by_owner.values())), damaged)


def _latest(snapshot: Snapshot) -> LatestSnapshot:
    manifest = snapshot.manifest
    return LatestSnapshot(snapshot.name.id, snapshot.name.frozen_at, manifest.partial, manifest.policy)


def _notes(newest_snapshots: Iterable[Snapshot]) -> Iterator[str]:
    for snapshot in newest_snapshots:
        problems = snapshot.manifest.problems
        policy = snapshot.manifest.policy
        where = f"snapshot {snapshot.short_id} {f'of policy {policy}' if policy else 'without a policy'}"
        for problem in problems[:_PROBLEMS_SHOWN]:
            yield f"{where}: {problem.kind}: {problem.where}: {problem.message}"
        if len(problems) > _PROBLEMS_SHOWN:
            yield f"{where}: {len(problems) - _PROBLEMS_SHOWN} more: `pachvault show {snapshot.short_id}`"

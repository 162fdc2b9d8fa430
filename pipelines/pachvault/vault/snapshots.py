"""Snapshots: their names, their order, the latest one, and how users refer to them (docs/format.md, 8.5)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from pachvault.errors import CorruptError, DamageError, StoreError, UsageError
from pachvault.format import documents, layout
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Manifest, RepoEntry
from pachvault.store.store import object_url
from pachvault.syntax import selection
from pachvault.syntax.selection import SnapshotRef
from pachvault.vault import clock
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)
_MANIFESTS = (layout.Kind.SNAPSHOT, layout.Kind.FORGOTTEN)


@dataclass(frozen=True, slots=True)
class SnapshotName:
    """What the name of a manifest gives."""

    path: str
    frozen_at: datetime
    id: str
    """64 hexadecimal digits: the digest of the manifest."""
    sequence: int = 0
    """Its number in the order of sealing; 0 where the name has none. Those come first."""


@dataclass(frozen=True)
class Snapshot:
    """A sealed snapshot, opened."""

    vault: Vault
    name: SnapshotName
    manifest: Manifest

    @property
    def short_id(self) -> str:
        """The first 12 digits of the id."""
        return self.name.id[:12]

    def repos(self) -> Iterator[tuple[RepoEntry, RepoHistory]]:
        """Every repo of the snapshot with its history."""
        for entry in self.manifest.repos:
            yield entry, RepoHistory(self.vault, self.vault.repo_record(entry.record))

    def repo(self, name: RepoName) -> RepoHistory:
        """One repo's history; UsageError where the snapshot has no such repo."""
        for entry in self.manifest.repos:
            if (entry.project, entry.repo) == (name.project, name.repo):
                return RepoHistory(self.vault, self.vault.repo_record(entry.record))
        raise UsageError(f"snapshot {self.short_id} has no repo {name}", hint="`pachvault show` lists them")


def parse_path(path: str) -> SnapshotName | None:
    """The parts of a manifest's path; None where the path is not one of a manifest."""
    name = layout.parse(path)
    if name is None or name.at is None or name.digest is None or name.kind not in _MANIFESTS:
        return None
    return SnapshotName(path, name.at, name.digest.hex(), name.sequence)


def names(vault: Vault) -> list[SnapshotName]:
    """Every snapshot of the vault, in the order of sealing (docs/format.md, 8.5)."""
    listed = (parse_path(info.name) for info in vault.objects(layout.SNAPSHOTS))
    in_order = sorted((name for name in listed if name is not None), key=_order_by_name)
    return [
        name for _, tied in groupby(in_order, key=_order_by_name) for name in _by_seal_time(vault, list(tied))
    ]


def next_sequence(vault: Vault) -> int:
    """The number of a snapshot that is sealed now: after the highest, forgotten snapshots included."""
    folders = (layout.SNAPSHOTS, layout.FORGOTTEN)
    listed = (parse_path(info.name) for folder in folders for info in vault.objects(folder))
    numbered = [name for name in listed if name is not None and name.sequence]
    # format 8.5.1. A stray name with the highest possible number must not leave no number for the next seal.
    # A snapshot that is forgotten between the two listings is in both: its second place is readable
    for name in sorted(numbered, key=lambda name: name.sequence, reverse=True):
        try:
            return load(vault, name).manifest.sequence + 1
        except DamageError:
            continue  # a number counts only where the manifest is readable and has it, too
    return 1


def _order_by_name(name: SnapshotName) -> tuple[int, datetime | None]:
    """The order as far as names give it: the number, or the time of the freeze where there is none."""
    # None meets only None, which tuples find equal by identity: all names without a number have a time here
    return name.sequence, None if name.sequence else name.frozen_at


def _by_seal_time(vault: Vault, tied: list[SnapshotName]) -> list[SnapshotName]:
    """Snapshots with the same number, by the exact time of sealing, which only their manifests have."""
    return sorted(tied, key=lambda name: _sealed_at(vault, name)) if len(tied) > 1 else tied


def _sealed_at(vault: Vault, name: SnapshotName) -> datetime:
    try:
        return load(vault, name).manifest.sealed_at
    except DamageError:
        return name.frozen_at


def load(vault: Vault, name: SnapshotName) -> Snapshot:
    """Open a snapshot; DamageError where the manifest is damaged or contradicts its name."""
    manifest = documents.decode(Manifest, vault.read(name.path))
    # format 8.4.3: a manifest copied from another vault has the right digest, and names objects of that one
    if manifest.vault_id != vault.config.vault_id:
        raise CorruptError(
            "the manifest belongs to another vault", where=object_url(vault.store.url, name.path)
        )
    # the digest does not cover the rest of the name: a renamed manifest must not change the order
    if manifest.frozen_at.replace(microsecond=0) != name.frozen_at:
        raise CorruptError(
            "the manifest has another time of freeze than its name",
            where=object_url(vault.store.url, name.path),
        )
    if manifest.sequence != name.sequence:
        raise CorruptError(
            "the manifest has another sequence number than its name",
            where=object_url(vault.store.url, name.path),
        )
    return Snapshot(vault, name, manifest)


def resolve(vault: Vault, reference: str | SnapshotRef) -> Snapshot:
    """The snapshot that a reference selects, opened; see `find`."""
    return load(vault, find(vault, reference))


def find(vault: Vault, reference: str | SnapshotRef) -> SnapshotName:
    """The name of the snapshot that a reference selects; UsageError where none or several match."""
    wanted = SnapshotRef.parse(reference) if isinstance(reference, str) else reference
    in_order = names(vault)
    if not in_order:
        raise UsageError("the vault has no snapshot yet", where=vault.store.url)
    if wanted.at is not None:
        return _at(vault, in_order, wanted.at)
    return _latest(vault, in_order) if wanted.id == selection.LATEST else pick(in_order, wanted.id, vault)


def _latest(vault: Vault, in_order: Sequence[SnapshotName]) -> SnapshotName:
    """The snapshot sealed last that is not dated in the future; the last of all where all are.

    A date is in the future where it is ahead of this machine's clock and of the store's. The store's clock is
    read only where it decides: reading it writes a probe object, and most readers cannot write.
    """
    now = datetime.now(UTC)
    if clock.is_future(in_order[-1].frozen_at, now):
        try:
            now = max(now, clock.store_now(vault, is_cleared=False))
        except StoreError:
            # one clock alone must not decide, so no snapshot counts as dated in the future
            now = in_order[-1].frozen_at
    past = [name for name in in_order if not clock.is_future(name.frozen_at, now)] or in_order
    if past[-1] != in_order[-1]:
        _log.warning(
            "snapshot %s was sealed last, but is dated in the future (%s UTC): latest is %s",
            in_order[-1].id[:12],
            f"{in_order[-1].frozen_at:%Y-%m-%d %H:%M}",
            past[-1].id[:12],
        )
    return up_to_readable(vault, past)[-1]


def up_to_readable(vault: Vault, in_order: Sequence[SnapshotName]) -> Sequence[SnapshotName]:
    """The snapshots up to the newest readable one; newer damaged ones are logged.

    All snapshots, where none is readable.
    """
    for count in range(len(in_order), 0, -1):
        name = in_order[count - 1]
        try:
            load(vault, name)
        except DamageError as error:
            when = f"{name.frozen_at:%Y-%m-%d %H:%M} UTC"
            _log.warning("snapshot %s of %s is damaged and is left out: %s", name.id[:12], when, error.what)
        else:
            return in_order[:count]
    return in_order


def pick(in_order: Sequence[SnapshotName], prefix: str, vault: Vault) -> SnapshotName:
    """The snapshot whose id begins with `prefix`; UsageError where none or several match."""
    by_id = {name.id: name for name in in_order}
    snapshot_id = selection.pick(by_id, prefix, "snapshot", selection.SNAPSHOT_DIGITS)
    if snapshot_id is None:
        raise UsageError(
            f"no snapshot {prefix!r}", where=vault.store.url, hint="`pachvault snapshots` lists them"
        )
    return by_id[snapshot_id]


def _at(vault: Vault, in_order: Sequence[SnapshotName], at: datetime) -> SnapshotName:
    """The newest readable snapshot that was frozen at or before a time."""
    # not by number: of two runs that overlapped the one sealed later may be frozen earlier (decision 0007)
    by_freeze = sorted(in_order, key=lambda name: name.frozen_at)
    older = [name for name in by_freeze if _is_frozen_by(vault, name, at)]
    if older:
        return up_to_readable(vault, older)[-1]
    raise UsageError(
        f"no snapshot was frozen at or before {at:%Y-%m-%d %H:%M:%S} UTC",
        where=vault.store.url,
        hint=f"the oldest is of {by_freeze[0].frozen_at:%Y-%m-%d %H:%M:%S} UTC",
    )


def _is_frozen_by(vault: Vault, name: SnapshotName, at: datetime) -> bool:
    """Whether it was frozen at or before a time. The name has whole seconds, the manifest fractions."""
    if name.frozen_at > at or not at.microsecond:
        return name.frozen_at <= at
    try:
        return load(vault, name).manifest.frozen_at <= at
    except DamageError as error:
        _log.info("the name of a damaged snapshot counts as its time: %s", error)
        return True

"""Snapshots: finding them, reading them, and the trees of their commits."""

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
from pachvault.syntax import selection
from pachvault.syntax.selection import SnapshotRef
from pachvault.vault import clock
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)
_MANIFESTS = (layout.Kind.SNAPSHOT, layout.Kind.FORGOTTEN)


@dataclass(frozen=True, slots=True)
class SnapshotName:
    """A manifest as a listing shows it."""

    path: str
    frozen_at: datetime
    id: str
    """64 hexadecimal digits: the digest of the manifest."""
    sequence: int = 0
    """Its place in the order of sealing; 0 before those that have one."""


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
    """What a manifest's path says; None where it is not a manifest's."""
    name = layout.parse(path)
    if name is None or name.at is None or name.digest is None or name.kind not in _MANIFESTS:
        return None
    return SnapshotName(path, name.at, name.digest.hex(), name.sequence)


def names(vault: Vault) -> list[SnapshotName]:
    """Every snapshot of the vault, in the order of their sealing (docs/format.md, 8.5)."""
    listed = (parse_path(info.name) for info in vault.objects(layout.SNAPSHOTS))
    known = sorted((name for name in listed if name is not None), key=_place)
    return [name for _, group in groupby(known, key=_place) for name in _untied(vault, list(group))]


def next_sequence(vault: Vault) -> int:
    """The place of a snapshot that is sealed now: after all that are there, forgotten ones included."""
    folders = (layout.SNAPSHOTS, layout.FORGOTTEN)
    listed = (parse_path(info.name) for folder in folders for info in vault.objects(folder))
    numbered = [name for name in listed if name is not None and name.sequence]
    for name in sorted(numbered, key=lambda name: name.sequence, reverse=True):
        try:
            return load(vault, name).manifest.sequence + 1
        except DamageError:
            continue  # anybody can make up a name
    return 1


def _place(name: SnapshotName) -> tuple[int, datetime | None]:
    """What names tell of the order; those without a number have but the time of their freeze."""
    return name.sequence, None if name.sequence else name.frozen_at


def _untied(vault: Vault, tied: list[SnapshotName]) -> list[SnapshotName]:
    """Snapshots of one place: they were sealed at the same time, which only the manifests tell exactly."""
    return sorted(tied, key=lambda name: _sealed_at(vault, name)) if len(tied) > 1 else tied


def _sealed_at(vault: Vault, name: SnapshotName) -> datetime:
    try:
        return load(vault, name).manifest.sealed_at
    except DamageError:
        return name.frozen_at


def load(vault: Vault, name: SnapshotName) -> Snapshot:
    """Open a snapshot; DamageError where the manifest is not what its name promises."""
    manifest = documents.decode(Manifest, vault.read(name.path))
    if manifest.vault_id != vault.config.vault_id:
        raise CorruptError("the manifest belongs to another vault", where=f"{vault.store.url}/{name.path}")
    if manifest.frozen_at.replace(microsecond=0) != name.frozen_at:
        raise CorruptError(
            "the manifest was frozen at another time than its name says",
            where=f"{vault.store.url}/{name.path}",
        )
    if manifest.sequence != name.sequence:
        raise CorruptError(
            "the manifest has another place in the order of sealing than its name says",
            where=f"{vault.store.url}/{name.path}",
        )
    return Snapshot(vault, name, manifest)


def resolve(vault: Vault, reference: str | SnapshotRef) -> Snapshot:
    """The snapshot that a reference means, opened; see `find`."""
    return load(vault, find(vault, reference))


def find(vault: Vault, reference: str | SnapshotRef) -> SnapshotName:
    """The name of the snapshot that a reference means; UsageError where there is none, or more than one."""
    wanted = SnapshotRef.parse(reference) if isinstance(reference, str) else reference
    known = names(vault)
    if not known:
        raise UsageError("the vault has no snapshot yet", where=vault.store.url)
    if wanted.at is not None:
        return _at(vault, known, wanted.at)
    return _latest(vault, known) if wanted.id == selection.LATEST else pick(known, wanted.id, vault)


def _latest(vault: Vault, known: Sequence[SnapshotName]) -> SnapshotName:
    """The one sealed last that is not dated in the future; the last one where all are.

    In the future is what both this machine's clock and the store's say is. The store's is asked only where
    this machine's says so: most readers need not be able to write.
    """
    now = datetime.now(UTC)
    if clock.is_future(known[-1].frozen_at, now):
        try:
            now = max(now, clock.store_now(vault, is_cleared=False))
        except StoreError:
            now = known[-1].frozen_at  # one clock alone decides nothing
    past = [name for name in known if not clock.is_future(name.frozen_at, now)] or known
    if past[-1] != known[-1]:
        _log.warning(
            "snapshot %s was sealed last, but is dated in the future (%s UTC): latest is %s",
            known[-1].id[:12],
            f"{known[-1].frozen_at:%Y-%m-%d %H:%M}",
            past[-1].id[:12],
        )
    return up_to_readable(vault, past)[-1]


def up_to_readable(vault: Vault, known: Sequence[SnapshotName]) -> Sequence[SnapshotName]:
    """The snapshots up to the newest that can be read: newer ones must not hide it, and are named in the log.

    All of them, where none can be read.
    """
    for count in range(len(known), 0, -1):
        name = known[count - 1]
        try:
            load(vault, name)
        except DamageError as error:
            when = f"{name.frozen_at:%Y-%m-%d %H:%M} UTC"
            _log.warning(
                "snapshot %s of %s is passed over, it is damaged: %s", name.id[:12], when, error.what
            )
        else:
            return known[:count]
    return known


def pick(known: Sequence[SnapshotName], prefix: str, vault: Vault) -> SnapshotName:
    """The one name whose id begins so; UsageError where there is none, or more than one."""
    by_id = {name.id: name for name in known}
    found = selection.pick(by_id, prefix, "snapshot", selection.SNAPSHOT_DIGITS)
    if found is None:
        raise UsageError(
            f"no snapshot {prefix!r}", where=vault.store.url, hint="`pachvault snapshots` lists them"
        )
    return by_id[found]


def _at(vault: Vault, known: Sequence[SnapshotName], at: datetime) -> SnapshotName:
    """The newest that was frozen at or before a time, and can be read."""
    by_freeze = sorted(known, key=lambda name: name.frozen_at)
    older = [name for name in by_freeze if _is_frozen_by(vault, name, at)]
    if older:
        return up_to_readable(vault, older)[-1]
    raise UsageError(
        f"no snapshot was frozen at or before {at:%Y-%m-%d %H:%M:%S} UTC",
        where=vault.store.url,
        hint=f"the oldest is of {by_freeze[0].frozen_at:%Y-%m-%d %H:%M:%S} UTC",
    )


def _is_frozen_by(vault: Vault, name: SnapshotName, at: datetime) -> bool:
    """Whether it was frozen at or before a time. Names tell seconds, as people do; manifests tell exactly."""
    if name.frozen_at > at or not at.microsecond:
        return name.frozen_at <= at
    try:
        return load(vault, name).manifest.frozen_at <= at
    except DamageError as error:
        _log.info("the name of a damaged snapshot counts as its time: %s", error)
        return True

"""What snapshots need: records, tables and blobs; and what those need that were forgotten of late.

Everything below a manifest is immutable and named by its digest: what was read once need not be read
again when the manifests are listed anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from pachvault.errors import CorruptError, DamageError, PachvaultError
from pachvault.format import layout
from pachvault.format.digests import Digests, DigestSet
from pachvault.vault import snapshots
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault
from pachvault.vault.walk import NodeKind, walk

_READS_AT_ONCE = 4
_LISTINGS = 5


@dataclass(slots=True)
class Reachable:
    """What some manifests need; it only grows."""

    roots: set[str] = field(default_factory=set)
    """Manifests."""
    names: set[str] = field(default_factory=set)
    """Records and tables."""
    _blobs: DigestSet = field(default_factory=DigestSet)

    def add(self, root: str, names: Iterable[str], blobs: Iterable[Digests]) -> None:
        """Add a manifest with its objects and its blobs; nothing where these cannot be had."""
        for each in list(blobs):
            self._blobs.add(each)
        self.names.update(names)
        self.roots.add(root)

    def copy(self) -> Reachable:
        """One that grows by itself."""
        return Reachable(set(self.roots), set(self.names), self._blobs.copy())

    def blobs(self) -> Digests:
        """Every blob, each once, sorted."""
        return self._blobs.all()


@dataclass(frozen=True, slots=True)
class Reachability:
    """What must not be marked, and what must not be deleted."""

    current: Reachable = field(default_factory=Reachable)
    """What the snapshots need."""
    forgotten: Reachable = field(default_factory=Reachable)
    """What those need besides that were forgotten within the grace, and may be brought back."""

    def extended(self, vault: Vault, now: datetime) -> Reachability:
        """This, and what the snapshots that are there now need besides.

        Raises DamageError where something that a snapshot needs cannot be read: then it is not known what
        else it needs.
        """
        current, recent = self.current.copy(), self.forgotten.copy()
        for _ in range(_LISTINGS):
            # one that moves to or fro is always in one of the two folders, and so in one of these listings
            before = _forgotten(vault, now)
            roots = [info.name for info in vault.objects(layout.SNAPSHOTS) if snapshots.parse_path(info.name)]
            forgotten = before | _forgotten(vault, now)
            try:
                _extend(vault, roots, current)
            except DamageError as error:
                if all(vault.store.stat(root) for root in roots):
                    raise type(error)(
                        f"{error.what}: nothing is deleted from a damaged vault",
                        where=error.where,
                        hint="`pachvault verify` names the affected snapshots: repair or forget them",
                    ) from error
                continue
            for root in sorted(forgotten):
                with suppress(DamageError):  # it may have been forgotten for that very reason
                    _extend(vault, [root], recent, current)
            if all(vault.store.stat(root) for root in forgotten):
                return Reachability(current, recent)
        raise PachvaultError("snapshots come and go faster than they can be read", where=vault.store.url)


def _extend(vault: Vault, roots: Iterable[str], reachable: Reachable, *besides: Reachable) -> None:
    """Add what manifests need and what the others do not have: of each all, or nothing."""

    def is_known(path: str) -> bool:
        return any(path in other.names for other in (reachable, *besides))

    with ThreadPoolExecutor(_READS_AT_ONCE, "reachability") as pool:
        for root in roots:
            if root in reachable.roots:
                continue
            below = [
                at
                for at in walk(vault, [_name(root)], is_skipped=is_known)
                if at.kind is not NodeKind.MANIFEST
            ]
            tables = [at.digest for at in below if at.kind is NodeKind.FILE_TABLE]
            reachable.add(root, (at.path for at in below), pool.map(vault.blobs_of_table, tables))


def expired(vault: Vault, now: datetime) -> list[str]:
    """The manifests that were forgotten so long ago that they cannot be brought back."""
    return [
        info.name for info in vault.objects(layout.FORGOTTEN) if now - info.modified_at >= vault.config.grace
    ]


def _forgotten(vault: Vault, now: datetime) -> set[str]:
    return {
        info.name
        for info in vault.objects(layout.FORGOTTEN)
        if snapshots.parse_path(layout.unforgotten_path(info.name))
        and now - info.modified_at < vault.config.grace
    }


def _name(root: str) -> SnapshotName:
    is_forgotten = root.startswith(layout.FORGOTTEN)
    found = snapshots.parse_path(layout.unforgotten_path(root) if is_forgotten else root)
    if found is None:
        raise CorruptError("not a manifest's name", where=root)
    return replace(found, path=root)

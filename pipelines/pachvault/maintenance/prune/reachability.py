"""Reachability: the records, tables and blobs that snapshots need, and those that forgotten ones need.

Everything below a manifest is immutable and content-addressed: an object that was read need not be read again
when the manifests are listed again.
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
"""How often the manifests are listed again because some came or went while they were read."""


@dataclass(slots=True)
class Reachable:
    """The objects that some manifests need. It only grows."""

    roots: set[str] = field(default_factory=set)
    """Manifests."""
    names: set[str] = field(default_factory=set)
    """Records and tables."""
    _blobs: DigestSet = field(default_factory=DigestSet)

    def add(self, root: str, names: Iterable[str], blobs: Iterable[Digests]) -> None:
        """Add a manifest with its objects and blobs; nothing is added where reading the blobs fails."""
        # read completely first: a half-added manifest would count as known, and the rest of its blobs as
        # unneeded
        for table_blobs in list(blobs):
            self._blobs.add(table_blobs)
        self.names.update(names)
        self.roots.add(root)

    def copy(self) -> Reachable:
        """An independent copy."""
        return Reachable(set(self.roots), set(self.names), self._blobs.copy())

    def blobs(self) -> Digests:
        """Every blob, each once, sorted."""
        return self._blobs.all()


@dataclass(frozen=True, slots=True)
class Reachability:
    """What must not be marked, and what may be marked but not deleted."""

    current: Reachable = field(default_factory=Reachable)
    """What the snapshots need: it is not marked."""
    forgotten: Reachable = field(default_factory=Reachable)
    """What snapshots need besides that were forgotten within the grace period: they can be brought back."""

    def extended(self, vault: Vault, now: datetime) -> Reachability:
        """This, and what the snapshots need that are in the vault now.

        Raises DamageError where an object that a snapshot needs is missing or damaged: then it is not known
        which objects below it are needed.
        """
        # copies: a plan that was shown keeps its own state, whatever its revalidation finds
        current, recent = self.current.copy(), self.forgotten.copy()
        for _ in range(_LISTINGS):
            # a manifest that moves between the two folders is always in one of them: list `forgotten/`, the
            # snapshots, and `forgotten/` again, and one of the listings has it
            forgotten = _forgotten(vault, now)
            roots = [info.name for info in vault.objects(layout.SNAPSHOTS) if snapshots.parse_path(info.name)]
            forgotten |= _forgotten(vault, now)
            try:
                _extend(vault, roots, current)
            except DamageError as error:
                if all(vault.store.stat(root) for root in roots):
                    # no manifest was deleted meanwhile, so this is damage and not a forget
                    raise type(error)(
                        f"{error.what}: nothing is deleted from a damaged vault",
                        where=error.where,
                        hint="`pachvault verify` names the affected snapshots: repair or forget them",
                    ) from error
                continue
            for root in sorted(forgotten):
                with suppress(DamageError):  # it may have been forgotten because it is damaged
                    # one at a time, so that a damaged manifest does not cost the others their objects
                    _extend(vault, [root], recent, current)
            # one that left `forgotten/` meanwhile may have been brought back after `snapshots/` was listed:
            # list again
            if all(vault.store.stat(root) for root in forgotten):
                return Reachability(current, recent)
        raise PachvaultError("snapshots come and go faster than they can be read", where=vault.store.url)


def _extend(vault: Vault, roots: Iterable[str], reachable: Reachable, *besides: Reachable) -> None:
    """Add what manifests need and `besides` does not have: all of a manifest, or nothing."""

    def is_known(path: str) -> bool:
        return any(path in other.names for other in (reachable, *besides))

    with ThreadPoolExecutor(_READS_AT_ONCE, "reachability") as pool:
        for root in roots:
            if root in reachable.roots:
                continue
            nodes = [
                node
                for node in walk(vault, [_name(root)], is_skipped=is_known)
                if node.kind is not NodeKind.MANIFEST
            ]
            # the walker names tables without reading them; this is what finds a missing or damaged one
            tables = [node.digest for node in nodes if node.kind is NodeKind.FILE_TABLE]
            reachable.add(root, (node.path for node in nodes), pool.map(vault.blobs_of_table, tables))


def expired(vault: Vault, now: datetime) -> list[str]:
    """The manifests that were forgotten at least one grace period ago: they cannot be brought back."""
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
    name = snapshots.parse_path(layout.unforgotten_path(root) if is_forgotten else root)
    if name is None:
        raise CorruptError("not the name of a manifest", where=root)
    return replace(name, path=root)

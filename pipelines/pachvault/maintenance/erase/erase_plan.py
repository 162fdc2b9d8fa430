"""What an erasure would remove from the vault: which snapshots, files and bytes. Nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import pyarrow.compute as pc

from pachvault.errors import DamageError
from pachvault.format import digests, layout
from pachvault.format.digests import Digests, SortedDigests
from pachvault.format.ids import RepoName
from pachvault.maintenance.erase.erase_selection import EraseSelection
from pachvault.maintenance.erase.erase_tables import AffectedSnapshot, TableScan, unknown
from pachvault.runtime.progress import Progress
from pachvault.store.store import ObjectInfo
from pachvault.vault import snapshots
from pachvault.vault.index import blob_index
from pachvault.vault.index.blob_places import BlobPlaces
from pachvault.vault.packs import read_any_toc
from pachvault.vault.snapshots import Snapshot, SnapshotName
from pachvault.vault.vault import Vault
from pachvault.vault.walk import manifests


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasePlan:
    """What is erased, and what stays though it has the same content."""

    vault: Vault
    selection: EraseSelection
    snapshots: list[AffectedSnapshot]
    superseded: list[tuple[SnapshotName, SnapshotName]]
    """Snapshots that an erasure replaced before it was interrupted, and by which."""
    commits: int
    files: int
    size: int
    """Of the files in bytes, counted each time a commit put them."""
    tables: list[bytes]
    """File tables with rows that are erased."""
    file_tables: list[bytes]
    """All file tables, those of dead runs too."""
    reached: frozenset[str]
    """Records and tables that snapshots need."""
    gone: Digests
    """Erased blobs: those that nothing else needs, sorted."""
    kept: int
    """Blobs that stay because other files have them."""
    keepers: list[str]
    """Some of those files."""
    packs: list[str]
    """Packs that hold erased blobs."""
    pack_bytes: int
    skipped: list[str]
    """Manifests of forgotten snapshots that cannot be read: nobody can bring them back."""
    unmatched: list[str]
    """Patterns that match nothing in the vault, and by which nothing was erased before."""
    unreadable: list[str]
    """Packs whose content neither a table of contents nor the index has."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.snapshots or self.superseded or self.tables)


def plan(vault: Vault, selection: EraseSelection, progress: Progress) -> ErasePlan:
    """Look through all snapshots, forgotten ones included, and through what dead runs left.

    Raises DamageError where a snapshot that is not forgotten cannot be read: its content would be unknown.
    """
    progress.start("erase: tables", 0)
    readable, skipped = _loaded(vault)
    superseded = _superseded(readable)
    # not scanned: their tables are then reached by nothing, so that they are deleted as what dead runs left
    replaced = {old for old, _ in superseded}
    scan = TableScan(vault, selection)
    scanned = [snapshot for snapshot in readable if snapshot.name not in replaced]
    scan.read(scanned)
    gone, kept, keepers = scan.contents()
    progress.start("erase: packs", 0)
    packs, pack_bytes, unreadable = _packs_with(vault, gone)
    erased_rows = scan.erased_rows()
    repos = {
        RepoName(entry.project, entry.repo) for snapshot in readable for entry in snapshot.manifest.repos
    }
    erased_before = {
        pattern
        for snapshot in readable
        for erased in snapshot.manifest.erased
        for pattern in (*erased.repos, *erased.paths)
    }
    return ErasePlan(
        vault=vault,
        selection=selection,
        snapshots=[affected for snapshot in scanned if (affected := scan.affected(snapshot))],
        superseded=superseded,
        commits=erased_rows.group_by(["repo", "commit"]).aggregate([]).num_rows,
        files=erased_rows.num_rows,
        size=pc.sum(erased_rows["size"]).as_py() or 0,
        tables=sorted(scan.erased),
        file_tables=scan.file_tables,
        reached=frozenset(scan.names),
        gone=gone,
        kept=kept,
        keepers=keepers,
        packs=packs,
        pack_bytes=pack_bytes,
        skipped=skipped,
        unmatched=[
            pattern
            for pattern in selection.unmatched(repos, erased_rows["path"])
            if pattern not in erased_before
        ],
        unreadable=unreadable,
    )


def _loaded(vault: Vault) -> tuple[list[Snapshot], list[str]]:
    """All manifests, oldest first; those of forgotten snapshots that cannot be read."""
    readable, skipped = [], []
    for name in manifests(vault):
        try:
            readable.append(snapshots.load(vault, name))
        except DamageError as error:
            if not name.path.startswith(layout.FORGOTTEN):
                raise unknown(error) from error
            skipped.append(name.path)
    return sorted(readable, key=lambda snapshot: snapshot.manifest.frozen_at), skipped


def _superseded(readable: list[Snapshot]) -> list[tuple[SnapshotName, SnapshotName]]:
    """Manifests of which another one is the same snapshot with more erased."""
    alike: dict[tuple[str, datetime], list[Snapshot]] = {}
    for snapshot in readable:
        alike.setdefault((snapshot.manifest.run_id, snapshot.manifest.frozen_at), []).append(snapshot)
    superseded = []
    for snapshot in readable:
        erased = snapshot.manifest.erased
        for other in alike[snapshot.manifest.run_id, snapshot.manifest.frozen_at]:
            later = other.manifest
            # the list of erasures only grows, so of two manifests of one run the one with the longer list is
            # newer
            if len(later.erased) > len(erased) and later.erased[: len(erased)] == erased:
                superseded.append((snapshot.name, other.name))
                break
    return superseded


def _packs_with(vault: Vault, gone: Digests) -> tuple[list[str], int, list[str]]:
    """The packs that hold any of the blobs, by their own tables of contents or else by the index.

    With their size in bytes together, and the packs whose content is unknown.
    """
    packs_to_rewrite: list[str] = []
    unreadable: list[str] = []
    size = 0
    if not len(gone):
        return packs_to_rewrite, size, unreadable
    erased = SortedDigests(gone)
    # read only where a pack's own table of contents cannot be read
    index = cache(lambda: BlobPlaces(blob_index.all_rows(vault, ())))
    for info in vault.objects(layout.PACKS):
        name = layout.named_digest(info.name)
        if name is None:
            continue
        blobs, is_known = _blobs_of(vault, info, name, index)
        if not is_known:
            unreadable.append(info.name)
        if erased.has(blobs).any():
            packs_to_rewrite.append(info.name)
            size += info.size
    return packs_to_rewrite, size, unreadable


def _blobs_of(
    vault: Vault, info: ObjectInfo, name: bytes, index: Callable[[], BlobPlaces]
) -> tuple[Digests, bool]:
    """The blobs of a pack, and whether its content is known. Another pack may lie under its name."""
    try:
        actual_name, toc = read_any_toc(vault, info.name, info.size)
    except DamageError:
        placed = index().blobs_in(name)
        return placed, len(placed) > 0
    if actual_name == name:
        return toc.blobs["digest"], True
    return digests.joined([toc.blobs["digest"], index().blobs_in(name)]), True

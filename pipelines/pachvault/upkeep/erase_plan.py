"""What an erasure would take out of the vault: which snapshots, files and bytes. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pachvault.errors import DamageError
from pachvault.format import layout, pack, table
from pachvault.format.documents import Manifest
from pachvault.format.ids import RepoName
from pachvault.progress import Progress
from pachvault.upkeep.erase_selection import Selection
from pachvault.upkeep.repair_needs import manifests
from pachvault.vault import blobs, snapshots
from pachvault.vault.packs import read_toc
from pachvault.vault.snapshots import RepoHistory, SnapshotName
from pachvault.vault.vault import Vault

_NAMED = 20


@dataclass(frozen=True, slots=True)
class Hit:
    """A snapshot that is written anew, and how much goes of it."""

    name: SnapshotName
    manifest: Manifest
    files: int
    size: int
    """Of the files its commits put, each time they did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasePlan:
    """What goes, and what stays though it has the same content."""

    vault: Vault
    selection: Selection
    snapshots: list[Hit]
    superseded: list[tuple[SnapshotName, SnapshotName]]
    """Snapshots that an erasure replaced before it was interrupted, and by which."""
    commits: int
    files: int
    size: int
    """Bytes of the files, each time a commit put them."""
    tables: list[bytes]
    """File tables with rows that go."""
    file_tables: list[bytes]
    """All of them, those of dead runs too."""
    reached: frozenset[str]
    """Records and tables that snapshots need."""
    gone: NDArray[np.void]
    """Blobs that nothing else needs, sorted."""
    kept: int
    """Blobs that stay because other files have them."""
    keepers: list[str]
    """Some of those files."""
    packs: list[str]
    """Packs that hold blobs that go."""
    pack_bytes: int
    unreadable: list[str]
    """Packs of which neither a table of contents nor the index says what they hold."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.snapshots or self.superseded or self.tables)


def plan(vault: Vault, selection: Selection, progress: Progress) -> ErasePlan:
    """Look through all snapshots, forgotten ones included, and through what dead runs left.

    Raises DamageError where a snapshot cannot be read: nobody could say what it holds.
    """
    progress.start("erase: tables", 0)
    alive = _loaded(vault)
    superseded = _superseded(alive)
    replaced = {old for old, _ in superseded}
    reach = _Reach(vault, selection)
    reach.read([(name, manifest) for name, manifest in alive if name not in replaced])
    gone, kept, keepers = reach.contents()
    progress.start("erase: packs", 0)
    packs, pack_bytes, unreadable = _packs_with(vault, gone)
    hit = reach.hit_rows()
    return ErasePlan(
        vault=vault,
        selection=selection,
        snapshots=[
            found for name, manifest in alive if name not in replaced and (found := reach.hit(name, manifest))
        ],
        superseded=superseded,
        commits=hit.group_by(["repo", "commit"]).aggregate([]).num_rows,
        files=hit.num_rows,
        size=pc.sum(hit["size"]).as_py() or 0,
        tables=sorted(reach.hits),
        file_tables=reach.file_tables,
        reached=frozenset(reach.names),
        gone=gone,
        kept=kept,
        keepers=keepers,
        packs=packs,
        pack_bytes=pack_bytes,
        unreadable=unreadable,
    )


def _loaded(vault: Vault) -> list[tuple[SnapshotName, Manifest]]:
    try:
        return [(name, snapshots.load(vault, name).manifest) for name in manifests(vault)]
    except DamageError as error:
        raise _unknown(error) from error


def _unknown(error: DamageError) -> DamageError:
    return DamageError(
        f"{error.what}: what it holds is not known, and nothing was erased",
        where=error.where,
        hint="`pachvault repair`; or forget the snapshots that it hits, and prune",
    )


def _superseded(alive: list[tuple[SnapshotName, Manifest]]) -> list[tuple[SnapshotName, SnapshotName]]:
    """Manifests of which another one is the same snapshot with more erased."""
    found = []
    for name, manifest in alive:
        said = manifest.erased
        for other, later in alive:
            is_same = (later.run_id, later.frozen_at) == (manifest.run_id, manifest.frozen_at)
            if is_same and len(later.erased) > len(said) and later.erased[: len(said)] == said:
                found.append((name, other))
                break
    return found


@dataclass(slots=True)
class _Reach:
    """The tables of a vault, and the rows of them that go."""

    vault: Vault
    selection: Selection
    names: set[str] = field(default_factory=set)
    hits: dict[bytes, pa.Table] = field(default_factory=dict)
    _tables: dict[bytes, None] = field(default_factory=dict)
    _of_record: dict[bytes, tuple[int, int, bool]] = field(default_factory=dict)

    def read(self, alive: list[tuple[SnapshotName, Manifest]]) -> None:
        """Find all file tables, those of dead runs too, and what goes of each."""
        try:
            for _, manifest in alive:
                self.names.add(layout.record_path(manifest.pipelines))
                for entry in manifest.repos:
                    self._record(entry.record)
            for name in self._tables:
                self._file_table(name, self.vault.file_table(name))
        except DamageError as error:
            raise _unknown(error) from error
        for info in self.vault.store.list(layout.TABLES):
            stray = layout.named_digest(info.name)
            if stray is None or info.name in self.names:
                continue
            try:
                self._file_table(stray, self.vault.file_table(stray))
            except DamageError:
                continue  # a commit list, or what died half-written: nothing that a reader could read
            self._tables[stray] = None

    @property
    def file_tables(self) -> list[bytes]:
        """All file tables that were read."""
        return list(self._tables)

    def hit(self, name: SnapshotName, manifest: Manifest) -> Hit | None:
        """What goes of a snapshot; None where it stays as it is."""
        sums = [self._sums(entry.record) for entry in manifest.repos]
        if not any(is_hit for _, _, is_hit in sums):
            return None
        return Hit(name, manifest, sum(files for files, _, _ in sums), sum(size for _, size, _ in sums))

    def hit_rows(self) -> pa.Table:
        """The files that go, each once however many tables have it."""
        columns = ["repo", "commit", "path", "size"]
        rows = pa.concat_tables([table.FILES.empty_table(), *self.hits.values()])
        rows = rows.filter(pc.equal(rows["kind"], table.FILE)).select(columns)
        return rows.group_by(["repo", "commit", "path"]).aggregate([("size", "max")]).rename_columns(columns)

    def contents(self) -> tuple[NDArray[np.void], int, list[str]]:
        """The blobs that nothing else needs, how many of the others stay, and some files that have them."""
        mine = [table.digests_of(rows) for rows in self.hits.values()]
        wanted = np.unique(np.concatenate([np.empty(0, "V32"), *mine]))
        shared: list[NDArray[np.void]] = [np.empty(0, "V32")]
        keepers: dict[str, None] = {}
        for name in self._tables if len(wanted) else ():
            files = self.vault.file_table(name)
            if name in self.hits:
                files = files.filter(pa.array(~self.selection.hits(files)))
            both = np.intersect1d(wanted, table.digests_of(files))
            if len(both):
                shared.append(both)
                if len(keepers) < _NAMED and layout.table_path(name) in self.names:
                    keepers.update(dict.fromkeys(table.files_with(files, pack.split_digests(both))))
        kept = np.unique(np.concatenate(shared))
        return np.setdiff1d(wanted, kept), len(kept), list(keepers)[:_NAMED]

    def _record(self, name: bytes) -> None:
        path = layout.record_path(name)
        if path in self.names:
            return
        self.names.add(path)
        record = self.vault.repo_record(name)
        for segment in record.segments:
            self.names.add(layout.table_path(segment.table))
        commits = RepoHistory(self.vault, record).commits
        for each in pc.unique(pc.list_flatten(commits["tables"])).to_pylist():
            self.names.add(layout.table_path(each))
            self._tables[each] = None

    def _file_table(self, name: bytes, files: pa.Table) -> None:
        mask = self.selection.hits(files)
        if mask.any():
            self.hits[name] = files.filter(pa.array(mask)).combine_chunks()

    def _sums(self, name: bytes) -> tuple[int, int, bool]:
        """Files and bytes that go of a record's commits, and whether any of its tables is written anew."""
        if name not in self._of_record:
            record = self.vault.repo_record(name)
            history = RepoHistory(self.vault, record)
            files = size = 0
            is_hit = False
            for commit, tables in _commits(history):
                for each in tables:
                    rows = self.hits.get(each)
                    if rows is None:
                        continue
                    is_hit = True
                    mine = snapshots.rows_of(rows, RepoName(record.project, record.repo), commit)
                    files += pc.sum(pc.equal(mine["kind"], table.FILE)).as_py() or 0
                    size += pc.sum(mine["size"]).as_py() or 0
            self._of_record[name] = (files, size, is_hit)
        return self._of_record[name]


def _commits(history: RepoHistory) -> Iterator[tuple[str, list[bytes]]]:
    commits = history.commits
    yield from zip(commits["commit"].to_pylist(), commits["tables"].to_pylist(), strict=True)


def _packs_with(vault: Vault, gone: NDArray[np.void]) -> tuple[list[str], int, list[str]]:
    """The packs that hold any of the blobs, by their own tables of contents or else by the index."""
    found: list[str] = []
    unreadable: list[str] = []
    size = 0
    if not len(gone):
        return found, size, unreadable
    index = blobs.BlobIndex(blobs.joined(blobs.objects(vault).values()))
    for info in vault.store.list(layout.PACKS):
        name = layout.named_digest(info.name)
        if name is None:
            continue
        try:
            held = read_toc(vault, info.name, info.size).blobs["digest"]
        except DamageError:
            placed = index.blobs_in(name)
            held = np.frombuffer(b"".join(placed), "V32")
            if not placed:
                unreadable.append(info.name)
        if np.isin(held, gone).any():
            found.append(info.name)
            size += info.size
    return found, size, unreadable

"""What the snapshots need, forgotten ones included: which of it is lost, and whom that hits.

Nothing is changed, and one damage does not hide another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import pyarrow as pa

from pachvault.errors import DamageError
from pachvault.format import layout, pack, table
from pachvault.format.digests import Digests
from pachvault.format.documents import Manifest, RepoEntry
from pachvault.format.ids import RepoName
from pachvault.maintenance.repair.repair_packs import PackSurvey
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class LostFile:
    """A file of which blobs are lost, as the commit that put it has it."""

    repo: RepoName
    commit: str
    path: str
    size: int
    blobs: tuple[bytes, ...]
    """The lost ones."""

    def __str__(self) -> str:
        return f"{self.repo}@{self.commit}:{self.path}"


@dataclass(slots=True)
class LostObject:
    """An object that a snapshot needs and that no cluster can give back."""

    object: str
    message: str
    snapshots: dict[str, None] = field(default_factory=dict)
    """Short ids of those it hits."""
    what: dict[str, None] = field(default_factory=dict)
    """What is lost with it."""


@dataclass(slots=True)
class RepairNeeds:
    """What the snapshots need of the packs, and what of their own objects is damaged."""

    copies: dict[bytes, None] = field(default_factory=dict)
    """Blobs that read, but only in damaged packs."""
    wants: list[LostFile] = field(default_factory=list)
    """The files with blobs that read nowhere."""
    losses: list[LostObject] = field(default_factory=list)

    @property
    def lost(self) -> set[bytes]:
        """The blobs that read nowhere."""
        return {blob for want in self.wants for blob in want.blobs}


def manifests(vault: Vault) -> Iterator[snapshots.SnapshotName]:
    """Every manifest, those of forgotten snapshots included."""
    for folder in (layout.SNAPSHOTS, layout.FORGOTTEN):
        for info in vault.objects(folder):
            name = snapshots.named(info.name)
            if name is not None:
                yield name


def needs(vault: Vault, packs: PackSurvey) -> RepairNeeds:
    """Follow every manifest down to its blobs."""
    return _Walk(vault, packs).all()


class _Walk:
    """One walk; each object is read once, however many snapshots have it."""

    def __init__(self, vault: Vault, packs: PackSurvey) -> None:
        self._vault, self._packs = vault, packs
        self._found = RepairNeeds()
        self._losses: dict[str, LostObject] = {}
        self._of_record: dict[bytes, list[str]] = {}
        """The damaged objects below a record."""
        self._tables: dict[bytes, str | None] = {}
        """The file tables that were read, and what is wrong with them."""

    def all(self) -> RepairNeeds:
        """See `needs`."""
        for name in manifests(self._vault):
            short = name.id[:12]
            load = partial(snapshots.load, self._vault, name)
            snapshot = self._read(name.path, short, load, "all of the snapshot")
            if snapshot is not None:
                self._manifest(snapshot.manifest, short)
        self._found.losses = list(self._losses.values())
        return self._found

    def _manifest(self, manifest: Manifest, short: str) -> None:
        path = layout.record_path(manifest.pipelines)
        self._read(
            path,
            short,
            lambda: self._vault.pipelines_record(manifest.pipelines),
            "the pipelines' definitions",
        )
        for entry in manifest.repos:
            if entry.record not in self._of_record:
                self._of_record[entry.record] = self._record(entry)
            for damaged in self._of_record[entry.record]:
                self._losses[damaged].snapshots[short] = None

    def _record(self, entry: RepoEntry) -> list[str]:
        """Read what a repo record reaches; the objects that are damaged."""
        repo = RepoName(entry.project, entry.repo)
        path = layout.record_path(entry.record)
        record = self._read(path, None, lambda: self._vault.repo_record(entry.record), f"{repo}: all of it")
        if record is None:
            return [path]
        damaged = []
        for segment in record.segments:
            path = layout.table_path(segment.table)
            what = f"{repo}: {segment.commits} commits, and what builds on them"
            commits = self._read(path, None, partial(self._vault.commit_list, segment.table), what)
            if commits is None:
                damaged.append(path)
                continue
            for name in table.tables_of(commits):
                if self._table(name) is not None:
                    damaged.append(layout.table_path(name))
                    self._lost_table(repo, name, commits)
        return damaged

    def _table(self, name: bytes) -> str | None:
        """Look through a file table; what is wrong with itself."""
        if name not in self._tables:
            try:
                self._blobs(name, self._vault.blobs_of_table(name))
            except DamageError as error:
                self._tables[name] = error.what
            else:
                self._tables[name] = None
        return self._tables[name]

    def _blobs(self, name: bytes, wanted: Digests) -> None:
        missing = pack.split_digests(wanted[~self._packs.whole.has(wanted)])
        has = self._packs.hurt.has(missing)
        self._found.copies.update(
            dict.fromkeys(blob for blob, is_there in zip(missing, has, strict=True) if is_there)
        )
        lost = {blob for blob, is_there in zip(missing, has, strict=True) if not is_there}
        if lost:
            self._found.wants.extend(_wants(self._vault.file_table(name), lost))

    def _lost_table(self, repo: RepoName, name: bytes, commits: pa.Table) -> None:
        loss = self._loss(layout.table_path(name), self._tables[name] or "")
        for row in commits.select(["commit", "tables", "rows"]).to_pylist():
            if name in row["tables"]:
                loss.what[f"{repo}@{row['commit']}: {row['rows']} files, and what builds on it"] = None

    def _read(self, path: str, short: str | None, read: Callable[[], Answer], what: str) -> Answer | None:
        try:
            return read()
        except DamageError as error:
            loss = self._loss(path, error.what)
            loss.what[what] = None
            if short is not None:
                loss.snapshots[short] = None
            return None

    def _loss(self, path: str, message: str) -> LostObject:
        return self._losses.setdefault(path, LostObject(path, message))


def _wants(files: pa.Table, lost: set[bytes]) -> Iterator[LostFile]:
    columns = ["repo", "commit", "path", "size", "digest", "blobs"]
    for row in files.select(columns).take(table.rows_with(files, lost)).to_pylist():
        names = dict.fromkeys(blob for blob in row["blobs"] or [row["digest"]] if blob in lost)
        yield LostFile(RepoName.parse(row["repo"]), row["commit"], row["path"], row["size"], tuple(names))

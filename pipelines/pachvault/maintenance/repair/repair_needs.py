"""What all snapshots need, forgotten ones included: what of it is lost, and which snapshots that affects.

Nothing is changed. Every damage is found, not only the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from pachvault.errors import DamageError
from pachvault.format import layout, pack, table
from pachvault.format.ids import RepoName
from pachvault.maintenance.repair.lost_tables import COLUMNS
from pachvault.maintenance.repair.repair_packs import PackSurvey
from pachvault.vault.graph import Failure, Graph
from pachvault.vault.vault import Vault
from pachvault.vault.walk import NodeKind, Reached, manifests


@dataclass(frozen=True, slots=True)
class LostFile:
    """A file of which blobs are lost, in the commit that put it."""

    repo: RepoName
    commit: str
    path: str
    size: int
    """In bytes."""
    blobs: tuple[bytes, ...]
    """The lost ones."""

    def __str__(self) -> str:
        return f"{self.repo}@{self.commit}:{self.path}"


@dataclass(slots=True)
class LostObject:
    """An object that a snapshot needs and that is missing or corrupt."""

    object: str
    message: str
    snapshots: dict[str, None] = field(default_factory=dict)
    """Short ids of the affected ones."""
    what: dict[str, None] = field(default_factory=dict)
    """What is lost with it."""


@dataclass(slots=True)
class RepairNeeds:
    """What the snapshots need of the packs, and which of their own objects are damaged."""

    graph: Graph
    copies: dict[bytes, None] = field(default_factory=dict)
    """Blobs that can be read from damaged packs only."""
    lost_files: list[LostFile] = field(default_factory=list)
    """The files with blobs that cannot be read from any pack."""
    lost_objects: list[LostObject] = field(default_factory=list)
    lost_tables: set[bytes] = field(default_factory=set)
    """Digests of the file tables among the lost objects."""

    @property
    def lost_blobs(self) -> set[bytes]:
        """The blobs that cannot be read from any pack."""
        return {blob for file in self.lost_files for blob in file.blobs}


def needs(vault: Vault, packs: PackSurvey) -> RepairNeeds:
    """Follow every manifest down to its blobs. Raises errors that are no damage: they answer nothing."""
    graph = Graph.read(vault, list(manifests(vault)), COLUMNS)
    needed = RepairNeeds(graph)
    for failure in graph.failures:
        if not isinstance(failure.error, DamageError):
            raise failure.error
        needed.lost_objects.append(_lost_object(graph, failure))
    for name in graph.tables:
        try:
            _add_blobs(needed, vault, packs, name)
        except DamageError as error:
            needed.lost_objects.append(_lost_table(graph, name, error.what))
            needed.lost_tables.add(name)
    return needed


def _lost_object(graph: Graph, failure: Failure) -> LostObject:
    at = failure.at
    what = {
        NodeKind.MANIFEST: "all of the snapshot",
        NodeKind.PIPELINES: "the pipelines' definitions",
        NodeKind.RECORD: f"{at.repo}: all of it",
        NodeKind.COMMIT_LIST: f"{at.repo}: {_commits_of(graph, at)} commits, and what builds on them",
    }[at.kind]
    return LostObject(
        at.path, failure.error.what, snapshots=dict.fromkeys(graph.affected(at)), what={what: None}
    )


def _commits_of(graph: Graph, at: Reached) -> int:
    return next((node.lists[at.digest] for node in graph.records.values() if at.digest in node.lists), 0)


def _lost_table(graph: Graph, name: bytes, message: str) -> LostObject:
    at = Reached(NodeKind.FILE_TABLE, layout.table_path(name), name)
    what = {
        f"{repo}@{row['commit']}: {row['rows']} files, and what builds on it": None
        for repo, commit_list in graph.lists_that_name(name)
        for row in graph.lists[repo, commit_list].to_pylist()
        if name in row["tables"]
    }
    return LostObject(at.path, message, snapshots=dict.fromkeys(graph.affected(at)), what=what)


def _add_blobs(needed: RepairNeeds, vault: Vault, packs: PackSurvey, name: bytes) -> None:
    """Add the blobs of a file table that cannot be read, or can be read from damaged packs only."""
    blobs = vault.blobs_of_table(name)
    # only these become Python objects: in a sound vault there are none, whatever its size
    not_intact = pack.split_digests(blobs[~packs.intact.has(blobs)])
    is_in_damaged = packs.damaged_places.has(not_intact).tolist()
    lost: set[bytes] = set()
    for blob, is_there in zip(not_intact, is_in_damaged, strict=True):
        if is_there:
            needed.copies[blob] = None
        else:
            lost.add(blob)
    if lost:
        needed.lost_files.extend(_lost_files(vault.file_table(name), lost))


def _lost_files(files: pa.Table, lost: set[bytes]) -> Iterator[LostFile]:
    columns = ["repo", "commit", "path", "size", "digest", "blobs"]
    for row in files.select(columns).take(table.rows_with(files, lost)).to_pylist():
        names = dict.fromkeys(blob for blob in row["blobs"] or [row["digest"]] if blob in lost)
        yield LostFile(RepoName.parse(row["repo"]), row["commit"], row["path"], row["size"], tuple(names))

"""What the snapshots need, forgotten ones included: which of it is lost, and whom that hits.

Nothing is changed, and one damage does not hide another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from pachvault.errors import DamageError
from pachvault.format import layout, pack, table
from pachvault.format.ids import RepoName
from pachvault.maintenance.repair.repair_packs import PackSurvey
from pachvault.vault.graph import Failure, Graph
from pachvault.vault.vault import Vault
from pachvault.vault.walk import NodeKind, Reached, manifests


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


def needs(vault: Vault, packs: PackSurvey) -> RepairNeeds:
    """Follow every manifest down to its blobs. Raises what is no damage, for nothing is known then."""
    graph = Graph.read(vault, list(manifests(vault)), ["commit", "rows", "tables"])
    found = RepairNeeds()
    for failure in graph.failures:
        if not isinstance(failure.error, DamageError):
            raise failure.error
        found.losses.append(_lost_object(graph, failure))
    for name in graph.tables:
        try:
            _add_blobs(found, vault, packs, name)
        except DamageError as error:
            found.losses.append(_lost_table(graph, name, error.what))
    return found


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


def _add_blobs(found: RepairNeeds, vault: Vault, packs: PackSurvey, name: bytes) -> None:
    """Add the blobs of a file table that do not read, or read only in damaged packs."""
    wanted = vault.blobs_of_table(name)
    missing = pack.split_digests(wanted[~packs.whole.has(wanted)])
    is_in_damaged = packs.hurt.has(missing)
    found.copies.update(
        dict.fromkeys(blob for blob, is_there in zip(missing, is_in_damaged, strict=True) if is_there)
    )
    lost = {blob for blob, is_there in zip(missing, is_in_damaged, strict=True) if not is_there}
    if lost:
        found.wants.extend(_wants(vault.file_table(name), lost))


def _wants(files: pa.Table, lost: set[bytes]) -> Iterator[LostFile]:
    columns = ["repo", "commit", "path", "size", "digest", "blobs"]
    for row in files.select(columns).take(table.rows_with(files, lost)).to_pylist():
        names = dict.fromkeys(blob for blob in row["blobs"] or [row["digest"]] if blob in lost)
        yield LostFile(RepoName.parse(row["repo"]), row["commit"], row["path"], row["size"], tuple(names))

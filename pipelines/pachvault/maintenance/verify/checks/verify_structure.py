"""The upper part of a vault: manifests, records, commit lists. Each is read once and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachvault.format import layout, table
from pachvault.maintenance.retrying_store import is_gone
from pachvault.maintenance.verify.findings import Damage, damage_of
from pachvault.vault.graph import Failure, Graph
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault
from pachvault.vault.walk import NodeKind

_COLUMNS = ["commit", "base", "rows", "tables"]


@dataclass(slots=True)
class Structure:
    """The graph of the snapshots' objects, and what is damaged of it."""

    graph: Graph
    damages: list[Damage] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether all of it was read, so that no snapshot needs what it does not name."""
        return all(damage.is_read and not damage.is_vital for damage in self.damages)


def read_structure(vault: Vault, names: Sequence[SnapshotName]) -> Structure:
    """Read the snapshots' manifests, records and commit lists; `verify_tables` reads the rest."""
    graph = Graph.read(vault, names, table.COMMITS.names)
    # of commit lists only these are needed from here on
    graph.lists = {key: rows.select(_COLUMNS) for key, rows in graph.lists.items()}
    structure = Structure(graph)
    for failure in graph.failures:
        # a snapshot that is gone since the listing was forgotten
        if failure.at.kind is not NodeKind.MANIFEST or not is_gone(vault, failure.at.path):
            structure.damages.append(_damage(graph, failure))
    unread = {failure.at.digest for failure in graph.failures}
    for digest, node in graph.records.items():
        lists = [graph.lists[node.repo, name] for name in node.lists if (node.repo, name) in graph.lists]
        if len(lists) == len(node.lists) and digest not in unread:
            about = Damage(
                kind="record",
                object=layout.record_path(digest),
                repo=node.repo,
                snapshots=frozenset(node.snapshots),
            )
            structure.damages += [*_chains(about, lists), *_heads(about, node.heads, lists)]
    return structure


def _damage(graph: Graph, failure: Failure) -> Damage:
    at = failure.at
    kind = "record" if at.kind is NodeKind.PIPELINES else at.kind
    is_list = at.kind is NodeKind.COMMIT_LIST
    about = Damage(
        kind=kind,
        object=at.path,
        repo=str(at.repo or ""),
        listing=at.digest if is_list else b"",
        snapshots=frozenset() if is_list else frozenset(graph.affected(at)),
    )
    return damage_of(about, failure.error)


def _chains(about: Damage, lists: list[pa.Table]) -> Iterator[Damage]:
    """Every commit must come after its base: then every chain ends at a full commit."""
    rows = pa.concat_tables(
        [
            table.COMMITS.empty_table().select(["commit", "base"]),
            *(commits.select(["commit", "base"]) for commits in lists),
        ]
    )
    base_rows = pc.index_in(rows["base"], rows["commit"].combine_chunks()).to_numpy(zero_copy_only=False)
    has_base = pc.is_valid(rows["base"]).to_numpy(zero_copy_only=False)
    # index_in gives null for a base that is not there, which becomes NaN: as infinity it is never before a
    # row
    is_after_base = np.nan_to_num(base_rows.astype(float), nan=np.inf) < np.arange(rows.num_rows)
    wrong_rows = np.flatnonzero(has_base & ~is_after_base)
    if len(wrong_rows):
        first = rows.slice(int(wrong_rows[0]), 1).to_pylist()[0]
        message = (
            f"{len(wrong_rows)} commits lack their base: {first['commit']} needs {first['base']} before it"
        )
        yield replace(about, kind="chain-damaged", message=message, is_vital=True)


def _heads(about: Damage, heads: Mapping[str, str], lists: list[pa.Table]) -> Iterator[Damage]:
    """Every head of a branch must be in a commit list of the record."""
    commits = pa.chunked_array([chunk for rows in lists for chunk in rows["commit"].chunks], pa.string())
    is_listed = pc.is_in(pa.array(list(heads.values()), pa.string()), commits.combine_chunks()).to_pylist()
    wrong = [branch for branch, is_there in zip(heads, is_listed, strict=True) if not is_there]
    if wrong:
        message = (
            f"the heads of {len(wrong)} branches are in no commit list of the record: "
            f"{wrong[0]} has commit {heads[wrong[0]]}"
        )
        yield replace(about, kind="head-wrong", message=message, is_vital=True)

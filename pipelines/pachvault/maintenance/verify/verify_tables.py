"""The file tables of a vault: each read once, a row group at a time, and held against list and index."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pachvault.format import digests, layout, table
from pachvault.maintenance.verify.findings import Damage, tried
from pachvault.maintenance.verify.verify_places import CheckedPlaces
from pachvault.maintenance.verify.verify_structure import Structure
from pachvault.vault.vault import Vault


def scan_tables(vault: Vault, found: Structure, places: CheckedPlaces) -> None:
    """Read every file table once: note in `places` which blobs are needed, and what is amiss."""
    counts: dict[bytes, dict[tuple[str, str], int]] = {}
    for digest in found.graph.tables:
        about = Damage(kind="table", object=layout.table_path(digest), table=digest)
        counted, damages = tried(about, partial(_scan_table, vault, digest, places, found))
        found.damages += damages
        if counted is not None:
            counts[digest] = counted
    for (repo, digest), commits in found.graph.lists.items():
        wrong = _wrong_rows(repo, commits, counts)
        if wrong:
            message = f"{len(wrong)} commits have other numbers of rows than the list says: {wrong[0]}"
            where = layout.table_path(digest)
            found.damages.append(
                Damage(
                    kind="rows-wrong", object=where, message=message, is_vital=True, repo=repo, listing=digest
                )
            )


def _scan_table(
    vault: Vault, digest: bytes, places: CheckedPlaces, found: Structure
) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    missing = []
    wrong: list[str] = []
    for rows in vault.file_batches(digest):
        grouped = rows.group_by(["repo", "commit"]).aggregate([([], "count_all")]).to_pylist()
        for each in grouped:
            key = each["repo"], each["commit"]
            counts[key] = counts.get(key, 0) + each["count_all"]
        numbers, wanted = table.digests_by_row(rows)
        at = places.find(wanted)
        places.is_needed[at[at >= 0]] = True
        missing.append(wanted[at < 0])
        wrong += _wrong_sizes(rows, numbers, places.sizes(at), at >= 0)
    unknown = digests.unique(digests.joined(missing))
    if len(unknown):
        found.damages.append(
            Damage(
                kind="blob-missing",
                object=layout.table_path(digest),
                message=f"{len(unknown)} blobs are in no pack that the index knows",
                missing=unknown,
            )
        )
    if wrong:
        message = f"{len(wrong)} files are not as long as their blobs together: {wrong[0]}"
        where = layout.table_path(digest)
        found.damages.append(
            Damage(kind="sizes-wrong", object=where, message=message, is_vital=True, table=digest)
        )
    return counts


def _wrong_sizes(
    rows: pa.Table, numbers: NDArray[np.int64], sizes: NDArray[np.uint32], is_there: NDArray[np.bool_]
) -> list[str]:
    """The files whose size is not that of their blobs, as far as these are known."""
    said = rows["size"].to_numpy()
    together = np.bincount(numbers, sizes, len(said)).astype(np.int64)
    is_known = np.ones(len(said), bool)
    is_known[numbers[~is_there]] = False
    hit = rows.select(["repo", "commit", "path"]).take(np.flatnonzero(is_known & (said != together)))
    return [f"{row['repo']}@{row['commit']}:{row['path']}" for row in hit.to_pylist()]


def _wrong_rows(repo: str, commits: pa.Table, counts: dict[bytes, dict[tuple[str, str], int]]) -> list[str]:
    wrong = []
    for commit in commits.select(["commit", "rows", "tables"]).to_pylist():
        tables = commit["tables"]
        if all(each in counts for each in tables):
            there = sum(counts[each].get((repo, commit["commit"]), 0) for each in tables)
            if there != commit["rows"]:
                wrong.append(f"{commit['commit']} has {there} where {commit['rows']} are said")
    return wrong

"""The file tables of a vault: each is read once, by row groups, and compared with commit list and index."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pachvault.format import digests, layout, table
from pachvault.format.digests import Digests
from pachvault.maintenance.verify.checks.verify_paths import Commit, PathCheck
from pachvault.maintenance.verify.checks.verify_structure import Structure
from pachvault.maintenance.verify.findings import NO_FILES, Damage, tried
from pachvault.maintenance.verify.verify_places import CheckedPlaces
from pachvault.vault.vault import Vault

Counts = dict[Commit, int]
"""How many rows a table has of each commit."""


def scan_tables(vault: Vault, structure: Structure, places: CheckedPlaces) -> None:
    """Read every file table once: note in `places` which blobs are needed, in `structure` what is damaged."""
    counts: dict[bytes, Counts] = {}
    paths = PathCheck(vault, _spread(structure))
    for digest in structure.graph.tables:
        about = Damage(kind="table", object=layout.table_path(digest), table=digest)
        scan, damages = tried(about, partial(_scan, vault, digest, places, paths))
        structure.damages += damages
        repeated, failed = tried(about, partial(paths.end_of_table, digest))
        if scan is not None:
            counts[digest] = scan.counts
            structure.damages += [*scan.damages(digest), *(repeated or ()), *failed]
    about = Damage(kind="table", object=layout.TABLES)
    repeated, failed = tried(about, paths.end)
    structure.damages += [*(repeated or ()), *failed]
    for (repo, digest), commits in structure.graph.lists.items():
        miscounted = _miscounted(repo, commits, counts)
        if miscounted:
            message = (
                f"{len(miscounted)} commits have other numbers of rows than the list has: {miscounted[0]}"
            )
            structure.damages.append(
                Damage(
                    kind="rows-wrong",
                    object=layout.table_path(digest),
                    message=message,
                    is_vital=True,
                    repo=repo,
                    listing=digest,
                )
            )


@dataclass(slots=True)
class _Scan:
    """What reading a table gave."""

    counts: Counts = field(default_factory=dict)
    missing: list[Digests] = field(default_factory=list)
    wrong_sizes: pa.Table = field(default_factory=lambda: NO_FILES)
    wrong_paths: pa.Table = field(default_factory=lambda: NO_FILES)

    def add(self, rows: pa.Table, places: CheckedPlaces) -> None:
        """Check a row group."""
        for count in rows.group_by(["repo", "commit"]).aggregate([([], "count_all")]).to_pylist():
            commit = count["repo"], count["commit"]
            self.counts[commit] = self.counts.get(commit, 0) + count["count_all"]
        numbers, blobs = table.digests_by_row(rows)
        first_places = places.find(blobs)
        is_placed = first_places >= 0
        # -1 marks a blob without a place; as an index it would be the last row
        places.is_needed[first_places[is_placed]] = True
        self.missing.append(blobs[~is_placed])
        files = rows.select(NO_FILES.column_names)
        has_wrong_size = _has_wrong_size(rows, numbers, places.sizes(first_places), is_placed)
        self.wrong_sizes = pa.concat_tables([self.wrong_sizes, files.take(np.flatnonzero(has_wrong_size))])
        has_bad_path = table.has_bad_path(rows)
        self.wrong_paths = pa.concat_tables([self.wrong_paths, files.take(np.flatnonzero(has_bad_path))])

    def damages(self, digest: bytes) -> list[Damage]:
        """What is wrong with the table."""
        about = Damage(kind="", object=layout.table_path(digest))
        unknown = digests.unique(digests.joined(self.missing))
        damages = []
        if len(unknown):
            message = f"{len(unknown)} blobs are in no pack that the index has"
            damages.append(Damage(kind="blob-missing", object=about.object, message=message, missing=unknown))
        for kind, problem, files in (
            ("sizes-wrong", "have another size than their blobs together", self.wrong_sizes),
            ("paths-wrong", "have a path that no writer makes", self.wrong_paths),
        ):
            if files.num_rows:
                first = table.file_names(files.slice(0, 1))[0]
                message = f"{files.num_rows} files {problem}: {first!r}"
                damages.append(
                    Damage(
                        kind=kind, object=about.object, message=message, is_vital=True, table=digest
                    ).of_files(files)
                )
        return damages


def _scan(vault: Vault, digest: bytes, places: CheckedPlaces, paths: PathCheck) -> _Scan:
    scan = _Scan()
    for rows in vault.file_batches(digest):
        scan.add(rows, places)
        paths.add(rows)
    return scan


def _spread(structure: Structure) -> dict[Commit, list[bytes]]:
    """The commits whose rows are in several tables, with these."""
    spread: dict[Commit, list[bytes]] = {}
    for (repo, _), commits in structure.graph.lists.items():
        in_several = commits.filter(pc.greater(pc.list_value_length(commits["tables"]), 1))
        for commit in in_several.select(["commit", "tables"]).to_pylist():
            spread[repo, commit["commit"]] = commit["tables"]
    return spread


def _has_wrong_size(
    rows: pa.Table, numbers: NDArray[np.int64], sizes: NDArray[np.uint32], is_placed: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """For each row whether the file has another size than its blobs, as far as these are in the index."""
    file_sizes = rows["size"].to_numpy()
    # float64 sums, exact below 2**53; back to integers so that the comparison is exact
    blob_sizes = np.bincount(numbers, sizes, len(file_sizes)).astype(np.int64)
    is_known = np.ones(len(file_sizes), bool)
    is_known[numbers[~is_placed]] = False
    has_wrong_size: NDArray[np.bool_] = is_known & (file_sizes != blob_sizes)
    return has_wrong_size


def _miscounted(repo: str, commits: pa.Table, counts: dict[bytes, Counts]) -> list[str]:
    miscounted = []
    for commit in commits.select(["commit", "rows", "tables"]).to_pylist():
        tables = commit["tables"]
        # an unreadable table is a finding already, and its rows are unknown
        if all(digest in counts for digest in tables):
            rows = sum(counts[digest].get((repo, commit["commit"]), 0) for digest in tables)
            if rows != commit["rows"]:
                miscounted.append(f"{commit['commit']} has {rows} where the list has {commit['rows']}")
    return miscounted

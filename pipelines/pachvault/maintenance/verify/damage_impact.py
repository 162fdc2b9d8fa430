"""The impact of damage: affected files, commits, repos, snapshots. Reads the tables again where needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pachvault.format import digests, layout
from pachvault.format.digests import Digests
from pachvault.format.pack import split_digests
from pachvault.format.table import as_array, digests_by_row
from pachvault.maintenance.verify.checks.verify_structure import Structure
from pachvault.maintenance.verify.findings import (
    NAMED,
    NO_BLOBS,
    Damage,
    FileName,
    Finding,
    Severity,
    tried,
)
from pachvault.maintenance.verify.verify_places import CheckedPlaces
from pachvault.vault.vault import Vault

_INDEX = ("index-damaged", "index-unreadable", "blob-missing", "blob-unreadable")
"""Kinds of damage by which the index is incomplete."""


@dataclass(slots=True)
class _Impact:
    """What a damage affects, as far as is known yet."""

    blobs: Digests
    files: list[str] = field(default_factory=list)
    files_count: int = 0
    commits: dict[tuple[str, str], None] = field(default_factory=dict)
    tables: dict[bytes, None] = field(default_factory=dict)


def findings(
    vault: Vault, structure: Structure, places: CheckedPlaces, damages: Sequence[Damage]
) -> list[Finding]:
    """The damages with severity and impact, in their order."""
    is_indexed = not any(damage.kind in _INDEX for damage in damages)
    is_lost = places.lost() & (places.needed() | (not structure.is_complete))
    is_degraded = places.degraded() & places.needed()
    impacts = [_Impact(_lost_blobs(damage, places, is_lost)) for damage in damages]
    # tables that could be read the first time, and not again
    late = _find_files(vault, structure, impacts)
    impacts += [_Impact(NO_BLOBS) for _ in late]
    results = []
    for damage, impact in zip([*damages, *late], impacts, strict=True):
        severity = _severity(damage, impact, is_placed=is_indexed or len(damage.places) > 0)
        if severity is Severity.NOTE and is_degraded[damage.places].any():
            severity = Severity.DEGRADED
        results.append(_finding(damage, impact, structure, severity))
    return results


def _lost_blobs(damage: Damage, places: CheckedPlaces, is_lost: NDArray[np.bool_]) -> Digests:
    lost = damage.places[is_lost[damage.places]]
    return digests.unique(digests.joined([places.rows.digests[lost], damage.missing]))


def _find_files(vault: Vault, structure: Structure, impacts: Sequence[_Impact]) -> list[Damage]:
    """Search all tables for rows with lost blobs; the tables that could be read before, and cannot now."""
    blobs = digests.joined(impact.blobs for impact in impacts)
    if not len(blobs):
        return []
    owners = np.repeat(np.arange(len(impacts)), [len(impact.blobs) for impact in impacts])
    order = digests.order(blobs)
    # sorted once, then each table is searched in log time: tables are many, lost blobs mostly few
    blobs, owners = blobs[order], owners[order]
    damages: list[Damage] = []
    unread = {damage.table for damage in structure.damages if damage.kind.startswith("table-")}

    def search(name: bytes) -> None:
        for rows in vault.file_batches(name):
            for impact in _find_in(rows, blobs, owners, impacts):
                impact.tables[name] = None

    for name in structure.graph.tables:
        about = Damage(kind="table", object=layout.table_path(name), table=name)
        damages += tried(about, partial(search, name))[1] if name not in unread else []
    return damages


def _find_in(
    rows: pa.Table, blobs: Digests, owners: NDArray[np.int64], impacts: Sequence[_Impact]
) -> Iterator[_Impact]:
    """Note which rows have lost blobs; yields the impacts that this added to."""
    numbers, row_blobs = digests_by_row(rows)
    lost, needed = blobs.view("S32"), row_blobs.view("S32")  # of which numpy compares all 32 bytes, quickly
    begins, ends = np.searchsorted(lost, needed, "left"), np.searchsorted(lost, needed, "right")
    counts = ends - begins
    if not counts.any():
        return
    # a blob with two bad places is lost by both
    pairs_at = np.repeat(begins - np.append(0, np.cumsum(counts)[:-1]), counts) + np.arange(counts.sum())
    pairs = np.unique(np.stack([owners[pairs_at], np.repeat(numbers, counts)]), axis=1)
    for owner in np.unique(pairs[0]).tolist():
        impact = impacts[owner]
        files = rows.select(FileName._fields).take(pairs[1][pairs[0] == owner])
        impact.files_count += files.num_rows
        named = files.slice(0, max(0, NAMED - len(impact.files))).to_pylist()
        impact.files += [str(FileName(**row)) for row in named]
        commits = files.group_by(["repo", "commit"], use_threads=False).aggregate([]).to_pylist()
        impact.commits.update(dict.fromkeys((row["repo"], row["commit"]) for row in commits))
        yield impact


def _finding(damage: Damage, impact: _Impact, structure: Structure, severity: Severity) -> Finding:
    commits = dict(impact.commits)
    commits.update(dict.fromkeys(sorted(damage.commits)))
    snapshots = set(damage.snapshots)
    if damage.listing:
        snapshots.update(structure.graph.affected_by_lists(damage.repo, [damage.listing]))
    tables = dict(impact.tables)
    if damage.table:
        tables[damage.table] = None
        if not damage.commits:
            commits.update(dict.fromkeys(_with_table(structure, damage.table)))
    for repo in {repo for repo, _ in commits}:
        of_repo = pa.array([commit for owner, commit in commits if owner == repo], pa.string())
        snapshots.update(structure.graph.affected_by_commits(repo, of_repo, tables))
    repos = sorted({repo for repo, _ in commits} | ({damage.repo} - {""}))
    files = [*map(str, damage.files), *impact.files]
    return Finding(
        kind=damage.kind,
        severity=severity,
        object=damage.object,
        message=damage.message,
        snapshots=(
            *(name for name in structure.graph.snapshots if name in snapshots),
            *sorted(snapshots.difference(structure.graph.snapshots)),  # missing ones
        ),
        repos=tuple(repos),
        commits=tuple(f"{repo}@{commit}" for repo, commit in list(commits)[:NAMED]),
        commits_count=len(commits),
        files=tuple(files[:NAMED]),
        files_count=damage.files_count + impact.files_count,
        blobs=tuple(blob.hex() for blob in split_digests(impact.blobs[:NAMED])),
        blobs_count=len(impact.blobs),
    )


def _severity(damage: Damage, impact: _Impact, *, is_placed: bool) -> Severity:
    """Without `is_placed` the content of the damaged place is unknown: then it is never a note."""
    if not damage.is_read:
        return Severity.UNREADABLE
    if damage.is_stray:
        return Severity.NOTE
    if damage.is_degraded:
        return Severity.DEGRADED
    return Severity.DAMAGE if damage.is_vital or len(impact.blobs) or not is_placed else Severity.NOTE


def _with_table(structure: Structure, name: bytes) -> Iterable[tuple[str, str]]:
    """The commits that have rows in a file table."""
    for repo, listing in structure.graph.lists_that_name(name):
        commits = structure.graph.lists[repo, listing]
        named = as_array(pc.list_flatten(commits["tables"]))
        rows = pc.list_parent_indices(commits["tables"]).to_numpy()[named == digests.of([name])[0]]
        for commit in commits["commit"].take(np.unique(rows)).to_pylist():
            yield repo, commit

"""Whom damage hits: files, commits, repos, snapshots. Made by a second look at the tables, where needed."""

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
from pachvault.maintenance.verify.findings import NAMED, NO_BLOBS, Damage, Finding, Severity, tried
from pachvault.maintenance.verify.verify_places import CheckedPlaces
from pachvault.maintenance.verify.verify_structure import Structure
from pachvault.vault.vault import Vault

_INDEX = ("index-damaged", "index-unreadable", "blob-missing", "blob-unreadable")
"""Findings that say: the index is not all there."""


@dataclass(slots=True)
class _Hits:
    """What a damage hits, as far as is known yet."""

    blobs: Digests
    files: list[str] = field(default_factory=list)
    files_count: int = 0
    commits: dict[tuple[str, str], None] = field(default_factory=dict)
    tables: dict[bytes, None] = field(default_factory=dict)


def judged(
    vault: Vault, structure: Structure, places: CheckedPlaces, damages: Sequence[Damage]
) -> list[Finding]:
    """The findings that damages come to, in their order."""
    is_indexed = not any(damage.kind in _INDEX for damage in damages)
    is_lost = places.lost() & (places.needed() | (not structure.is_whole))
    is_degraded = places.degraded() & places.needed()
    hits = [_Hits(_lost_blobs(damage, places, is_lost)) for damage in damages]
    # what a second look at a table finds wrong with it, when the first one did not
    late = _find_files(vault, structure, hits)
    findings = []
    for damage, hit in zip([*damages, *late], [*hits, *(_Hits(NO_BLOBS) for _ in late)], strict=True):
        severity = _severity(damage, hit, is_placed=is_indexed or len(damage.places) > 0)
        if severity is Severity.NOTE and is_degraded[damage.places].any():
            severity = Severity.DEGRADED
        findings.append(_finding(damage, hit, structure, severity))
    return findings


def _lost_blobs(damage: Damage, places: CheckedPlaces, is_lost: NDArray[np.bool_]) -> Digests:
    lost = damage.places[is_lost[damage.places]]
    return digests.unique(digests.joined([places.rows.digests[lost], damage.missing]))


def _find_files(vault: Vault, structure: Structure, hits: Sequence[_Hits]) -> list[Damage]:
    """Look through all tables for the rows that have lost blobs; the tables that did not read.

    Those are left out here that did not read before: they are findings already.
    """
    blobs = digests.joined(hit.blobs for hit in hits)
    if not len(blobs):
        return []
    owners = np.repeat(np.arange(len(hits)), [len(hit.blobs) for hit in hits])
    order = digests.order(blobs)
    blobs, owners = blobs[order], owners[order]
    damages: list[Damage] = []
    known = {damage.table for damage in structure.damages}

    def look(name: bytes) -> None:
        for rows in vault.file_batches(name):
            for hit in _find_in(rows, blobs, owners, hits):
                hit.tables[name] = None

    for name in structure.graph.tables:
        about = Damage(kind="table", object=layout.table_path(name), table=name)
        damages += tried(about, partial(look, name))[1] if name not in known else []
    return damages


def _find_in(
    rows: pa.Table, blobs: Digests, owners: NDArray[np.int64], hits: Sequence[_Hits]
) -> Iterator[_Hits]:
    """Note which rows have lost blobs; the hits that this added to."""
    numbers, wanted = digests_by_row(rows)
    known, asked = blobs.view("S32"), wanted.view("S32")  # of which numpy compares all 32 bytes, quickly
    begins, ends = np.searchsorted(known, asked, "left"), np.searchsorted(known, asked, "right")
    counts = ends - begins
    if not counts.any():
        return
    # a blob with two bad places is hit by both
    into = np.repeat(begins - np.append(0, np.cumsum(counts)[:-1]), counts) + np.arange(counts.sum())
    pairs = np.unique(np.stack([owners[into], np.repeat(numbers, counts)]), axis=1)
    for owner in np.unique(pairs[0]).tolist():
        hit = hits[owner]
        mine = rows.select(["repo", "commit", "path"]).take(pairs[1][pairs[0] == owner])
        hit.files_count += mine.num_rows
        named = mine.slice(0, max(0, NAMED - len(hit.files))).to_pylist()
        hit.files += [f"{row['repo']}@{row['commit']}:{row['path']}" for row in named]
        grouped = mine.group_by(["repo", "commit"], use_threads=False).aggregate([]).to_pylist()
        hit.commits.update(dict.fromkeys((row["repo"], row["commit"]) for row in grouped))
        yield hit


def _finding(damage: Damage, hit: _Hits, structure: Structure, severity: Severity) -> Finding:
    commits = dict(hit.commits)
    snapshots = set(damage.snapshots)
    if damage.listing:
        snapshots.update(structure.graph.affected_by_lists(damage.repo, [damage.listing]))
    tables = dict(hit.tables)
    if damage.table:
        tables[damage.table] = None
        commits.update(dict.fromkeys(_with_table(structure, damage.table)))
    for repo in {repo for repo, _ in commits}:
        mine = pa.array([commit for owner, commit in commits if owner == repo], pa.string())
        snapshots.update(structure.graph.affected_by_commits(repo, mine, tables))
    repos = sorted({repo for repo, _ in commits} | ({damage.repo} - {""}))
    return Finding(
        kind=damage.kind,
        severity=severity,
        object=damage.object,
        message=damage.message,
        snapshots=tuple(name for name in structure.graph.snapshots if name in snapshots),
        repos=tuple(repos),
        commits=tuple(f"{repo}@{commit}" for repo, commit in list(commits)[:NAMED]),
        commits_count=len(commits),
        files=tuple(hit.files),
        files_count=hit.files_count,
        blobs=tuple(blob.hex() for blob in split_digests(hit.blobs[:NAMED])),
        blobs_count=len(hit.blobs),
    )


def _severity(damage: Damage, hit: _Hits, *, is_placed: bool) -> Severity:
    """Without `is_placed` it is not known what was in the damaged place: then nobody may call it a note."""
    if not damage.is_read:
        return Severity.UNREADABLE
    if damage.is_stray:
        return Severity.NOTE
    if damage.is_degraded:
        return Severity.DEGRADED
    return Severity.DAMAGE if damage.is_vital or len(hit.blobs) or not is_placed else Severity.NOTE


def _with_table(structure: Structure, name: bytes) -> Iterable[tuple[str, str]]:
    """The commits that have rows in a file table."""
    for repo, listing in structure.graph.lists_that_name(name):
        commits = structure.graph.lists[repo, listing]
        named = as_array(pc.list_flatten(commits["tables"]))
        rows = pc.list_parent_indices(commits["tables"]).to_numpy()[named == digests.of([name])[0]]
        for commit in commits["commit"].take(np.unique(rows)).to_pylist():
            yield repo, commit

"""What `show`, `ls`, `diff` and `extract` report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from pachvault.cli.common import human, put, put_table, say
from pachvault.cli.render import Result, table_of, text_of
from pachvault.cli.results.backup import RunTotals
from pachvault.format import table
from pachvault.format.documents import Hex
from pachvault.format.manifest import Cluster, ErasureNote, Problem, Project, RepoEntry
from pachvault.vault.snapshots import Snapshot


@dataclass(frozen=True, kw_only=True)
class BranchHead:
    """A branch of a snapshot."""

    branch: str
    """project/repo@branch; project/repo where the repo's record is damaged."""
    head: str | None
    """The commit; None where the branch has no readable one."""
    commits: int
    """Of the repo, in this snapshot."""
    size_bytes: int | None
    """Of the head's files; None where the repo's record is damaged."""


@dataclass(frozen=True, kw_only=True)
class ManifestResult(Result):
    """A snapshot in full, as `show SNAP` has it (docs/format.md, section 8.4)."""

    type: Literal["manifest"] = "manifest"
    id: str
    vault_id: str
    run_id: str
    policy: str
    cluster: Cluster
    freeze_began_at: datetime
    frozen_at: datetime
    sealed_at: datetime
    is_future: bool
    """Whether it is dated in the future."""
    sequence: int
    partial: bool
    problems: Sequence[Problem]
    projects: Sequence[Project]
    repos: Sequence[RepoEntry]
    branches: Sequence[BranchHead]
    pipelines: Hex
    """The digest of the record of all pipelines."""
    pipelines_count: int | None
    """None where that record is damaged."""
    totals: RunTotals
    erased: Sequence[ErasureNote]
    damaged: Sequence[str]
    """A line for each record that is damaged."""

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        *,
        branches: Sequence[BranchHead],
        pipelines_count: int | None,
        damaged: Sequence[str],
        is_future: bool,
    ) -> Self:
        """From the snapshot and what its records say."""
        manifest = snapshot.manifest
        return cls(
            id=snapshot.name.id,
            vault_id=manifest.vault_id,
            run_id=manifest.run_id,
            policy=manifest.policy,
            cluster=manifest.cluster,
            freeze_began_at=manifest.freeze_began_at,
            frozen_at=manifest.frozen_at,
            sealed_at=manifest.sealed_at,
            is_future=is_future,
            sequence=manifest.sequence,
            partial=manifest.partial,
            problems=manifest.problems,
            projects=manifest.projects,
            repos=manifest.repos,
            branches=branches,
            pipelines=manifest.pipelines,
            pipelines_count=pipelines_count,
            totals=RunTotals.of(manifest.totals),
            erased=manifest.erased,
            damaged=damaged,
        )


@dataclass(frozen=True, kw_only=True)
class CommitResult(Result):
    """A commit of a repo, as `show SNAP PROJECT/REPO` lists it."""

    type: Literal["commit"] = "commit"
    commit: str
    parent: str | None
    started_at: datetime | None
    finished_at: datetime | None
    description: str
    error: str
    """Why the commit failed in Pachyderm; empty where it did not."""
    created_by: str | None
    """None where the snapshot does not have it."""
    origin: str
    """Why the commit exists: user, auto, fsck or unknown."""
    size_bytes: int
    branches: Sequence[str]
    """The branches whose head it is."""
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, row: Mapping[str, Any], branches: Sequence[str]) -> Self:
        """From a row of a commit list."""
        return cls(
            commit=row["commit"],
            parent=row["parent"],
            started_at=row["started"],
            finished_at=row["finished"],
            description=row["description"],
            error=row["error"],
            created_by=row["created_by"],
            origin=row["origin"],
            size_bytes=row["size"],
            branches=branches,
            metadata=table.decode_metadata(row["metadata"]),
        )


@dataclass(frozen=True, kw_only=True)
class FileResult(Result):
    """A file, as `ls` lists it."""

    type: Literal["file"] = "file"
    path: str
    size_bytes: int
    digest: Hex


@dataclass(frozen=True, kw_only=True)
class DifferenceResult(Result):
    """A file that differs between two snapshots, as `diff` lists it."""

    type: Literal["difference"] = "difference"
    repo: str
    branch: str
    path: str
    change: Literal["+", "-", "M"]
    """+ added, - removed, M changed."""
    old_bytes: int | None
    """The size in the first snapshot; None where the file is not in it."""
    new_bytes: int | None
    """The size in the second snapshot."""


@dataclass(frozen=True, kw_only=True)
class ExtractSummary(Result):
    """What `extract` wrote."""

    type: Literal["extract_summary"] = "extract_summary"
    files: int
    size_bytes: int
    kept: int
    """Files that were in the folder already, with the same size and digest."""
    failed: int
    """There is a `warning` for each."""
    folder: str


@text_of(ManifestResult)
def _manifest(manifest: ManifestResult) -> None:
    window = (manifest.frozen_at - manifest.freeze_began_at) / timedelta(seconds=1)
    totals = manifest.totals
    lines = {
        "snapshot": manifest.id,
        "state": "partial" if manifest.partial else "sealed",
        "policy": manifest.policy or "none",
        "cluster": f"{manifest.cluster.id} (Pachyderm {manifest.cluster.version})",
        "frozen": f"{manifest.frozen_at:%Y-%m-%d %H:%M:%S} UTC, within {window:.1f} s"
        + (", in the future" if manifest.is_future else ""),
        "sealed": f"{manifest.sealed_at:%Y-%m-%d %H:%M:%S} UTC",
        "run": manifest.run_id,
        "pipelines": "damaged" if manifest.pipelines_count is None else manifest.pipelines_count,
        "read": f"{totals.read_files:,} files, {human(totals.read_bytes)}",
        "new": f"{human(totals.new_bytes)} in {totals.new_blobs:,} blobs, "
        f"{human(totals.stored_bytes)} stored in {totals.new_packs} packs",
    }
    for name, value in lines.items():
        put(f"{name:<10} {value}")
    for problem in manifest.problems:
        label = "note" if problem.is_note else "problem"
        put(f"{label:<10} {problem.kind}: {problem.where}: {problem.message}")
    for erased in manifest.erased:
        put(f"{'erased':<10} {erased.at:%Y-%m-%d %H:%M} UTC: {erased.what}: {erased.files:,} files")
    for line in manifest.damaged:
        put(f"{'damaged':<10} {line}")
    put()
    put_table(["BRANCH", "HEAD", "COMMITS", "SIZE"], map(_branch_row, manifest.branches), right=(2, 3))


def _branch_row(branch: BranchHead) -> list[object]:
    if branch.size_bytes is None:
        return [branch.branch, "damaged", branch.commits, ""]
    return [branch.branch, (branch.head or "none")[:12], branch.commits, human(branch.size_bytes)]


@table_of(CommitResult)
def _commits(commits: Iterable[CommitResult]) -> None:
    put_table(
        ["COMMIT", "PARENT", "STARTED (UTC)", "SIZE", "BRANCHES", "STATE", "DESCRIPTION"],
        [
            [
                commit.commit,
                (commit.parent or "")[:12],
                f"{commit.started_at:%Y-%m-%d %H:%M:%S}" if commit.started_at else "",
                human(commit.size_bytes),
                ",".join(commit.branches),
                "failed" if commit.error else "ok",
                commit.description[:60],
            ]
            for commit in commits
        ],
        right=(3,),
    )


@table_of(FileResult)
def _files(files: Iterable[FileResult]) -> None:
    width = max((len(str(file.size_bytes)) for file in files), default=1)
    for file in files:
        put(f"{file.size_bytes:>{width}}  {file.path}")


@text_of(DifferenceResult)
def _difference(difference: DifferenceResult) -> None:
    put(f"{difference.change} {difference.repo}@{difference.branch}:{difference.path}")


@text_of(ExtractSummary)
def _extract(summary: ExtractSummary) -> None:
    kept = f", {summary.kept:,} of them there before" if summary.kept else ""
    failed = f"; {summary.failed} failed" if summary.failed else ""
    say(f"extracted {summary.files:,} files, {human(summary.size_bytes)}, to {summary.folder}{kept}{failed}")

"""What `init` and `backup` report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from pachvault.cli.common import human, say
from pachvault.cli.render import Result, text_of
from pachvault.format.manifest import Problem, Totals
from pachvault.vault.snapshots import Snapshot


@dataclass(frozen=True, kw_only=True)
class InitSummary(Result):
    """The vault that `init` made."""

    type: Literal["init_summary"] = "init_summary"
    vault: str
    """Its URL."""
    vault_id: str


@dataclass(frozen=True, kw_only=True)
class RunTotals:
    """What one backup run did."""

    new_commits: int
    read_files: int
    read_bytes: int
    known_files: int
    """Files that were not read, because the vault has their content."""
    new_blobs: int
    new_bytes: int
    """Bytes of the new blobs, before compression."""
    stored_bytes: int
    """Bytes of the packs that were written."""
    new_packs: int
    shares: int
    reused_shares: int
    """Shares that an interrupted run had finished."""
    freeze_seconds: float
    export_seconds: float

    @classmethod
    def of(cls, totals: Totals) -> Self:
        """From a manifest's."""
        return cls(
            new_commits=totals.commits_new,
            read_files=totals.files_read,
            read_bytes=totals.bytes_read,
            known_files=totals.files_known,
            new_blobs=totals.blobs_new,
            new_bytes=totals.bytes_new,
            stored_bytes=totals.bytes_stored,
            new_packs=totals.packs_new,
            shares=totals.shares,
            reused_shares=totals.shares_reused,
            freeze_seconds=totals.freeze_seconds,
            export_seconds=totals.export_seconds,
        )


@dataclass(frozen=True, kw_only=True)
class BackupSummary(Result):
    """The snapshot that `backup` sealed."""

    type: Literal["backup_summary"] = "backup_summary"
    snapshot: str
    partial: bool
    """Whether something that was chosen is not in it."""
    repos: int
    problems: Sequence[Problem]
    totals: RunTotals

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self:
        """From the snapshot."""
        manifest = snapshot.manifest
        return cls(
            snapshot=snapshot.name.id,
            partial=manifest.partial,
            repos=len(manifest.repos),
            problems=manifest.problems,
            totals=RunTotals.of(manifest.totals),
        )


@text_of(InitSummary)
def _init(summary: InitSummary) -> None:
    say(f"created vault {summary.vault_id[:12]} at {summary.vault}")


@text_of(BackupSummary)
def _backup(summary: BackupSummary) -> None:
    totals = summary.totals
    say(
        f"snapshot {summary.snapshot[:12]} sealed{' (partial)' if summary.partial else ''}: "
        f"{summary.repos} repos, {totals.new_commits} new commits, {human(totals.read_bytes)} read, "
        f"{human(totals.new_bytes)} new, {human(totals.stored_bytes)} stored"
    )
    for problem in summary.problems:
        say(f"  {problem.kind}: {problem.where}: {problem.message}")

"""What `restore`, `rollback` and `restores` report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

from pachvault.cli.common import put_table, say
from pachvault.cli.render import Result, table_of, text_of
from pachvault.restore.restore_report import CommitDifference, RestoreReport
from pachvault.restore.state.in_progress import RestoreInProgress
from pachvault.restore.state.restore_records import is_drill, state_of

_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class RestoreDifferenceResult(Result):
    """A restored file that differs from the vault."""

    type: Literal["restore_difference"] = "restore_difference"
    repo: str
    commit: str
    """The commit's id in the snapshot."""
    restored_commit: str
    """The id of the restored commit."""
    path: str
    message: str

    @classmethod
    def of(cls, difference: CommitDifference) -> Self:
        """From a report's."""
        return cls(
            repo=difference.repo,
            commit=difference.commit,
            restored_commit=difference.found,
            path=difference.path,
            message=difference.message,
        )


@dataclass(frozen=True, kw_only=True)
class RestoreSummary(Result):
    """What a restore did."""

    type: Literal["restore_summary"] = "restore_summary"
    request: str
    """The id of the request."""
    summary: str
    commits: int
    """Commits that are restored, those of an interrupted run included."""
    ids: Mapping[str, Mapping[str, str]]
    """For each repo the old commit ids, with the new ones."""
    lost: Sequence[str]
    """A line for each file, commit, branch or setting that could not be restored."""
    differences: int
    """There is a `restore_difference` for each."""
    kept: Sequence[str]
    """Where there are differences and no head was moved: the branches with the commits that differ."""
    moved: Sequence[str]
    """The branches whose heads were moved, project/repo@branch."""
    pipelines: Sequence[str]
    """Pipelines that were created."""
    not_restored: Sequence[str]
    """A line for each pipeline that was not created, and each output that nothing brings back."""
    notes: Sequence[str]
    is_unchanged: bool
    """Whether there was nothing to do."""

    @classmethod
    def of(cls, report: RestoreReport) -> Self:
        """From the report."""
        return cls(
            request=report.request_id,
            summary=report.summary,
            commits=sum(len(repo.ids) + len(repo.appended) for repo in report.replayed),
            ids=report.ids,
            lost=report.lost,
            differences=len(report.differences),
            kept=report.kept,
            moved=report.moved,
            pipelines=report.pipelines,
            not_restored=report.not_restored,
            notes=report.notes,
            is_unchanged=report.is_unchanged,
        )


@dataclass(frozen=True, kw_only=True)
class RestoreResult(Result):
    """A restore that the cluster has seen. One in progress has only the fields up to `is_drill`."""

    type: Literal["restore"] = "restore"
    request: str
    """The id of the request; its first 12 digits for one in progress."""
    state: str
    """running, waiting, interrupted; done, partial, different, not carried out."""
    phase: str
    """What a running restore does; empty for a finished one."""
    since: datetime | None
    """Since when a restore in progress is in this state; when a finished one ended."""
    summary: str
    is_drill: bool
    vault: str | None = None
    size_bytes: int | None = None
    elapsed_seconds: float | None = None
    ids: Mapping[str, Mapping[str, str]] | None = None
    lost: Sequence[str] | None = None
    differences: Sequence[Mapping[str, Any]] | None = None
    """Files that differed, as the record has them: repo, commit, path, message."""
    pipelines: Sequence[str] | None = None
    not_restored: Sequence[str] | None = None
    notes: Sequence[str] | None = None

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """From the record of a finished restore."""
        return cls(
            request=record["request"],
            state=state_of(dict(record)),
            phase="",
            since=_time(record["finished_at"]),
            summary=record["summary"],
            is_drill=is_drill(dict(record)),
            vault=record["vault"],
            size_bytes=record["bytes"],
            elapsed_seconds=record["seconds"],
            ids=record["ids"],
            lost=record["lost"],
            differences=record["differences"],
            # records of earlier versions lack these
            pipelines=record.get("pipelines", []),
            not_restored=record.get("not_restored", []),
            notes=record.get("notes", []),
        )

    @classmethod
    def in_progress(cls, restore: RestoreInProgress) -> Self:
        """From a restore that is not finished."""
        return cls(
            request=restore.request,
            state=restore.state,
            phase=restore.phase,
            since=restore.since,
            summary=restore.summary,
            is_drill=restore.is_drill,
        )


def _time(text: object) -> datetime | None:
    """A recorded time; None where it is none: anybody can write to the repo of records."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@table_of(RestoreDifferenceResult)
def _differences(differences: Iterable[RestoreDifferenceResult]) -> None:
    lines = [
        f"differs: {difference.repo}@{difference.commit}:{difference.path}: {difference.message}"
        for difference in differences
    ]
    for line in lines[:_SHOWN]:
        say(line)
    if len(lines) > _SHOWN:
        say(f"and {len(lines) - _SHOWN} more (--json lists all)")


@text_of(RestoreSummary)
def _restored(summary: RestoreSummary) -> None:
    for line in summary.lost:
        say(f"not restored: {line}")
    for branch in summary.kept:
        say(f"what differs is kept as {branch}; look at it, then delete it; the next run makes it again")
    for line in summary.not_restored:
        say(f"not restored: {line}")
    for line in summary.notes:
        say(f"note: {line}")
    for name in summary.pipelines:
        say(f"created pipeline {name}")
    say(f"{_outcome(summary)}; {summary.summary}; request {summary.request[:12]}")


def _outcome(summary: RestoreSummary) -> str:
    """What a restore did, in a few words."""
    if summary.is_unchanged:
        return "nothing to do: all of it is there already"
    if summary.kept:
        return f"no branch was touched: made {summary.commits} commits"
    if summary.commits or not summary.moved:
        return f"restored {summary.commits} commits"
    return f"moved {len(summary.moved)} branches back: {', '.join(summary.moved)}"


@table_of(RestoreResult)
def _restores(restores: Iterable[RestoreResult]) -> None:
    rows = [
        [
            restore.request[:12],
            f"{restore.state} ({restore.phase})" if restore.phase else restore.state,
            f"{restore.since:%Y-%m-%d %H:%M:%S}" if restore.since else "",
            f"drill: {restore.summary}" if restore.is_drill else restore.summary,
        ]
        for restore in restores
    ]
    put_table(["REQUEST", "STATE", "SINCE (UTC)", "SUMMARY"], rows)

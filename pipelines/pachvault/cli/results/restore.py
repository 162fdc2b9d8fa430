"""What `restore`, `rollback` and `restores` report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from pachvault.cli.common import human, put, put_table, say
from pachvault.cli.render import Result, table_of, text_of
from pachvault.format.documents import Hex
from pachvault.restore.apply.commit_check import CommitDifference
from pachvault.restore.request.in_progress import RestoreInProgress
from pachvault.restore.request.restore_records import RestoreReport, is_drill, state_of
from pachvault.restore.restore_messages import (
    BranchPlan,
    PipelinePlan,
    ProjectPlan,
    RepoPlan,
    RestorePlan,
    SettingsPlan,
)

_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class RestorePlanResult(Result):
    """What a restore would do, as `restore --dry-run` prints it."""

    type: Literal["restore_plan"] = "restore_plan"
    request: str
    """The id of the request."""
    status: Literal["work", "done", "refused"]
    summary: str
    vault: str
    snapshot: str
    projects: Sequence[ProjectPlan]
    """Projects to create."""
    repos: Sequence[RepoPlan]
    pipelines: Sequence[PipelinePlan]
    settings: SettingsPlan
    done_requests: Hex | None
    """The record of repo `restored` in the snapshot, whose files are added to the cluster's."""
    notes: Sequence[str]
    not_restored: Sequence[str]
    """A line for each pipeline that cannot be created, and each output that nothing brings back."""
    lost: Sequence[str]
    """A line for each repo that is left out because it is damaged."""
    paths: Sequence[str]
    shares: int
    commits: int
    size_bytes: int
    """Bytes that come from the vault."""
    verify: Literal["full", "hashes", "none"]
    keep_going: bool
    bytes_per_second: float | None
    """The bandwidth that is expected; None where none was measured."""
    measured_by: str
    """What measured the bandwidth."""
    expected_seconds: float | None
    """size_bytes / bytes_per_second."""

    @classmethod
    def of(cls, plan: RestorePlan) -> Self:
        """From the plan."""
        return cls(
            request=plan.request_id,
            status=plan.status,
            summary=plan.summary,
            vault=plan.vault,
            snapshot=plan.snapshot,
            projects=plan.projects,
            repos=plan.repos,
            pipelines=plan.pipelines,
            settings=plan.settings,
            done_requests=plan.done_requests,
            notes=plan.notes,
            not_restored=plan.not_restored,
            lost=plan.lost,
            paths=plan.paths,
            shares=plan.shares,
            commits=plan.commits,
            size_bytes=plan.bytes,
            verify=plan.verify,
            keep_going=plan.keep_going,
            bytes_per_second=plan.bytes_per_second,
            measured_by=plan.measured_by,
            expected_seconds=plan.expected_seconds,
        )


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


@text_of(RestorePlanResult)
def _plan(plan: RestorePlanResult) -> None:
    put(plan.summary)
    for project in plan.projects:
        put(f"create project {project.name}")
    for repo in plan.repos:
        new = " (new)" if repo.is_new else ""
        put(f"{repo.source} → {repo.target}{new}: {len(repo.steps)} commits from the {repo.origin}")
        for branch in repo.branches:
            put(f"  {_branch(branch, plan.paths)}")
    for pipeline in plan.pipelines:
        put(_pipeline(pipeline))
    for line in _settings(plan.settings):
        put(line)
    if plan.done_requests is not None:
        put("the record of finished requests is added to the cluster's")
    for line in plan.lost:
        put(f"left out, damaged: {line}")
    for line in plan.not_restored:
        put(f"not restored: {line}")
    for line in [*plan.notes, *plan.settings.notes]:
        put(f"note: {line}")
    put(_expected_time(plan))


def _pipeline(plan: PipelinePlan) -> str:
    name = f"{plan.project}/{plan.name}"
    if not plan.is_new:
        return f"stop pipeline {name}"
    return f"create pipeline {name} ({'stopped' if plan.stopped else 'running'})"


def _settings(plan: SettingsPlan) -> list[str]:
    """A line for each setting that is set."""
    lines = []
    if plan.cluster_metadata is not None:
        lines.append("set the metadata of the cluster")
    if plan.cluster_defaults_json is not None:
        lines.append("set the defaults of the cluster")
    for project in plan.projects:
        fields = [name for name, value in project if name != "name" and value is not None]
        settings = ", ".join(name.removesuffix("_json") for name in fields)
        lines.append(f"set of project {project.name}: {settings}")
    for repo in plan.repos:
        places = [f"{repo.project}/{repo.name}"] if repo.metadata else []
        places += [f"{repo.project}/{repo.name}@{branch}" for branch in repo.branches]
        lines += [f"set the metadata of {place}" for place in places]
    lines += [
        f"set the metadata of pipeline {pipeline.project}/{pipeline.name}" for pipeline in plan.pipelines
    ]
    for binding in plan.roles:
        lines += [
            f"give {principal} on {binding.text}: {', '.join(roles)}"
            for principal, roles in binding.roles.items()
        ]
    return lines


def _branch(branch: BranchPlan, paths: Sequence[str]) -> str:
    """What is done with a branch, and with the head that it has."""
    text = f"{branch.action} {branch.name} at {branch.head[:12]}"
    if paths:
        rest = ", the rest of the branch stays" if branch.action == "append" else ""
        text += f", only {', '.join(paths)}{rest}"
    if not branch.current:
        return text
    if branch.action == "keep":
        return f"keep {branch.name}: restored to {branch.head[:12]} by an interrupted run, has newer commits"
    if branch.current == branch.head:
        return f"{text}: it is there already"
    now = f"{text}; its head is {branch.current[:12]} now"
    if branch.keep_as:
        return f"{now}, kept as {branch.keep_as}"
    return f"{now}, which becomes the parent" if branch.action == "append" else now


def _expected_time(plan: RestorePlanResult) -> str:
    if not plan.size_bytes:
        return "expected time: seconds, because no data comes from the vault"
    if plan.expected_seconds is None or plan.bytes_per_second is None:
        return f"expected time: unknown for {human(plan.size_bytes)}, because no bandwidth was measured yet"
    rate = f"{human(plan.bytes_per_second)}/s"
    time = timedelta(seconds=max(1, round(plan.expected_seconds)))
    return f"expected time: {time} for {human(plan.size_bytes)} at {rate}, as measured by {plan.measured_by}"


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

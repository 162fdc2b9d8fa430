"""What `restore --dry-run` and `rollback --dry-run` report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Self

from pachvault.cli.common import human, put
from pachvault.cli.render import Result, text_of
from pachvault.format.documents import Hex
from pachvault.restore.restore_messages import (
    BranchPlan,
    PipelinePlan,
    ProjectPlan,
    RepoPlan,
    RestorePlan,
    SettingsPlan,
)


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

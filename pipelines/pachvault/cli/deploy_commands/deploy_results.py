"""What `deploy`, `undeploy` and `specs` report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pachvault.cli.common import put, say
from pachvault.cli.render import Result, text_of
from pachvault.deploy.deploy import DeployPlan
from pachvault.policy import HOME_PROJECT

START_NOW = f"pachctl run cron freeze --project {HOME_PROJECT}"


@dataclass(frozen=True, kw_only=True)
class DeployStepResult(Result):
    """One thing that `deploy` or `undeploy` makes, changes, deletes or checks; written when it is done."""

    is_left_out_by_quiet = True

    type: Literal["deploy_step"] = "deploy_step"
    kind: Literal["project", "repo", "robot", "policy", "records", "pipeline"]
    name: str
    action: str
    """created, updated, unchanged, deleted or absent."""
    dry_run: bool
    """Whether it is only planned."""


@dataclass(frozen=True, kw_only=True)
class DeployChangeResult(Result):
    """A field of a pipeline's spec that `deploy` changes; written before anything is done."""

    is_left_out_by_quiet = True

    type: Literal["deploy_change"] = "deploy_change"
    pipeline: str
    path: str
    """The names of the fields, with dots between them."""
    old: str | None
    """The value as JSON; null where the field is not set."""
    new: str | None


@dataclass(frozen=True, kw_only=True)
class DeployAdditionResult(Result):
    """What an operator added to a pipeline's spec, or set by an option. `deploy` keeps it."""

    is_left_out_by_quiet = True

    type: Literal["deploy_addition"] = "deploy_addition"
    pipeline: str | None
    """Null for an option, which counts for all pipelines."""
    path: str
    """The names of the fields, or of the option."""
    value: str | None
    """As JSON; null where the operator removed the field."""


@dataclass(frozen=True, kw_only=True)
class DeploySummary(Result):
    """What `deploy` did."""

    is_left_out_by_quiet = True

    type: Literal["deploy_summary"] = "deploy_summary"
    changed: int
    """Steps that changed something, or would."""
    missing: int
    """What backups need and the cluster lacks; there is a `warning` for each."""
    durations: Sequence[str]
    """How the durations of the policy file were read."""
    next_backup_at: datetime | None
    """The next tick of pipeline freeze, about; null where no policy is in force."""
    start_now: str
    """The command that starts a backup now."""
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class UndeploySummary(Result):
    """What `undeploy` did."""

    type: Literal["undeploy_summary"] = "undeploy_summary"
    deleted: int
    """Pipelines."""
    left: Sequence[str]
    """What was not deleted: repos and the vault."""
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class SpecsSummary(Result):
    """What `specs` wrote."""

    type: Literal["specs_summary"] = "specs_summary"
    folder: str
    files: Sequence[str]


def changes_of(plan: DeployPlan) -> Iterator[DeployChangeResult]:
    """Every change of a spec."""
    for pipeline in plan.pipelines:
        name = f"{HOME_PROJECT}/{pipeline.stage}"
        for change in pipeline.changes:
            old, new = _json(change.old), _json(change.new)
            yield DeployChangeResult(pipeline=name, path=change.path, old=old, new=new)


def additions_of(plan: DeployPlan) -> Iterator[DeployAdditionResult]:
    """Every option, and every addition to a spec."""
    for option, value in plan.records.options.model_dump(exclude_defaults=True, mode="json").items():
        yield DeployAdditionResult(pipeline=None, path=option, value=_json(value))
    for pipeline in plan.pipelines:
        for path, value in _leaves(pipeline.additions):
            name = f"{HOME_PROJECT}/{pipeline.stage}"
            yield DeployAdditionResult(pipeline=name, path=path, value=_json(value))


def _leaves(patch: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in patch.items():
        place = f"{path}.{name}" if path else name
        if isinstance(value, dict) and value:
            yield from _leaves(value, place)
        else:
            yield place, value


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


@text_of(DeployStepResult)
def _deploy_step(step: DeployStepResult) -> None:
    is_planned = step.dry_run and step.action not in ("unchanged", "absent")
    put(f"{step.kind} {step.name}: {'to be ' if is_planned else ''}{step.action}")


@text_of(DeployChangeResult)
def _deploy_change(change: DeployChangeResult) -> None:
    old, new = change.old or "(not set)", change.new or "(not set)"
    put(f"change {change.pipeline}: {change.path}: {old} -> {new}")


@text_of(DeployAdditionResult)
def _deploy_addition(addition: DeployAdditionResult) -> None:
    place = f"{addition.pipeline}: {addition.path}" if addition.pipeline else f"option {addition.path}"
    put(f"kept {place}: {addition.value or '(removed)'}")


@text_of(DeploySummary)
def _deploy(summary: DeploySummary) -> None:
    if summary.durations:  # 7m is minutes here, and months elsewhere
        say(f"policy: {', '.join(summary.durations)}")
    if summary.next_backup_at:
        say(f"next backup: about {summary.next_backup_at:%Y-%m-%d %H:%M} UTC; now: `{summary.start_now}`")
    if summary.changed and not summary.dry_run:
        say("the jobs that this deployment started process no data: they succeed, and back up nothing")


@text_of(UndeploySummary)
def _undeploy(summary: UndeploySummary) -> None:
    for line in summary.left:
        say(f"left: {line}")


@text_of(SpecsSummary)
def _specs(summary: SpecsSummary) -> None:
    say(f"wrote {len(summary.files)} files to {summary.folder}")

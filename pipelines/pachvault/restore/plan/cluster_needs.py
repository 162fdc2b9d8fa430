"""Checks, before the first write, that the cluster has what a plan needs.

A restore that cannot succeed is refused with nothing done. Access rights are not checked: with
authentication, only the call itself shows whether it is allowed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from pachvault.errors import UsageError
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Project
from pachvault.format.records import Pipeline
from pachvault.pach.pipelines import MAX_PARALLELISM, MAX_PIPELINES, Pipelines
from pachvault.pach.source import CommitRef, Source
from pachvault.restore.plan.repo_plan import TargetCluster
from pachvault.restore.restore_messages import PipelinePlan, ProjectPlan, RepoPlan
from pachvault.vault.snapshots import Snapshot

_PROJECT_NAME = 51
"""The longest name of a project that Pachyderm takes."""


def projects(
    snapshot: Snapshot, cluster: TargetCluster, repos: Sequence[RepoPlan], pipelines: Sequence[PipelinePlan]
) -> list[ProjectPlan]:
    """The projects to create. Raises UsageError for a name that Pachyderm does not take."""
    saved: Mapping[str, Project] = {project.name: project for project in snapshot.manifest.projects}
    names = {repo.to_project for repo in repos} | {pipeline.project for pipeline in pipelines}
    missing = sorted(names - {*cluster.projects})
    for name in missing:
        if len(name) > _PROJECT_NAME or not name[0].isalnum():
            raise UsageError(
                f"Pachyderm takes no project called {name!r}",
                hint=f"at most {_PROJECT_NAME} characters, the first a letter or a digit",
            )
    return [
        ProjectPlan(name=name, description=saved[name].description if name in saved else "")
        for name in missing
    ]


def can_run(
    plans: Sequence[PipelinePlan], cluster: TargetCluster, repos: Sequence[RepoPlan], named: Collection[str]
) -> tuple[list[PipelinePlan], list[str]]:
    """The pipelines that can be created, and a line for each that reads a repo which will be missing.

    Raises UsageError for one of these that is among the `named`, as project/name, and not just matched by a
    wildcard; and where a repo of its name is in the way.
    """
    targets = {repo.target for repo in repos}
    available = {*cluster.repos} | targets
    possible: list[PipelinePlan] = []
    lines: list[str] = []
    for plan in plans:
        name = RepoName(plan.project, plan.name)
        if plan.is_new:
            _check_place(name, cluster, targets)
        absent = [repo for repo in map(RepoName.parse, plan.inputs) if repo not in available]
        reason = f"reads {absent[0]}, which is neither in the cluster nor restored with it" if absent else ""
        if absent and str(name) in named:
            raise UsageError(f"pipeline {name} {reason}", hint=f"name {absent[0]} too, or restore it first")
        if absent:
            lines.append(f"{name}: the pipeline is not created: it {reason}")
        else:
            # its output exists once it is created: the next ones, in topological order, may read it
            available.add(name)
            possible.append(plan)
    return possible, lines


def check_licence(source: Source, plans: Sequence[PipelinePlan], outputs: Collection[RepoName]) -> None:
    """Raise UsageError where the plan exceeds the limits of a cluster without a licence."""
    new = [plan for plan in plans if plan.is_new]
    pipelines = Pipelines(source.connection)
    # Pachyderm counts names, whatever their projects
    count = len({output.repo for output in outputs} | {plan.name for plan in new})
    wide = [plan for plan in new if _parallelism(plan) > MAX_PARALLELISM]
    # the licence is asked for last: most restores stay within the limits and need no answer
    if not new or (count <= MAX_PIPELINES and not wide) or pipelines.is_licensed():
        return
    if wide:
        raise UsageError(
            f"pipeline {wide[0].project}/{wide[0].name} wants {_parallelism(wide[0])} workers, and without a "
            f"licence Pachyderm allows {MAX_PARALLELISM}",
            hint="activate a licence, or restore the others by name",
        )
    raise UsageError(
        f"the cluster would have {count} pipelines, and without a licence Pachyderm allows {MAX_PIPELINES}",
        hint="delete some, activate a licence, or restore fewer by name",
    )


def check_specs(source: Source, plans: Sequence[PipelinePlan], cluster: TargetCluster) -> None:
    """Raise UsageError for a new pipeline with a spec that this Pachyderm cannot read, all of them named."""
    pipelines = Pipelines(source.connection)
    problems = []
    for plan in plans:
        # the server reads a spec with its project's defaults: one that is still to be made has none
        projects = [plan.project] if plan.project in cluster.projects else sorted(cluster.projects)
        if not plan.is_new or not projects:
            continue
        spec = json.loads(plan.spec_json)
        spec["pipeline"]["project"] = {"name": projects[0]}
        try:
            pipelines.check(json.dumps(spec), f"{plan.project}/{plan.name}")
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError(
            f"this Pachyderm cannot create {len(problems)} of the pipelines: {'; '.join(problems)}",
            hint="leave them out, or restore into the version that they were saved from",
        )


def not_recomputed(
    snapshot: Snapshot,
    source: Source,
    chosen: Mapping[RepoName, Pipeline],
    plans: Sequence[PipelinePlan],
    cluster: TargetCluster,
) -> list[str]:
    """A line for each output that a stopped pipeline will not compute again, unless it was empty.

    A pipeline that is there already, from an interrupted run say, counts until it has output.
    """
    sizes = {RepoName(entry.project, entry.repo): entry.size_bytes for entry in snapshot.manifest.repos}
    new = {RepoName(plan.project, plan.name) for plan in plans if plan.is_new}
    lines = []
    for name, pipeline in sorted(chosen.items()):
        is_empty_there = name in new or (name in cluster.outputs and not _has_output(source, name))
        if pipeline.stopped and is_empty_there and sizes.get(name) != 0:
            how = f"`pachctl start pipeline {name.repo} --project {name.project}` computes it again"
            if name in sizes:
                how += f"; `pachvault restore {name} --to {name}-restored` brings it back as a plain repo"
            lines.append(f"{name}: the pipeline is stopped, and its output is not brought back: {how}")
    return lines


def _has_output(source: Source, name: RepoName) -> bool:
    return any(
        source.commit(CommitRef(name.project, name.repo, branch.head)).size_bytes
        for branch in source.branches(name)
        if branch.head
    )


def _check_place(name: RepoName, cluster: TargetCluster, targets: Collection[RepoName]) -> None:
    """Raise UsageError where the output repo of a pipeline exists, or is to be restored."""
    if name in targets:
        raise UsageError(
            f"{name} cannot be both a plain repo and the output of pipeline {name}",
            hint="outputs: recompute, or restore what it wrote by itself, with another name in `to`",
        )
    if name in cluster.repos and name not in cluster.outputs:
        raise UsageError(
            f"repo {name} is in the way of pipeline {name}, which makes a repo of its name",
            hint="delete the repo, or leave the pipeline out",
        )


def _parallelism(plan: PipelinePlan) -> int:
    spec = json.loads(plan.spec_json)
    wanted = spec.get("parallelism_spec") or spec.get("parallelismSpec")
    constant = wanted.get("constant") if isinstance(wanted, dict) else None
    # protobuf's JSON takes numbers as text, too; what is no number the cluster refuses itself
    return int(str(constant)) if str(constant).isdecimal() else 0

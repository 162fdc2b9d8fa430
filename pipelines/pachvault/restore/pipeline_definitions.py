"""Pipeline definitions: which to restore, in which order, and whether the cluster has what they need."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pachvault.errors import CorruptError, NotAllowedError, UsageError
from pachvault.format.ids import RepoName
from pachvault.format.records import Pipeline
from pachvault.pach.pipelines import Pipelines, is_same
from pachvault.pach.source import Source
from pachvault.request import Request
from pachvault.restore.own_project import means
from pachvault.restore.restore_messages import PipelinePlan
from pachvault.syntax import selection

_log = logging.getLogger(__name__)

_OF_ONE_CALL = ("update", "reprocess", "spec_commit", "specCommit", "dry_run", "dryRun")


def choose(request: Request, known: Sequence[Pipeline], source: Source) -> list[PipelinePlan]:
    """The definitions whose output repos the request matches, each after those that it reads from.

    A pipeline that exists with the same definition is not in the way: it may be this request's own. Raises
    UsageError where another one has its name, or where a pipeline needs a secret that the cluster lacks.
    """
    if not request.pipelines:
        return []
    if request.to.project or request.to.repo:
        raise UsageError("pipelines keep their names", hint="pipelines: false, or no `to`")
    chosen = matching(request, known)
    existing = {RepoName(pipeline.project, pipeline.name): pipeline for pipeline in source.pipelines()}
    conflicting = [
        name for name in sorted(chosen.keys() & existing.keys()) if not _is_same(chosen[name], existing[name])
    ]
    if conflicting and request.exists == "fail":
        raise UsageError(
            f"pipeline {conflicting[0]} exists, and is another one",
            hint="exists: append or replace leaves it as it is",
        )
    wanted = {name: pipeline for name, pipeline in chosen.items() if name not in existing}
    if request.exists == "fail":  # an earlier run ended between creating and stopping it
        wanted |= {
            name: pipeline
            for name, pipeline in chosen.items()
            if pipeline.stopped and not _is_stopped(existing, name)
        }
    needed = {secret for pipeline in wanted.values() for secret in _secrets(pipeline)}
    missing = [secret for secret in sorted(needed) if _is_missing(source, secret)]
    if missing:
        raise UsageError(
            f"the cluster lacks {len(missing)} secrets that pipelines need: {', '.join(missing)}",
            hint="create them first: their values are in no backup",
        )
    plans = {name: _plan(wanted[name]) for name in _topological(wanted)}
    return [plan.model_copy(update={"is_new": name not in existing}) for name, plan in plans.items()]


def matching(request: Request, known: Sequence[Pipeline]) -> dict[RepoName, Pipeline]:
    """The definitions that the request matches, by output repo; none where it restores no pipelines."""
    if not request.pipelines:
        return {}
    outputs = {RepoName(pipeline.project, pipeline.name): pipeline for pipeline in known}
    patterns = [selection.source(text) for text in request.what]
    return {
        name: pipeline
        for name, pipeline in outputs.items()
        if any(means(pattern, name) for pattern in patterns)
    }


def create_stopped(source: Source, plans: Sequence[PipelinePlan]) -> None:
    """Create and stop the stopped ones whose inputs exist. The inputs are still empty: no job starts."""
    pipelines = Pipelines(source.connection)
    repos = {str(repo.name) for repo in source.repos()}
    for plan in plans:
        if plan.stopped and repos.issuperset(plan.inputs):
            _create(pipelines, plan)
            repos.add(f"{plan.project}/{plan.name}")


def create_rest(source: Source, plans: Sequence[PipelinePlan]) -> None:
    """Create the missing pipelines, in order, and stop those that were stopped."""
    pipelines = Pipelines(source.connection)
    for plan in plans:
        _create(pipelines, plan)


def _create(pipelines: Pipelines, plan: PipelinePlan) -> None:
    # asked for each: an earlier run may have ended between creating a pipeline and stopping it
    is_stopped = pipelines.is_stopped(plan.project, plan.name)
    if is_stopped is None:
        pipelines.create(plan.spec_json, f"{plan.project}/{plan.name}")
    if plan.stopped and not is_stopped:
        pipelines.stop(plan.project, plan.name)


def _plan(pipeline: Pipeline) -> PipelinePlan:
    spec = _spec(pipeline)
    for name in _OF_ONE_CALL:
        spec.pop(name, None)
    # a spec may leave the project out: then only the record says where the pipeline belongs
    spec["pipeline"] = {"name": pipeline.name, "project": {"name": pipeline.project}}
    return PipelinePlan(
        project=pipeline.project,
        name=pipeline.name,
        stopped=pipeline.stopped,
        inputs=[str(repo) for repo in _inputs(pipeline)],
        spec_json=json.dumps(spec),
    )


def _spec(pipeline: Pipeline) -> dict[str, Any]:
    try:
        spec = json.loads(pipeline.spec_json)
    except (ValueError, RecursionError):
        spec = None
    if not isinstance(spec, dict):
        raise CorruptError(
            f"the definition of pipeline {pipeline.project}/{pipeline.name} is no JSON object",
            hint="restore without that pipeline",
        )
    return spec


def _is_same(one: Pipeline, other: Pipeline) -> bool:
    return is_same(_plan(one).spec_json, _plan(other).spec_json)


def _is_stopped(existing: Mapping[RepoName, Pipeline], name: RepoName) -> bool:
    return name in existing and existing[name].stopped


def _topological(chosen: dict[RepoName, Pipeline]) -> list[RepoName]:
    """Each after those that it reads from; by name where they read from each other in a circle."""
    inputs = {name: sorted(chosen.keys() & set(_inputs(chosen[name]))) for name in sorted(chosen)}
    try:
        return list(TopologicalSorter(inputs).static_order())
    except CycleError:  # no cluster holds such pipelines; the one that they are created in refuses them
        return sorted(chosen)


def _inputs(pipeline: Pipeline) -> Iterator[RepoName]:
    # details, not the spec: a spec may be in snake_case or camelCase, details are always in one form
    pending = [pipeline.details.get("input")]
    while pending:
        node = pending.pop()
        if not isinstance(node, dict):
            continue
        if isinstance(pfs := node.get("pfs"), dict):
            yield RepoName(str(pfs.get("project") or pipeline.project), str(pfs.get("repo")))
        for group in ("cross", "union", "join", "group"):
            pending.extend(_list(node.get(group)))


def _secrets(pipeline: Pipeline) -> set[str]:
    """The Kubernetes secrets that a definition names, those for pulling its image among them."""
    transform, egress = pipeline.details.get("transform"), pipeline.details.get("egress")
    names: set[str] = set()
    if isinstance(transform, dict):
        mounts = _list(transform.get("secrets"))
        names |= {str(mount["name"]) for mount in mounts if isinstance(mount, dict) and "name" in mount}
        names |= {str(name) for name in _list(transform.get("image_pull_secrets"))}
    database = egress.get("sql_database") if isinstance(egress, dict) else None
    secret = database.get("secret") if isinstance(database, dict) else None
    if isinstance(secret, dict) and secret.get("name"):
        names.add(str(secret["name"]))
    return names


def _list(value: object) -> list[Any]:
    """The details come from a server of some version: a value that is no list counts as empty."""
    return value if isinstance(value, list) else []


def _is_missing(source: Source, secret: str) -> bool:
    """Whether the cluster lacks a secret. Where the caller may not look, pachd checks it at the creation."""
    try:
        return not source.has_secret(secret)
    except NotAllowedError as error:
        _log.info("not checked whether secret %s exists: %s", secret, error)
        return False

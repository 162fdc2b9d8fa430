"""Lists restores that are not finished: running, interrupted, or waiting in the pipelines.

Reads the cluster only. Finished ones are in `restore_records`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pachvault.cluster_project import MASTER
from pachvault.errors import CorruptError, SourceGoneError
from pachvault.format.ids import RepoName
from pachvault.pach.records import RepoInfo
from pachvault.pach.source import CommitRef, Source
from pachvault.policy import DRILL_PROJECT, HOME_PROJECT
from pachvault.restore.restore_messages import RestorePlan
from pachvault.restore.stage import staging
from pachvault.restore.state.lock_holder import LockHolder, holder_of, state_in

_log = logging.getLogger(__name__)

_PLANS, _ANSWERS = (RepoName(HOME_PROJECT, name) for name in ("restore_plan", "restore_replay"))
_REQUEST = re.compile(r"request ([0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class RestoreInProgress:
    """A restore that is not finished."""

    request: str
    """The first 12 digits of its id."""
    state: Literal["running", "interrupted", "waiting"]
    """running: a run holds it. interrupted: a run left it, and it continues when it is requested again.
    waiting: the pipelines have it."""
    phase: str
    since: datetime | None
    summary: str
    is_drill: bool = False


def unfinished_restores(source: Source, recorded: Collection[str] = ()) -> list[RestoreInProgress]:
    """The restores that are not finished, running ones first. `recorded`: the ids of finished requests."""
    now, here = datetime.now(UTC), LockHolder.this_process()
    repos = source.repos()
    drills = _drills(repos)
    planned = _planned(source, recorded)
    restores = []
    for repo in staging_repos(repos):
        request = repo.name.repo.removeprefix(staging.PREFIX)
        run = holder_of(source, request, repo.description)
        # removed from the planned ones, so that a request with a repo is listed once
        plan = planned.pop(request, None)
        is_drill = request in drills
        if run is not None and not run.is_dead(now) and not here.has_ended(run.holder):
            since = run.since or run.began_at
            restores.append(
                RestoreInProgress(request, "running", run.phase, since, run.holder.name, is_drill)
            )
        elif plan is not None:
            restores.append(RestoreInProgress(request, "waiting", "planned", repo.created_at, plan))
        else:
            since = run.alive_at if run else repo.created_at
            state = state_in(repo.description)
            phase = run.phase if run else state.phase if state else "fetch"
            note = "the next drill removes it" if is_drill else "continues when it is requested again"
            restores.append(RestoreInProgress(request, "interrupted", phase, since, note, is_drill))
    restores += [
        RestoreInProgress(request, "waiting", "planned", None, plan) for request, plan in planned.items()
    ]
    order = ("running", "waiting", "interrupted")
    return sorted(restores, key=lambda restore: (order.index(restore.state), restore.request))


def _drills(repos: Iterable[RepoInfo]) -> set[str]:
    """The requests of drills that run or died: their scratch repos name them."""
    scratch = (repo for repo in repos if repo.name.project == DRILL_PROJECT)
    return {match[1] for repo in scratch if (match := _REQUEST.search(repo.description))}


def staging_repos(repos: Iterable[RepoInfo]) -> list[RepoInfo]:
    """The repos of requests that are not settled."""
    return [
        repo
        for repo in repos
        if repo.name.project == HOME_PROJECT and repo.name.repo.startswith(staging.PREFIX)
    ]


def _planned(source: Source, recorded: Collection[str]) -> dict[str, str]:
    """Requests that the pipelines have planned and not finished: id (12 digits) to summary."""
    plans, answers = _newest(source, _PLANS), _newest(source, _ANSWERS)
    if plans is None:
        return {}
    answered = set(_folders(source, answers, "report.json")) if answers else set()
    summaries = {}
    for folder in _folders(source, plans, "plan.json"):
        if folder not in answered:
            path = f"/{folder}/plan.json"
            data = b"".join(
                bytes(piece.data) for piece in source.read_some(plans, f"/{folder}/", ["plan.json"])
            )
            try:
                plan = RestorePlan.read(data, f"{_PLANS}:{path}")
            except CorruptError as error:
                summaries[folder.rpartition("-")[2]] = str(error)
                continue
            if plan.status == "work" and plan.request_id not in recorded:
                summaries[plan.request_id[:12]] = plan.summary
    return summaries


def _folders(source: Source, ref: CommitRef, name: str) -> Iterator[str]:
    for path in source.paths(ref, f"/*/{name}"):
        yield path.split("/")[1]


def _newest(source: Source, repo: RepoName) -> CommitRef | None:
    """The newest finished commit of a pipeline's output; None where there is none."""
    try:
        current = {branch.name: branch.head for branch in source.branches(repo)}.get(MASTER)
        # the head may be the open commit of a job that runs, or a failed one: the newest readable ancestor
        # counts
        while current:
            commit = source.commit(CommitRef(repo.project, repo.repo, current))
            if commit.finished_at is not None and not commit.error:
                return CommitRef(repo.project, repo.repo, current)
            current = commit.parent
    except SourceGoneError as error:
        _log.info("no requests in progress are known: %s", error)
    return None

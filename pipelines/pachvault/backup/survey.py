"""The survey: what the cluster holds at one point in time, as far as a policy chooses it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from pachvault.backup.select import settled
from pachvault.errors import SourceGoneError
from pachvault.format.documents import Cluster, Pipeline, Project
from pachvault.format.ids import RepoName
from pachvault.pach.records import BranchInfo, CommitInfo, RepoInfo
from pachvault.pach.source import Source
from pachvault.policy import Policy

_PASSES = 5
_CALLS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class SurveyedRepo:
    """A repo with its chosen branches and all of its commits by id."""

    info: RepoInfo
    output_of: str | None
    branches: tuple[BranchInfo, ...]
    commits: dict[str, CommitInfo]


@dataclass(frozen=True, slots=True)
class Survey:
    """The chosen part of a cluster. Between `began_at` and `ended_at` no chosen head moved,
    or `is_settled` is False."""

    cluster: Cluster
    began_at: datetime
    ended_at: datetime
    is_settled: bool
    projects: tuple[Project, ...]
    repos: tuple[SurveyedRepo, ...]
    pipelines: tuple[Pipeline, ...]
    vanished: tuple[RepoName, ...]
    """Repos that were deleted while the survey went on."""


def survey(source: Source, policy: Policy) -> Survey:
    """Look at the cluster; the listings of heads are repeated until two agree, a bounded number of times."""
    cluster = Cluster(id=source.connection.cluster_id(), version=source.connection.version())
    pipelines = source.pipelines()
    outputs = {RepoName(each.project, each.name): each.name for each in pipelines}
    with ThreadPoolExecutor(_CALLS_AT_ONCE, "survey") as pool:

        def heads() -> dict[RepoInfo, list[BranchInfo]]:
            repos = [
                repo for repo in source.repos() if policy.outputs == "include" or repo.name not in outputs
            ]
            listed = pool.map(lambda repo: _chosen_branches(source, policy, repo), repos)
            return {repo: branches for repo, branches in zip(repos, listed, strict=True) if branches}

        previous = heads()
        for _ in range(_PASSES):
            began_at = datetime.now(UTC)
            current = heads()
            is_settled = _agree(previous, current)
            previous = current
            if is_settled:
                break
        ended_at = datetime.now(UTC)
        histories = list(pool.map(lambda repo: _history(source, repo.name), current))
    found = [
        SurveyedRepo(repo, outputs.get(repo.name), tuple(branches), commits)
        for (repo, branches), commits in zip(current.items(), histories, strict=True)
        if commits is not None
    ]
    gone = [repo.name for repo, commits in zip(current, histories, strict=True) if commits is None]
    return Survey(
        cluster=cluster,
        began_at=began_at,
        ended_at=ended_at,
        is_settled=is_settled,
        projects=_projects_of(source, found),
        repos=tuple(found),
        pipelines=tuple(pipelines) if policy.pipelines == "include" else (),
        vanished=tuple(gone),
    )


def _chosen_branches(source: Source, policy: Policy, repo: RepoInfo) -> list[BranchInfo]:
    if not _may_choose(policy, repo.name):
        return []
    try:
        branches = source.branches(repo.name)
    except SourceGoneError:  # deleted between the two listings
        return []
    return [branch for branch in branches if policy.chooses(repo.name, branch.name)]


def _may_choose(policy: Policy, repo: RepoName) -> bool:
    """Whether some branch of the repo could be a source; spares listing the branches of the others."""
    return any(policy.reaches(repo, pattern) for pattern in policy.sources)


def _agree(first: dict[RepoInfo, list[BranchInfo]], second: dict[RepoInfo, list[BranchInfo]]) -> bool:
    return list(first) == list(second) and all(settled(first[repo], second[repo]) for repo in first)


def _history(source: Source, repo: RepoName) -> dict[str, CommitInfo] | None:
    try:
        return {commit.id: commit for commit in source.commits(repo)}
    except SourceGoneError:
        return None


def _projects_of(source: Source, repos: Sequence[SurveyedRepo]) -> tuple[Project, ...]:
    wanted = {repo.info.name.project for repo in repos}
    return tuple(project for project in source.projects() if project.name in wanted)

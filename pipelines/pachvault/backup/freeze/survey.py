"""The survey: what a cluster has at one point in time, as far as a policy chooses it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pachvault.backup.freeze import gaps as gaps_module
from pachvault.backup.freeze.commit_selection import settled
from pachvault.backup.freeze.gaps import Gaps
from pachvault.backup.freeze.settings_reader import SettingsReader, unknown_fields
from pachvault.errors import NotAllowedError, SourceGoneError
from pachvault.format.documents import Roles
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Cluster, Problem, Project
from pachvault.format.records import Pipeline
from pachvault.pach.records import BranchInfo, CommitInfo, RepoInfo
from pachvault.pach.settings import Settings
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
    roles: Roles | None = None


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
    """Repos that were deleted during the survey."""
    listed: frozenset[RepoName]
    """Every repo of the cluster, chosen or not."""
    skipped: frozenset[RepoName]
    """Those of them that pipelines write, where the policy excludes outputs."""
    gaps: Gaps = field(default_factory=Gaps)
    """What the caller may not see or read."""
    notes: tuple[Problem, ...] = ()
    """Gaps, settings that could not be read, and fields that this version does not know."""


@dataclass(frozen=True, slots=True)
class _Heads:
    """One listing of all heads, and of the pipelines."""

    pipelines: list[Pipeline]
    branches: dict[RepoInfo, list[BranchInfo]]
    """The chosen branches of each repo that has any."""
    vanished: list[RepoName]
    """Repos that were listed and deleted before their branches were."""
    listed: frozenset[RepoName]
    """Every repo of the cluster."""


def survey(source: Source, policy: Policy) -> Survey:
    """Read the cluster. Heads are listed until two listings agree, a limited number of times."""
    gaps, settings = Gaps(), Settings(source.connection)
    cluster = Cluster(id=source.connection.cluster_id(), version=source.connection.version())
    with ThreadPoolExecutor(_CALLS_AT_ONCE, "survey") as pool:

        def heads() -> _Heads:
            pipelines = source.pipelines()
            outputs = _outputs(pipelines)
            all_repos = source.repos()
            repos = [repo for repo in all_repos if policy.outputs == "include" or repo.name not in outputs]
            listed = list(pool.map(lambda repo: _chosen_branches(source, policy, repo, gaps), repos))
            return _Heads(
                pipelines,
                {repo: branches for repo, branches in zip(repos, listed, strict=True) if branches},
                [repo.name for repo, branches in zip(repos, listed, strict=True) if branches is None],
                frozenset(repo.name for repo in all_repos),
            )

        previous = heads()
        for _ in range(_PASSES):
            began_at = datetime.now(UTC)
            current = heads()
            is_settled = _agree(previous, current)
            previous = current
            if is_settled:
                break
        ended_at = datetime.now(UTC)
        gaps.hidden = source.hidden_projects()
        # after the heads, so that every ancestor of a head is in its listing. A head that is not was squashed
        # or dropped meanwhile.
        histories = list(pool.map(lambda repo: _history(source, repo.name, gaps), current.branches))
        reader = SettingsReader(settings, pool)
        cluster = reader.cluster(cluster)
        roles = reader.roles([repo.name for repo in current.branches])
        outputs = _outputs(current.pipelines)
        surveyed = [
            SurveyedRepo(repo, outputs.get(repo.name), tuple(branches), commits, bindings)
            for (repo, branches), commits, bindings in zip(
                current.branches.items(), histories, roles, strict=True
            )
            if commits is not None
        ]
        pipelines = current.pipelines if policy.pipelines == "include" else []
        projects = reader.projects(_projects_of(source, surveyed, pipelines))
    gone = [
        repo.name
        for repo, commits in zip(current.branches, histories, strict=True)
        if commits is None and repo.name not in gaps.unreadable
    ]
    return Survey(
        cluster=cluster,
        began_at=began_at,
        ended_at=ended_at,
        is_settled=is_settled,
        projects=tuple(projects),
        repos=tuple(surveyed),
        pipelines=tuple(pipelines),
        vanished=tuple(sorted({*gone, *current.vanished})),
        listed=current.listed,
        skipped=current.listed & outputs.keys() if policy.outputs == "skip" else frozenset(),
        gaps=gaps,
        notes=(
            *gaps_module.problems(gaps, policy, current.listed, settings),
            *reader.problems,
            *unknown_fields(source.unknown_fields),
        ),
    )


def _chosen_branches(source: Source, policy: Policy, repo: RepoInfo, gaps: Gaps) -> list[BranchInfo] | None:
    """The chosen branches of a repo that was just listed; None where it was deleted meanwhile."""
    # spares listing its branches
    if not policy.reaches(repo.name) or not gaps.may_read(repo):
        return []
    try:
        branches = source.branches(repo.name)
    except NotAllowedError as error:
        gaps.refused(repo.name, error)
        return []
    except SourceGoneError:
        return None
    return [branch for branch in branches if policy.chooses(repo.name, branch.name)]


def _agree(first: _Heads, second: _Heads) -> bool:
    return (
        first.vanished == second.vanished
        and _definitions(first.pipelines) == _definitions(second.pipelines)
        # the keys have the time of creation: a repo that was made anew in between differs
        and list(first.branches) == list(second.branches)
        and all(settled(first.branches[repo], second.branches[repo]) for repo in first.branches)
    )


def _history(source: Source, repo: RepoName, gaps: Gaps) -> dict[str, CommitInfo] | None:
    try:
        return {commit.id: commit for commit in source.commits(repo)}
    except NotAllowedError as error:
        gaps.refused(repo, error)
        return None
    except SourceGoneError:
        return None


def _definitions(pipelines: Sequence[Pipeline]) -> list[Pipeline]:
    """The pipelines without their details, which change without a user's action."""
    return [pipeline.model_copy(update={"details": {}}) for pipeline in pipelines]


def _outputs(pipelines: Sequence[Pipeline]) -> dict[RepoName, str]:
    """The output repos of pipelines, with the names of the pipelines."""
    return {RepoName(pipeline.project, pipeline.name): pipeline.name for pipeline in pipelines}


def _projects_of(
    source: Source, repos: Sequence[SurveyedRepo], pipelines: Sequence[Pipeline]
) -> list[Project]:
    wanted = {repo.info.name.project for repo in repos} | {pipeline.project for pipeline in pipelines}
    return [project for project in source.projects() if project.name in wanted]

"""The survey: what a cluster has at one point in time, as far as a policy chooses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime

from pachvault.backup.base_lookup import SealedCommits
from pachvault.backup.freeze import gaps as gaps_module
from pachvault.backup.freeze.commit_histories import RepoCommits, usable_records
from pachvault.backup.freeze.gaps import Gaps
from pachvault.backup.freeze.heads import Heads
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


@dataclass(frozen=True, slots=True)
class SurveyedRepo:
    """A repo with its chosen branches and, by id, its commits that a plan needs."""

    info: RepoInfo
    output_of: str | None
    branches: tuple[BranchInfo, ...]
    commits: dict[str, CommitInfo]
    roles: Roles | None = None
    history_listed_at: datetime | None = None
    """When all commits of the repo were last listed."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The chosen part of a cluster. Between `began_at` and `ended_at` no chosen head moved,
    or `is_settled` is False."""

    cluster: Cluster
    began_at: datetime
    ended_at: datetime
    is_settled: bool
    counted_from: datetime
    """The time that the age of commits is counted from, see `history_end`."""
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


def survey(
    source: Source,
    policy: Policy,
    heads: Heads,
    sealed: Mapping[RepoName, SealedCommits],
    counted_from: Callable[[Iterable[CommitInfo]], datetime],
    pool: Executor,
) -> Survey:
    """Read what belongs to the heads: commits, as far as the newest `sealed` records lack them, and settings.

    `counted_from` gets the commits that are not sealed, heads at least; see `Survey.counted_from`.
    """
    gaps, settings = heads.gaps, Settings(source.connection)
    gaps.hidden = source.hidden_projects()
    cluster = Cluster(id=source.connection.cluster_id(), version=source.connection.version())
    records = usable_records(heads.branches, sealed, heads.ended_at)
    # after the heads, so that every ancestor of a head is found. A head that is not was squashed or dropped
    # meanwhile.
    histories = {
        repo.name: RepoCommits(source, repo.name, branches, policy.history, records)
        for repo, branches in heads.branches.items()
    }
    vanished = {*heads.vanished, *_each(pool, histories, RepoCommits.meet_heads, gaps)}
    now = counted_from(commit for history in histories.values() for commit in history.commits.values())
    vanished |= _each(pool, histories, lambda history: history.complete(now), gaps)
    reader = SettingsReader(settings, pool)
    cluster = reader.cluster(cluster)
    repos = [repo for repo in heads.branches if repo.name not in {*vanished, *gaps.unreadable}]
    roles = reader.roles([repo.name for repo in repos])
    surveyed = [
        SurveyedRepo(
            info=repo,
            output_of=heads.outputs.get(repo.name),
            branches=tuple(heads.branches[repo]),
            commits=histories[repo.name].commits,
            roles=bindings,
            history_listed_at=histories[repo.name].listed_at(heads.ended_at),
        )
        for repo, bindings in zip(repos, roles, strict=True)
    ]
    pipelines = heads.pipelines if policy.pipelines == "include" else []
    projects = reader.projects(_projects_of(source, surveyed, pipelines))
    return Survey(
        cluster=cluster,
        began_at=heads.began_at,
        ended_at=heads.ended_at,
        is_settled=heads.is_settled,
        counted_from=now,
        projects=tuple(projects),
        repos=tuple(surveyed),
        pipelines=tuple(pipelines),
        vanished=tuple(sorted(vanished)),
        listed=heads.listed,
        skipped=heads.listed & heads.outputs.keys() if policy.outputs == "skip" else frozenset(),
        gaps=gaps,
        notes=(
            *gaps_module.problems(gaps, policy, heads.listed, settings),
            *reader.problems,
            *unknown_fields(source.unknown_fields),
        ),
    )


def _each(
    pool: Executor,
    histories: Mapping[RepoName, RepoCommits],
    step: Callable[[RepoCommits], None],
    gaps: Gaps,
) -> set[RepoName]:
    """Do a step for all repos; those that were deleted meanwhile. What may not be read is noted in `gaps`."""

    def is_there(name: RepoName) -> bool:
        try:
            step(histories[name])
        except NotAllowedError as error:
            gaps.refused(name, error)
        except SourceGoneError:
            return False
        return True

    names = [name for name in histories if name not in gaps.unreadable]
    results = pool.map(is_there, names)
    return {name for name, has_repo in zip(names, results, strict=True) if not has_repo}


def _projects_of(
    source: Source, repos: Sequence[SurveyedRepo], pipelines: Sequence[Pipeline]
) -> list[Project]:
    wanted = {repo.info.name.project for repo in repos} | {pipeline.project for pipeline in pipelines}
    return [project for project in source.projects() if project.name in wanted]

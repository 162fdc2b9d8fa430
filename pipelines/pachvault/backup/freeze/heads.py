"""The heads of a cluster: the branches that a policy chooses, and the pipelines, at one point in time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pachvault.backup.freeze.commit_selection import settled
from pachvault.backup.freeze.gaps import Gaps
from pachvault.errors import NotAllowedError, SourceGoneError
from pachvault.format.ids import RepoName
from pachvault.format.records import Pipeline
from pachvault.pach.records import BranchInfo, RepoInfo
from pachvault.pach.source import Source
from pachvault.policy import Policy

_PASSES = 5


@dataclass(frozen=True, slots=True)
class Heads:
    """The chosen heads. Between `began_at` and `ended_at` none of them moved, or `is_settled` is False."""

    began_at: datetime
    ended_at: datetime
    is_settled: bool
    pipelines: list[Pipeline]
    branches: dict[RepoInfo, list[BranchInfo]]
    """The chosen branches of each repo that has any."""
    vanished: list[RepoName]
    """Repos that were listed and deleted before their branches were."""
    listed: frozenset[RepoName]
    """Every repo of the cluster."""
    gaps: Gaps = field(default_factory=Gaps)
    """What the caller may not see or read."""

    @property
    def repos(self) -> list[RepoName]:
        """The repos with chosen branches."""
        return [repo.name for repo in self.branches]

    @property
    def outputs(self) -> dict[RepoName, str]:
        """The output repos of pipelines, with the names of the pipelines."""
        return _outputs(self.pipelines)


def list_heads(source: Source, policy: Policy, pool: Executor) -> Heads:
    """List the heads until two listings agree, a limited number of times."""
    previous = _listing(source, policy, pool)
    for _ in range(_PASSES):
        current = _listing(source, policy, pool)
        if _agree(previous, current):
            return current
        previous = current
    return replace(current, is_settled=False)


def _listing(source: Source, policy: Policy, pool: Executor) -> Heads:
    began_at = datetime.now(UTC)
    pipelines = source.pipelines()
    outputs = _outputs(pipelines)
    all_repos = source.repos()
    repos = [repo for repo in all_repos if policy.outputs == "include" or repo.name not in outputs]
    gaps = Gaps()
    listed = list(pool.map(lambda repo: _chosen_branches(source, policy, repo, gaps), repos))
    return Heads(
        began_at,
        datetime.now(UTC),
        True,
        pipelines,
        {repo: branches for repo, branches in zip(repos, listed, strict=True) if branches},
        [repo.name for repo, branches in zip(repos, listed, strict=True) if branches is None],
        frozenset(repo.name for repo in all_repos),
        gaps,
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


def _agree(first: Heads, second: Heads) -> bool:
    return (
        first.vanished == second.vanished
        and _definitions(first.pipelines) == _definitions(second.pipelines)
        # the keys have the time of creation: a repo that was made anew in between differs
        and list(first.branches) == list(second.branches)
        and all(settled(first.branches[repo], second.branches[repo]) for repo in first.branches)
    )


def _definitions(pipelines: Sequence[Pipeline]) -> list[Pipeline]:
    """The pipelines without their details, which change without a user's action."""
    return [pipeline.model_copy(update={"details": {}}) for pipeline in pipelines]


def _outputs(pipelines: Sequence[Pipeline]) -> dict[RepoName, str]:
    return {RepoName(pipeline.project, pipeline.name): pipeline.name for pipeline in pipelines}

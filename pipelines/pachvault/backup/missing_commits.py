"""Why a commit is missing from a snapshot: whether it was deleted while the backup ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from pachvault.errors import PachydermError, SourceGoneError
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Problem
from pachvault.format.problem_kinds import GONE, SQUASHED, UNREADABLE
from pachvault.pach.source import CommitRef, Source


def why(
    source: Source, ref: CommitRef, repo_created_at: datetime | None, error: PachydermError
) -> tuple[str, str]:
    """The kind of problem, and a line about it, of a commit that could not be read.

    `repo_created_at` distinguishes the repo of the freeze from a new one of the same name. Asks the cluster.
    """
    if not isinstance(error, SourceGoneError):
        return UNREADABLE, str(error)
    # the repo first: without it, or with another one of its name, every commit is reported as gone
    try:
        repo = source.repo(RepoName(ref.project, ref.repo))
    except SourceGoneError:
        return GONE, "the repo was deleted while the backup ran"
    if repo_created_at is not None and repo.created_at != repo_created_at:
        return GONE, "the repo was deleted and created again while the backup ran"
    try:
        source.commit(ref)
    except SourceGoneError:
        return SQUASHED, "the commit was squashed or dropped while the backup ran"
    return UNREADABLE, str(error)


def summed_up(problems: Iterable[Problem]) -> list[Problem]:
    """The problems, with one problem in place of those of all commits of a deleted repo."""
    problems = list(problems)
    gone = {problem.repo: problem.message for problem in problems if problem.kind == GONE and problem.commit}
    rest = [problem for problem in problems if problem.repo not in gone or problem.commit is None]
    lost_commits = Counter(problem.repo for problem in problems if problem.commit is not None)
    return [
        *rest,
        *(
            Problem(
                repo=repo,
                kind=GONE,
                message=f"{message}: {lost_commits[repo]} of its new commits are not in the snapshot",
            )
            for repo, message in gone.items()
        ),
    ]

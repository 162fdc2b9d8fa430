"""Why a commit is not in a snapshot: what became of it while the backup ran, by the cluster's own word."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pachvault.errors import PachydermError, SourceGoneError
from pachvault.format.documents import GONE, SQUASHED, UNREADABLE, Problem
from pachvault.format.ids import RepoName
from pachvault.pach.source import CommitRef, Source


def why(
    source: Source, ref: CommitRef, repo_created_at: datetime | None, error: PachydermError
) -> tuple[str, str]:
    """The kind of problem that a commit which could not be read is, and a line about it.

    `repo_created_at` is when the repo of the freeze was made: one of its name may be another by now.
    """
    if not isinstance(error, SourceGoneError):
        return UNREADABLE, str(error)
    try:
        repo = source.repo(RepoName(ref.project, ref.repo))
    except SourceGoneError:
        return GONE, "the repo was deleted while the backup ran"
    if repo_created_at is not None and repo.created_at != repo_created_at:
        return GONE, "the repo was deleted and made anew while the backup ran"
    try:
        source.commit(ref)
    except SourceGoneError:
        return SQUASHED, "the commit was squashed or dropped while the backup ran"
    return UNREADABLE, str(error)


def summed_up(problems: Iterable[Problem]) -> list[Problem]:
    """The problems, with one for all commits of a repo that was deleted: they are lost for one reason."""
    problems = list(problems)
    gone = {problem.repo: problem.message for problem in problems if problem.kind == GONE and problem.commit}
    rest = [problem for problem in problems if problem.repo not in gone or problem.commit is None]
    lost = {repo: sum(each.repo == repo and each.commit is not None for each in problems) for repo in gone}
    return [
        *rest,
        *(
            Problem(
                repo=repo,
                kind=GONE,
                message=f"{message}: {lost[repo]} of its new commits are not in the snapshot",
            )
            for repo, message in gone.items()
        ),
    ]

"""Deletes what abandoned restores left: staged parts, and working branches.

The repo and branches of a request are deleted when it is settled. Those of a request that was withdrawn, or
whose run died and was not started again, are deleted here once they are old enough.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime

from pachvault.errors import SourceGoneError
from pachvault.format.ids import RepoName
from pachvault.pach.records import RepoInfo
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target
from pachvault.restore import working_branches
from pachvault.restore.stage import staging
from pachvault.restore.state.in_progress import staging_repos
from pachvault.restore.state.lock_holder import LockHolder, holder_of
from pachvault.restore.state.request_lock import HeldError, held

_log = logging.getLogger(__name__)


def collect(source: Source, target: Target, before: datetime) -> list[str]:
    """Delete what no run holds and nobody changed since `before`. Returns a line for each thing deleted.

    Takes the lock of each request first, so that no run of it is at work meanwhile.
    """
    removed = []
    for repo in staging_repos(source.repos()):
        request = repo.name.repo.removeprefix(staging.PREFIX)
        # the repo is looked at before the lock is taken, because taking it is a sign of life itself
        if _touched_at(source, repo, request) < before and _settle(source, target, request):
            removed.append(f"{repo.name}: parts of request {request}, which nobody continues")
    # listed again: the requests just settled no longer protect their branches
    repos = source.repos()
    in_use = {repo.name.repo.removeprefix(staging.PREFIX) for repo in staging_repos(repos)}
    for repo in repos:
        removed += _branches(source, target, repo.name, before, in_use)
    return removed


def _settle(source: Source, target: Target, request: str) -> bool:
    try:
        with held(source, target, request, LockHolder.this_process()) as lock:
            lock.remove()
    except HeldError as error:
        _log.info("what is staged for request %s stays: %s", request[:12], error)
        return False
    return True


def _touched_at(source: Source, repo: RepoInfo, request: str) -> datetime:
    """When a run last worked on a request."""
    run = holder_of(source, request, repo.description)
    times = [commit.started_at for commit in source.commits(repo.name) if commit.started_at]
    return max([repo.created_at, *times, *([run.alive_at] if run else [])])


def _branches(
    source: Source, target: Target, repo: RepoName, before: datetime, in_use: set[str]
) -> Iterator[str]:
    """Delete the working branches of requests that are settled or abandoned."""
    for branch in source.branches(repo):
        request = working_branches.request_of(branch.name)
        if request is None or request in in_use:
            continue
        ref = CommitRef(repo.project, repo.repo, branch.head)
        try:
            commit = source.commit(ref)
        except SourceGoneError:
            continue
        if commit.started_at and commit.started_at > before:
            continue
        if commit.finished_at is None and not commit.is_finishing:
            target.clear(ref)
            target.finish(ref, error="a restore gave it up")
        # only the branch: the commits may be the history of a restored one
        target.delete_branch(repo.project, repo.repo, branch.name)
        yield f"{repo}@{branch.name}: of request {request}, which nobody continues"

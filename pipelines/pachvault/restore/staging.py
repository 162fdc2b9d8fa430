"""Staged parts: large changes that fetch workers bring into the cluster ahead of replay.

Each request has a repo of its own for them, each part a branch with one finished commit: what is
finished is not fetched again. The repo goes when the request is done.
"""

from __future__ import annotations

from datetime import timedelta

from pachvault.errors import PachydermError, SourceGoneError
from pachvault.format.ids import RepoName
from pachvault.pach import wire
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT
from pachvault.progress import Progress
from pachvault.restore.changes import changes, in_range
from pachvault.restore.work import FetchShare, Part, RestorePlan, Step
from pachvault.restore.write import write_change
from pachvault.vault import blobs, snapshots
from pachvault.vault.reader import BlobReader
from pachvault.vault.vault import Vault

ABANDONED_AFTER = timedelta(minutes=30)


def staging_repo(request_id: str) -> RepoName:
    """The repo that holds a request's parts."""
    return RepoName(HOME_PROJECT, f"staging-{request_id[:12]}")


def staged(source: Source, request_id: str, commit: str, number: int) -> CommitRef | None:
    """A part's finished commit, if it is there."""
    repo = staging_repo(request_id)
    try:
        heads = {branch.name: branch.head for branch in source.branches(repo)}
    except SourceGoneError:
        return None
    head = heads.get(_branch(commit, number))
    if not head:
        return None
    ref = CommitRef(repo.project, repo.repo, head)
    found = source.commit(ref)
    return ref if found.finished_at is not None and not found.error else None


def fetch(
    source: Source, target: Target, vault: Vault, plan: RestorePlan, share: FetchShare, progress: Progress
) -> int:
    """Stage the parts of a share; how many were fetched now and not before."""
    snapshot = snapshots.resolve(vault, plan.snapshot)
    repo = staging_repo(share.request_id)
    target.ensure_project(repo.project)
    target.ensure_repo(repo.project, repo.repo, "parts of a restore under way; goes with it")
    reader = BlobReader(vault, blobs.load(vault))
    count = 0
    for part in share.parts:
        if staged(source, share.request_id, part.commit, part.number) is None:
            _stage(source, target, reader, snapshot, plan, share, part, progress)
            count += 1
    return count


def _stage(
    source: Source,
    target: Target,
    reader: BlobReader,
    snapshot: snapshots.Snapshot,
    plan: RestorePlan,
    share: FetchShare,
    part: Part,
    progress: Progress,
) -> None:
    history = snapshot.repo(RepoName(part.project, part.repo))
    step = _step(plan, part)
    found = in_range(changes(history, part.commit, step.content_parent, plan.paths), part.lower, part.upper)
    repo, branch = staging_repo(share.request_id), _branch(part.commit, part.number)
    heads = {each.name: each.head for each in source.branches(repo)}
    if heads.get(branch):  # a worker died over it, or failed: begin anew
        left = CommitRef(repo.project, repo.repo, heads[branch])
        if source.commit(left).finished_at is None:
            target.clear(left)
            target.finish(left, error="abandoned by a worker that ended before its time")
        target.delete_branch(repo.project, repo.repo, branch)
    commit = target.start(
        repo.project, repo.repo, branch, parent=None, description=f"{part.commit} {part.number}"
    )
    ref = CommitRef(repo.project, repo.repo, commit)
    try:
        write_change(target, reader, ref, found, progress)
    except PachydermError:
        target.clear(ref)
        target.finish(ref, error="could not be staged")
        raise
    target.finish(ref)
    source.commit(ref, wait=True)


def _step(plan: RestorePlan, part: Part) -> Step:
    for repo in plan.repos:
        if (repo.project, repo.repo) == (part.project, part.repo):
            for step in repo.steps:
                if step.commit == part.commit:
                    return step
    raise PachydermError(f"the plan has no commit {part.commit}")


def _branch(commit: str, number: int) -> str:
    return f"{commit}-{number}"


def own_change(source: Source, ref: CommitRef) -> str:
    """The file set of a staged commit's own change."""
    return source.file_set_of(ref, wire.DIFF)

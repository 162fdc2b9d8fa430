"""Staged parts: large changes that fetch workers bring into the cluster ahead of replay.

Each request has a repo of its own for them, each part a branch with one finished commit: what is
finished is not fetched again. The repo goes when the request is done.
"""

from __future__ import annotations

from pachvault.errors import DamageError, PachvaultError, SourceGoneError
from pachvault.format.ids import RepoName
from pachvault.pach import wire
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT
from pachvault.progress import Progress
from pachvault.restore.changes import changes, in_range
from pachvault.restore.work import FetchReceipt, FetchShare, Part, Step
from pachvault.restore.write import write_change
from pachvault.vault import blobs, snapshots
from pachvault.vault.reader import BlobReader
from pachvault.vault.vault import Vault


def staging_repo(request_id: str) -> RepoName:
    """The repo that holds a request's parts."""
    return RepoName(HOME_PROJECT, f"staging-{request_id[:12]}")


def staged(source: Source, request_id: str, branch: str) -> CommitRef | None:
    """The finished commit of the part on a branch, if it is there."""
    repo = staging_repo(request_id)
    try:
        heads = {branch.name: branch.head for branch in source.branches(repo)}
    except SourceGoneError:
        return None
    head = heads.get(branch)
    if not head:
        return None
    ref = CommitRef(repo.project, repo.repo, head)
    found = source.commit(ref)
    return ref if found.finished_at is not None and not found.error else None


def part_branch(commit: str, content_parent: str | None, number: int, of: int) -> str:
    """The branch of a part. It names all that the part depends on: a later plan may cut otherwise."""
    return f"{commit}-on-{content_parent or 'nothing'}-{number}-of-{of}"


def step_parts(step: Step) -> list[str]:
    """The branches of a commit's parts, in order."""
    return [part_branch(step.commit, step.content_parent, each, step.parts) for each in range(step.parts)]


def fetch(
    source: Source, target: Target, vault: Vault, share: FetchShare, progress: Progress
) -> FetchReceipt:
    """Stage the parts of a share that are not there yet.

    Raises DamageError for a damaged vault, unless the share says to keep going.
    """
    receipt = FetchReceipt(request_id=share.request_id, number=share.number, staged=0)
    if not share.parts:
        return receipt
    snapshot = snapshots.resolve(vault, share.snapshot)
    repo = staging_repo(share.request_id)
    target.ensure_project(repo.project)
    target.ensure_repo(repo.project, repo.repo, "parts of a restore under way; goes with it")
    reader = BlobReader(vault, blobs.load(vault))
    count, lost = 0, []
    for part in share.parts:
        branch = part_branch(part.commit, part.content_parent, part.number, part.of)
        if staged(source, share.request_id, branch) is not None:
            continue
        try:
            _stage(source, target, reader, snapshot, share, part, progress)
            count += 1
        except DamageError as error:
            if not share.keep_going:
                raise
            lost.append(f"{part.project}/{part.repo}@{part.commit}: {error}")
    return receipt.model_copy(update={"staged": count, "lost": lost})


def _stage(
    source: Source,
    target: Target,
    reader: BlobReader,
    snapshot: snapshots.Snapshot,
    share: FetchShare,
    part: Part,
    progress: Progress,
) -> None:
    history = snapshot.repo(RepoName(part.project, part.repo))
    found = in_range(changes(history, part.commit, part.content_parent, share.paths), part.lower, part.upper)
    repo = staging_repo(share.request_id)
    branch = part_branch(part.commit, part.content_parent, part.number, part.of)
    heads = {each.name: each.head for each in source.branches(repo)}
    if heads.get(branch):  # a worker died over it, or failed: begin anew
        left = CommitRef(repo.project, repo.repo, heads[branch])
        if source.commit(left).finished_at is None:
            target.clear(left)
            target.finish(left, error="abandoned by a worker that ended before its time")
        target.delete_branch(repo.project, repo.repo, branch)
    said = f"part {part.number} of {part.of} of {history.name}@{part.commit}"
    commit = target.start(repo.project, repo.repo, branch, parent=None, description=said)
    ref = CommitRef(repo.project, repo.repo, commit)
    try:
        write_change(target, reader, ref, found, progress)
    except PachvaultError:
        target.clear(ref)
        target.finish(ref, error="could not be staged")
        raise
    target.finish(ref)
    source.commit(ref, wait=True)


def own_change(source: Source, ref: CommitRef) -> str:
    """The file set of a staged commit's own change."""
    return source.file_set_of(ref, wire.DIFF)

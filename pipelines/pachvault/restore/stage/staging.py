"""Staged parts: large changes that fetch workers write into the cluster ahead of replay.

A request has a repo of its own for them. A part is a branch with one finished commit: it is not fetched
again. Each worker writes the part on a branch of its own first, so that two workers with the same part do
not interfere. The repo is deleted when the request is settled.
"""

from __future__ import annotations

import secrets

from pachvault.errors import DamageError, PachvaultError, PachydermError, SourceGoneError
from pachvault.format.ids import RepoName
from pachvault.pach import codec
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT
from pachvault.restore.changes import Changes, changes, part_of
from pachvault.restore.restore_messages import CommitStep, FetchShare
from pachvault.restore.stage.change_writer import write_change
from pachvault.runtime.progress import Progress
from pachvault.vault import snapshots
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.vault import Vault

PREFIX = "staging-"


def staging_repo(request_id: str) -> RepoName:
    """The repo that holds a request's parts."""
    return RepoName(HOME_PROJECT, f"{PREFIX}{request_id[:12]}")


def ensure(target: Target, request_id: str) -> None:
    """Create the request's repo unless it is there."""
    repo = staging_repo(request_id)
    target.ensure_project(repo.project)
    target.ensure_repo(repo.project, repo.repo, "parts of a restore in progress; deleted with it")


def staged(source: Source, request_id: str, branch: str) -> CommitRef | None:
    """The commit of the part on a branch, if it is there. Branches of parts have finished commits only."""
    try:
        head = source.commit(_ref(request_id, branch))  # a branch's name means its head
    except SourceGoneError:
        return None
    return _ref(request_id, head.id)


def part_branches(step: CommitStep) -> list[str]:
    """The branches of a commit's parts, in order.

    A name has all that the part depends on: a later plan of the request may split the change otherwise.
    """
    base = step.content_parent or "nothing"
    return [f"{step.old.id}-on-{base}-{number}-of-{step.parts}" for number in range(step.parts)]


def remove(target: Target, request_id: str) -> None:
    """Delete all parts of a request, if there are any."""
    repo = staging_repo(request_id)
    target.delete_repo(repo.project, repo.repo)


def own_change(source: Source, ref: CommitRef) -> str:
    """The file set of a staged commit's own change."""
    return source.file_set_of(ref, codec.DIFF)


def fetch(
    source: Source,
    target: Target,
    vault: Vault,
    share: FetchShare,
    progress: Progress,
    reader: BlobReader | None = None,
) -> bool:
    """Stage the part of a share, if it has one; False where it was staged already, or cannot be.

    Raises DamageError where the vault is damaged. If the share has `keep_going`, the part is left to
    replay then, and the answer is False.
    """
    part = share.part
    # what a part deletes is only in the file set of its own change: without one, replay writes it all
    if part is None or not source.has_change_sets:
        return False
    snapshot = snapshots.resolve(vault, share.snapshot)
    ensure(target, share.request_id)
    branch = part_branches(part.step)[part.number]
    if staged(source, share.request_id, branch) is not None:
        return False
    reader = reader or BlobReader(vault, blob_index.load_places(vault))
    try:
        history = snapshot.repo(RepoName(part.project, part.repo))
        change = changes(history, part.step.old.id, part.step.content_parent, share.paths)
        _stage(source, target, reader, share.request_id, branch, part_of(change, part.span), progress)
    except DamageError:
        if not share.keep_going:
            raise
        return False
    return True


def _stage(
    source: Source,
    target: Target,
    reader: BlobReader,
    request_id: str,
    branch: str,
    change: Changes,
    progress: Progress,
) -> None:
    repo = staging_repo(request_id)
    own = f"{branch}-by-{secrets.token_hex(4)}"
    ref = _ref(request_id, target.start(repo.project, repo.repo, own, parent=None, description=""))
    try:
        write_change(target, reader, ref, change, progress)
    except PachvaultError:
        target.clear(ref)
        target.finish(ref, error="could not be staged")
        target.delete_branch(repo.project, repo.repo, own)
        raise
    target.finish(ref)
    # only then the branch of the part: what it points at is taken for complete without another look
    if error := source.commit(ref, wait=True).error:
        raise PachydermError(error, where=str(ref))
    target.point(repo.project, repo.repo, branch, ref.id)
    target.delete_branch(repo.project, repo.repo, own)


def _ref(request_id: str, commit: str) -> CommitRef:
    repo = staging_repo(request_id)
    return CommitRef(repo.project, repo.repo, commit)

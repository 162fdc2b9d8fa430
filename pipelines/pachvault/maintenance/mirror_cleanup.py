"""Cleanup of the backup repo: deletes mirror commits, so that Pachyderm can delete their data.

It keeps the newest commit of each mirrored branch, which the next one is made on; young commits; and those
that a run in progress may still read. The mirror of a deleted branch is deleted when no snapshot of the kept
time has the branch. The vault still has what was sealed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pachvault.backup import base_lookup
from pachvault.backup.run_records import Announcement
from pachvault.errors import (
    AbsentError,
    CorruptError,
    DamageError,
    NotAllowedError,
    PachydermError,
    SourceGoneError,
)
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.mirror import BACKUP_REPO, branch_of, mirror_note
from pachvault.pach.records import CommitInfo
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_SKEW = timedelta(hours=1)
"""How far the cluster's clock and that of a run may differ."""
_MIRROR = RepoName(HOME_PROJECT, BACKUP_REPO)


class MirrorAction(StrEnum):
    """How a commit is deleted."""

    SQUASH = "squash"
    """Its children keep its files that they have not changed."""
    DROP = "drop"
    """It has no children."""


@dataclass(frozen=True, slots=True)
class MirrorCommit:
    """A commit of the backup repo that is deleted."""

    id: str
    action: MirrorAction
    source: str
    """The commit that it mirrors: project/repo@commit."""


@dataclass(frozen=True, slots=True)
class MirrorCleanupPlan:
    """What is deleted, in this order: branches, then commits, children before their parents."""

    branches: list[str]
    commits: list[MirrorCommit]
    kept_count: int
    """How many commits are kept."""


def plan(source: Source, vault: Vault, *, before: datetime, now: datetime) -> MirrorCleanupPlan:
    """Plan to delete the commits from `before` that are not needed.

    `now` is the store's time: whether a run can still be sealed depends on it. Raises PachydermError where
    the cluster does not answer.
    """
    try:
        commits = source.commits(_MIRROR)
        branches = [branch for branch in source.branches(_MIRROR) if branch.head]
    # no backup has made the mirror yet, or it was deleted: there is nothing to clean
    except SourceGoneError:
        return MirrorCleanupPlan([], [], 0)
    cluster = source.connection.cluster_id()
    running = list(_running(vault, cluster, now))
    # what a run in progress has mirrored since its freeze is kept
    before = min([before, *(frozen_at - _SKEW for frozen_at in running)])
    old = {commit.id: commit for commit in commits if _is_mirror(commit) and _is_old(commit, before)}
    if running:
        # it may read any mirror commit whose source no snapshot has yet
        old = {commit.id: commit for commit in _sealed(vault, cluster, old.values())}
    heads = {branch.name: old[branch.head] for branch in branches if branch.head in old}
    current = _current(source, vault, cluster, before, heads.values())
    branches_to_delete = sorted(heads.keys() - current)
    heads_to_keep = {branch.head for branch in branches if branch.name not in branches_to_delete}
    to_delete = [commit for commit in old.values() if commit.id not in heads_to_keep]
    return MirrorCleanupPlan(
        branches_to_delete, list(_ordered(commits, to_delete)), len(commits) - len(to_delete)
    )


def execute(target: Target, planned: MirrorCleanupPlan) -> tuple[int, list[str]]:
    """Carry a plan out; how many commits were deleted, and a line for each that was not. Safe to repeat."""
    problems = []
    deleted_count = 0
    for branch in planned.branches:
        target.delete_branch(HOME_PROJECT, BACKUP_REPO, branch)
    for commit in planned.commits:
        ref = CommitRef(HOME_PROJECT, BACKUP_REPO, commit.id)
        try:
            (target.squash if commit.action is MirrorAction.SQUASH else target.drop)(ref)
            deleted_count += 1
        except NotAllowedError as error:  # about the cluster, so all others are refused, too
            left = len(planned.commits) - deleted_count
            problems.append(f"kept {left} commits that are not needed: {error}")
            break
        except PachydermError as error:  # a backup has just made a child of it: left to the next run
            problems.append(f"kept the mirror of {commit.source}: {error.what}")
    return deleted_count, problems


def _running(vault: Vault, cluster: str, now: datetime) -> Iterator[datetime]:
    """The times of freeze of the runs that are not sealed and still can be."""
    for info in vault.objects(layout.RUNS, layout.Kind.ANNOUNCEMENT):
        # format 9.6: such a run is never sealed, so nothing is kept for it. Else a dead run would keep
        # its mirrors until prune deletes the announcement
        if now - info.modified_at > vault.config.grace / 2:
            continue
        try:
            announcement = Announcement.read(vault.get(info.name), info.name)
        except AbsentError:
            continue  # sealed since the listing
        except CorruptError as error:
            _log.warning("an announcement cannot be read, its time counts: %s", error)
            yield info.modified_at  # about the time of its freeze
            continue
        if announcement.cluster_id == cluster:
            yield announcement.frozen_at


def _current(
    source: Source, vault: Vault, cluster: str, before: datetime, heads: Iterable[CommitInfo]
) -> set[str]:
    """The mirror's branches whose source branch is in the cluster, or in a snapshot frozen since `before`."""
    mirrored = {
        RepoName.parse(origin["source"]) for head in heads if (origin := mirror_note(head)) is not None
    }
    current = set()
    for repo in source.repos():
        if repo.name in mirrored:
            for branch in source.branches(repo.name):
                current.add(branch_of(repo.name, repo.created_at, branch.name))
    for name in snapshots.names(vault):
        # manifests are read, so only those of the kept time
        if name.frozen_at < before:
            continue
        try:
            snapshot = snapshots.load(vault, name)
            if snapshot.manifest.cluster.id != cluster:
                continue
            for entry in snapshot.manifest.repos:
                if RepoName(entry.project, entry.repo) in mirrored:
                    record = vault.repo_record(entry.record)
                    repo_name = RepoName(record.project, record.repo)
                    for saved in record.branches:
                        current.add(branch_of(repo_name, record.created_at, saved.name))
        except DamageError as error:
            _log.warning("skipped a damaged snapshot when looking for branches of mirrors: %s", error)
    return current


def _sealed(vault: Vault, cluster: str, commits: Iterable[CommitInfo]) -> list[CommitInfo]:
    """The commits whose source commit is in a snapshot: no run reads them any more."""
    sources = [(commit, origin) for commit in commits if (origin := mirror_note(commit)) is not None]
    repos = {RepoName.parse(origin["source"]) for _, origin in sources}
    records = base_lookup.newest_records(vault, cluster, repos).records
    by_repo = {str(name): sealed.commits() for name, sealed in records.items()}
    return [commit for commit, origin in sources if origin["commit"] in by_repo.get(origin["source"], set())]


def _is_mirror(commit: CommitInfo) -> bool:
    return mirror_note(commit) is not None


def _is_old(commit: CommitInfo, before: datetime) -> bool:
    # an open commit may be one that a run in progress is writing
    return commit.finished_at is not None and commit.started_at is not None and commit.started_at < before


def _ordered(commits: Iterable[CommitInfo], to_delete: Iterable[CommitInfo]) -> Iterator[MirrorCommit]:
    """The commits to delete, newest first as pachd lists them: children come before their parents.

    A commit is squashed if children of it are left when its turn comes, else dropped.
    """
    parents = {commit.id: commit.parent for commit in commits}
    children: dict[str | None, set[str]] = {}
    for child, parent in parents.items():
        children.setdefault(parent, set()).add(child)
    for commit in to_delete:
        orphans = children.pop(commit.id, set())
        parent = parents.pop(commit.id)
        children[parent].discard(commit.id)
        # as pachd does: the children of a squashed commit become those of its parent
        children[parent] |= orphans
        parents.update(dict.fromkeys(orphans, parent))
        origin = mirror_note(commit) or {"source": "?", "commit": commit.id}
        action = MirrorAction.SQUASH if orphans else MirrorAction.DROP
        yield MirrorCommit(commit.id, action, f"{origin['source']}@{origin['commit']}")

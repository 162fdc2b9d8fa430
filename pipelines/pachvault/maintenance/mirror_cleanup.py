"""Trimming the backup repo: commits that it need no longer hold on to, so that their data can go.

Kept are the newest commit of each mirrored branch, for the next one is made on it; whatever is young; and
what a run that has not sealed yet may still read. The mirror of a branch that was deleted goes once no
snapshot of that time has the branch. What is trimmed is still in the vault, if it ever was sealed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pachvault.backup import base_lookup
from pachvault.backup.run_records import Announcement
from pachvault.errors import AbsentError, CorruptError, DamageError, PachydermError, SourceGoneError
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
"""How far the cluster's clock and that of a run may be apart."""
_MIRROR = RepoName(HOME_PROJECT, BACKUP_REPO)


class TrimAction(StrEnum):
    """How a commit goes."""

    SQUASH = "squash"
    """Its children keep what they hold of it."""
    DROP = "drop"
    """Nothing follows on it."""


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A commit of the backup repo that goes."""

    id: str
    action: TrimAction
    source: str
    """project/repo@commit."""


@dataclass(frozen=True, slots=True)
class TrimPlan:
    """What goes, in this order: branches, then commits, each after those that follow on it."""

    branches: list[str]
    commits: list[Trimmed]
    kept: int
    """How many commits stay."""


def plan(source: Source, vault: Vault, *, before: datetime, now: datetime) -> TrimPlan:
    """What the backup repo need no longer hold of what is from `before`.

    `now` is the store's time, by which runs are still alive. Raises PachydermError where the cluster cannot
    be asked.
    """
    try:
        commits = source.commits(_MIRROR)
        branches = [branch for branch in source.branches(_MIRROR) if branch.head]
    except SourceGoneError:
        return TrimPlan([], [], 0)
    cluster = source.connection.cluster_id()
    running = list(_running(vault, cluster, now))
    before = min([before, *(frozen_at - _SKEW for frozen_at in running)])
    old = {each.id: each for each in commits if _is_ours(each) and _is_old(each, before)}
    if running:
        old = {each.id: each for each in _sealed(vault, cluster, old.values())}
    heads = {branch.name: old[branch.head] for branch in branches if branch.head in old}
    current = _current(source, vault, cluster, before, heads.values())
    given_up = sorted(heads.keys() - current)
    staying = {branch.head for branch in branches if branch.name not in given_up}
    going = [each for each in old.values() if each.id not in staying]
    return TrimPlan(given_up, list(_ordered(commits, going)), len(commits) - len(going))


def execute(target: Target, planned: TrimPlan) -> tuple[int, list[str]]:
    """Carry a plan out; how many commits went, and a line for each that could not. Safe to repeat."""
    problems = []
    done = 0
    for branch in planned.branches:
        target.delete_branch(HOME_PROJECT, BACKUP_REPO, branch)
    for each in planned.commits:
        ref = CommitRef(HOME_PROJECT, BACKUP_REPO, each.id)
        try:
            (target.squash if each.action is TrimAction.SQUASH else target.drop)(ref)
            done += 1
        except PachydermError as error:  # a run has just made a commit on it: the next round sees that
            problems.append(f"the mirror of {each.source} stays: {error.what}")
    return done, problems


def _running(vault: Vault, cluster: str, now: datetime) -> Iterator[datetime]:
    """When the runs froze that have not sealed and still may."""
    for info in vault.objects(layout.RUNS, layout.Kind.ANNOUNCEMENT):
        if now - info.modified_at > vault.config.grace / 2:
            continue
        try:
            said = Announcement.read(vault.get(info.name), info.name)
        except AbsentError:
            continue  # sealed since the listing
        except CorruptError as error:
            _log.warning("an announcement cannot be read, its time counts: %s", error)
            yield info.modified_at  # whatever it says, it is of about then
            continue
        if said.cluster_id == cluster:
            yield said.frozen_at


def _current(
    source: Source, vault: Vault, cluster: str, before: datetime, heads: Iterable[CommitInfo]
) -> set[str]:
    """The mirror's branches whose sources are there, or were within the time for which they are held."""
    mirrored = {RepoName.parse(said["source"]) for head in heads if (said := mirror_note(head)) is not None}
    found = set()
    for repo in source.repos():
        if repo.name in mirrored:
            for branch in source.branches(repo.name):
                found.add(branch_of(repo.name, repo.created_at, branch.name))
    for name in snapshots.names(vault):
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
                    for each in record.branches:
                        found.add(branch_of(repo_name, record.created_at, each.name))
        except DamageError as error:
            _log.warning("skipped a damaged snapshot when looking for branches of mirrors: %s", error)
    return found


def _sealed(vault: Vault, cluster: str, commits: Iterable[CommitInfo]) -> list[CommitInfo]:
    """Those whose source commits a snapshot has: no run reads them any more."""
    sources = [(commit, said) for commit in commits if (said := mirror_note(commit)) is not None]
    repos = {RepoName.parse(said["source"]) for _, said in sources}
    records = base_lookup.newest_records(vault, cluster, repos).records
    by_repo = {str(name): sealed.commits() for name, sealed in records.items()}
    return [commit for commit, said in sources if said["commit"] in by_repo.get(said["source"], set())]


def _is_ours(commit: CommitInfo) -> bool:
    return mirror_note(commit) is not None


def _is_old(commit: CommitInfo, before: datetime) -> bool:
    return commit.finished_at is not None and commit.started_at is not None and commit.started_at < before


def _ordered(commits: Iterable[CommitInfo], old: Iterable[CommitInfo]) -> Iterator[Trimmed]:
    """Newest first, so that what follows on a commit is settled before it."""
    parents = {commit.id: commit.parent for commit in commits}
    children: dict[str | None, set[str]] = {}
    for child, parent in parents.items():
        children.setdefault(parent, set()).add(child)
    for commit in old:
        followers = children.pop(commit.id, set())
        parent = parents.pop(commit.id)
        children[parent].discard(commit.id)
        children[parent] |= followers
        parents.update(dict.fromkeys(followers, parent))
        said = mirror_note(commit) or {"source": "?", "commit": commit.id}
        action = TrimAction.SQUASH if followers else TrimAction.DROP
        yield Trimmed(commit.id, action, f"{said['source']}@{said['commit']}")

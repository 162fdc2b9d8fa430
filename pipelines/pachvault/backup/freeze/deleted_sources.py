"""What earlier snapshots of a policy have and the cluster lists no more: repos, branches, pipelines.

A snapshot without them is whole; that they are missing must be said all the same, for as long as a snapshot
still has them and the policy still means them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pachvault.backup.freeze.survey import Survey
from pachvault.errors import DamageError
from pachvault.format import documents
from pachvault.format.documents import Problem, RepoRecord
from pachvault.format.ids import RepoName
from pachvault.policy import DRILL_PROJECT, HOME_PROJECT, Policy
from pachvault.syntax import selection
from pachvault.vault import snapshots
from pachvault.vault.snapshots import Snapshot, SnapshotName
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_KINDS = (
    documents.REPO_DELETED,
    documents.REPO_MADE_ANEW,
    documents.BRANCH_DELETED,
    documents.PIPELINE_DELETED,
)
_Key = tuple[str, str, str | None]
"""Kind, repo, branch."""


def deleted(
    vault: Vault, seen: Survey, policy: Policy, records: Mapping[bytes, RepoRecord] | None = None
) -> list[Problem]:
    """A note for each thing that the cluster lists no more, by the policy's newest snapshot that can be read.

    `records` are those that were read already, by digest.
    """
    found = next(_earlier(vault, seen.cluster.id, policy.name), None)
    if found is None:
        return []
    look = _Look(vault, seen, policy, found, records or {})
    notes = {_key(each): each for each in look.since_then()}
    for noted in found.manifest.problems:
        carried = look.carried(noted)
        if carried is not None:
            notes.setdefault(_key(carried), carried)
    return list(notes.values())


def _earlier(vault: Vault, cluster: str, policy: str) -> Iterator[Snapshot]:
    """The snapshots of a policy, the one sealed last first; those that cannot be read are passed over."""
    for name in reversed(snapshots.names(vault)):
        try:
            snapshot = snapshots.load(vault, name)
        except DamageError as error:
            _log.info("skipped a damaged snapshot when looking for deleted sources: %s", error)
            continue
        if (snapshot.manifest.cluster.id, snapshot.manifest.policy) == (cluster, policy):
            yield snapshot


def _key(problem: Problem) -> _Key:
    return problem.kind, problem.repo, problem.branch


@dataclass(slots=True)
class _Look:
    """A survey beside the snapshot before it."""

    vault: Vault
    seen: Survey
    policy: Policy
    before: Snapshot
    records: Mapping[bytes, RepoRecord]
    branches: dict[RepoName, set[str]] = field(init=False)
    made_at: dict[RepoName, datetime] = field(init=False)
    pipelines: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.branches = {
            repo.info.name: {branch.name for branch in repo.branches} for repo in self.seen.repos
        }
        self.made_at = {repo.info.name: repo.info.created_at for repo in self.seen.repos}
        self.pipelines = {f"{each.project}/{each.name}" for each in self.seen.pipelines}

    def since_then(self) -> Iterator[Problem]:
        """What the snapshot before has, and the survey has not."""
        for entry in self.before.manifest.repos:
            repo = RepoName(entry.project, entry.repo)
            record = self._record(entry.record)
            if record is None:
                if self._is_gone(repo) and self._means_repo(repo):
                    yield self._new(documents.REPO_DELETED, str(repo))
                continue
            meant = [each.name for each in record.branches if self.policy.chooses(repo, each.name)]
            if not meant or repo in self.seen.skipped or repo in self.seen.vanished:
                continue
            if self._is_gone(repo):
                yield self._new(documents.REPO_DELETED, str(repo))
            elif self.made_at.get(repo, record.created_at) != record.created_at:
                yield self._new(documents.REPO_MADE_ANEW, str(repo))
            else:
                for branch in meant:
                    if branch not in self.branches.get(repo, ()):
                        yield self._new(documents.BRANCH_DELETED, str(repo), branch)
        if self.policy.pipelines == "include":
            for name in self._pipelines(self.before):
                if name not in self.pipelines and not name.startswith(
                    (f"{HOME_PROJECT}/", f"{DRILL_PROJECT}/")
                ):
                    yield self._new(documents.PIPELINE_DELETED, name)

    def carried(self, noted: Problem) -> Problem | None:
        """What an earlier snapshot noted, for this one; None where it is back, or nobody has or wants it."""
        kind = documents.REPO_DELETED if noted.kind == documents.GONE else noted.kind
        if kind not in _KINDS or not self._means(noted):
            return None
        if kind == documents.REPO_DELETED and RepoName.parse(noted.repo) in self.branches:
            kind = documents.REPO_MADE_ANEW  # or the same one again, which no snapshot has as another
        elif not self._is_missing(noted):
            return None
        where = self._last_seen(noted.model_copy(update={"kind": kind}), is_known=kind == noted.kind)
        since = noted.since or self.before.name.id
        return None if where is None else _note(kind, noted.repo, noted.branch, where, since)

    def _means(self, noted: Problem) -> bool:
        """Whether the policy means what was noted."""
        if noted.kind == documents.PIPELINE_DELETED:
            return self.policy.pipelines == "include"
        repo = RepoName.parse(noted.repo)
        if noted.branch is not None:
            return self.policy.chooses(repo, noted.branch)
        return self._means_repo(repo)

    def _means_repo(self, repo: RepoName) -> bool:
        """Whether it means a repo, whatever branches that had."""
        is_excluded = any(selection.source(pattern).means(repo, "") for pattern in self.policy.exclude)
        return not is_excluded and self.policy.reaches(repo)

    def _is_missing(self, noted: Problem) -> bool:
        if noted.kind == documents.PIPELINE_DELETED:
            return noted.repo not in self.pipelines
        repo = RepoName.parse(noted.repo)
        if noted.kind == documents.BRANCH_DELETED:
            is_there = noted.branch in self.branches.get(repo, ()) or repo in self.seen.skipped
            return not is_there and not self._is_gone(repo)
        if noted.kind == documents.REPO_MADE_ANEW:
            return not self._is_gone(repo)
        return self._is_gone(repo) and repo not in self.seen.vanished

    def _new(self, kind: str, repo: str, branch: str | None = None) -> Problem:
        return _note(kind, repo, branch, self.before.name, None)

    def _is_gone(self, repo: RepoName) -> bool:
        return repo not in self.seen.listed

    def _last_seen(self, noted: Problem, *, is_known: bool) -> SnapshotName | None:
        """The snapshot sealed last that has what is missing."""
        if is_known:
            for name in snapshots.names(self.vault):
                if name.id == noted.last_seen:
                    return name
        earlier = _earlier(self.vault, self.seen.cluster.id, self.policy.name)
        return next((each.name for each in earlier if self._has(each, noted)), None)

    def _has(self, snapshot: Snapshot, noted: Problem) -> bool:
        if noted.kind == documents.PIPELINE_DELETED:
            return noted.repo in self._pipelines(snapshot)
        entry = next(
            (each for each in snapshot.manifest.repos if f"{each.project}/{each.repo}" == noted.repo), None
        )
        if entry is None or noted.kind == documents.REPO_DELETED:
            return entry is not None
        record = self._record(entry.record)
        if record is None:
            return False
        if noted.kind == documents.BRANCH_DELETED:
            return any(branch.name == noted.branch for branch in record.branches)
        return record.created_at != self.made_at.get(RepoName(entry.project, entry.repo))

    def _record(self, name: bytes) -> RepoRecord | None:
        """A record; None where it is damaged, which is for verify to say."""
        known = self.records.get(name)
        if known is not None:
            return known
        try:
            return self.vault.repo_record(name)
        except DamageError as error:
            _log.info("skipped a damaged record when looking for deleted sources: %s", error)
            return None

    def _pipelines(self, snapshot: Snapshot) -> list[str]:
        try:
            record = self.vault.pipelines_record(snapshot.manifest.pipelines)
        except DamageError as error:
            _log.info("skipped damaged pipelines when looking for deleted sources: %s", error)
            return []
        return [f"{each.project}/{each.name}" for each in record.pipelines]


_WHAT = {
    documents.REPO_DELETED: "the cluster lists this repo no more (it was deleted, or may not be seen)",
    documents.REPO_MADE_ANEW: "the repo was deleted and made anew: its old history is not in this snapshot",
    documents.BRANCH_DELETED: "the cluster lists this branch no more",
    documents.PIPELINE_DELETED: "the cluster lists this pipeline no more",
}


def _note(kind: str, repo: str, branch: str | None, last_seen: SnapshotName, since: str | None) -> Problem:
    when = f"{last_seen.frozen_at:%Y-%m-%d %H:%M} UTC"
    gone = f"snapshot {since[:12]}" if since else "this snapshot"
    message = f"{_WHAT[kind]}; last in snapshot {last_seen.id[:12]} of {when}, missing since {gone}"
    return Problem(repo=repo, branch=branch, kind=kind, message=message, last_seen=last_seen.id, since=since)

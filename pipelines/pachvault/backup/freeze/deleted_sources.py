"""Notes about what earlier snapshots have and the cluster no longer lists: repos, branches, pipelines.

A snapshot without them is not partial. It has a note about each, for as long as an earlier snapshot has the
thing and the policy chooses it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pachvault.backup.freeze.survey import Survey
from pachvault.errors import DamageError
from pachvault.format import problem_kinds
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Problem
from pachvault.format.records import RepoRecord
from pachvault.policy import DRILL_PROJECT, HOME_PROJECT, Policy
from pachvault.vault import snapshots
from pachvault.vault.snapshots import Snapshot, SnapshotName
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_KINDS = (
    problem_kinds.REPO_DELETED,
    problem_kinds.REPO_MADE_ANEW,
    problem_kinds.BRANCH_DELETED,
    problem_kinds.PIPELINE_DELETED,
)
_Key = tuple[str, str, str | None]
"""Kind, repo, branch."""


def deleted(
    vault: Vault, surveyed: Survey, policy: Policy, records: Mapping[bytes, RepoRecord] | None = None
) -> list[Problem]:
    """A note for each thing that the policy's newest readable snapshot has or noted, and the cluster lacks.

    `records` are those that were read already, by digest.
    """
    newest = next(_earlier(vault, surveyed.cluster.id, policy.name), None)
    if newest is None:
        return []
    comparison = _Comparison(vault, surveyed, policy, newest, records or {})
    notes = {_key(note): note for note in comparison.new_notes()}
    for noted in newest.manifest.problems:
        carried = comparison.carried(noted)
        if carried is not None:
            notes.setdefault(_key(carried), carried)
    return list(notes.values())


def _earlier(vault: Vault, cluster: str, policy: str) -> Iterator[Snapshot]:
    """The snapshots of a policy, the one sealed last first; unreadable ones are skipped."""
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
class _Comparison:
    """A survey, compared with the snapshot before it."""

    vault: Vault
    surveyed: Survey
    policy: Policy
    before: Snapshot
    records: Mapping[bytes, RepoRecord]
    branches: dict[RepoName, set[str]] = field(init=False)
    created_at_by_repo: dict[RepoName, datetime] = field(init=False)
    pipelines: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.branches = {
            repo.info.name: {branch.name for branch in repo.branches} for repo in self.surveyed.repos
        }
        self.created_at_by_repo = {repo.info.name: repo.info.created_at for repo in self.surveyed.repos}
        self.pipelines = {f"{pipeline.project}/{pipeline.name}" for pipeline in self.surveyed.pipelines}

    def new_notes(self) -> Iterator[Problem]:
        """Notes about what the snapshot before has and the survey has not."""
        for entry in self.before.manifest.repos:
            repo = RepoName(entry.project, entry.repo)
            if self._is_unknown(repo):
                continue
            record = self._record(entry.record)
            if record is None:
                if self._is_gone(repo) and self.policy.reaches_all_of(repo):
                    yield self._new(problem_kinds.REPO_DELETED, str(repo))
                continue
            chosen = [branch.name for branch in record.branches if self.policy.chooses(repo, branch.name)]
            # the policy leaves skipped ones out; for vanished ones there is a problem of kind `gone` already
            if not chosen or repo in self.surveyed.skipped or repo in self.surveyed.vanished:
                continue
            if self._is_gone(repo):
                yield self._new(problem_kinds.REPO_DELETED, str(repo))
            elif self.created_at_by_repo.get(repo, record.created_at) != record.created_at:
                yield self._new(problem_kinds.REPO_MADE_ANEW, str(repo))
            else:
                for branch in chosen:
                    if branch not in self.branches.get(repo, ()):
                        yield self._new(problem_kinds.BRANCH_DELETED, str(repo), branch)
        if self.policy.pipelines == "include":
            yield from self._deleted_pipelines()

    def _deleted_pipelines(self) -> Iterator[Problem]:
        for name in self._pipelines(self.before):
            is_missing = name not in self.pipelines and not self.surveyed.gaps.hides(RepoName.parse(name))
            if is_missing and not name.startswith((f"{HOME_PROJECT}/", f"{DRILL_PROJECT}/")):
                yield self._new(problem_kinds.PIPELINE_DELETED, name)

    def carried(self, noted: Problem) -> Problem | None:
        """A note of an earlier snapshot, for this one; None where it no longer applies.

        The thing may be back, in no snapshot any more, or not chosen by the policy.
        """
        # one that went during an earlier freeze is an ordinary deleted repo from then on
        kind = problem_kinds.REPO_DELETED if noted.kind == problem_kinds.GONE else noted.kind
        if kind not in _KINDS or not self._chooses(noted):
            return None
        if kind == problem_kinds.REPO_DELETED and RepoName.parse(noted.repo) in self.branches:
            # if it is the same repo again, no snapshot has another one of its name: there is no note then
            kind = problem_kinds.REPO_MADE_ANEW
        elif not self._is_missing(noted):
            return None
        where = self._last_seen(noted.model_copy(update={"kind": kind}), is_known=kind == noted.kind)
        since = noted.since or self.before.name.id
        return None if where is None else _note(kind, noted.repo, noted.branch, where, since)

    def _chooses(self, noted: Problem) -> bool:
        """Whether the policy chooses what was noted."""
        if noted.kind == problem_kinds.PIPELINE_DELETED:
            return self.policy.pipelines == "include"
        repo = RepoName.parse(noted.repo)
        if noted.branch is not None:
            return self.policy.chooses(repo, noted.branch)
        return self.policy.reaches_all_of(repo)

    def _is_missing(self, noted: Problem) -> bool:
        if noted.kind == problem_kinds.PIPELINE_DELETED:
            return noted.repo not in self.pipelines
        repo = RepoName.parse(noted.repo)
        if noted.kind == problem_kinds.BRANCH_DELETED:
            is_there = noted.branch in self.branches.get(repo, ()) or repo in self.surveyed.skipped
            return not is_there and not self._is_gone(repo)
        if noted.kind == problem_kinds.REPO_MADE_ANEW:
            return not self._is_gone(repo)
        return self._is_gone(repo) and repo not in self.surveyed.vanished

    def _new(self, kind: str, repo: str, branch: str | None = None) -> Problem:
        return _note(kind, repo, branch, self.before.name, None)

    def _is_unknown(self, repo: RepoName) -> bool:
        """Whether the caller may not see it. A problem of the snapshot names the repo, or its project."""
        gaps = self.surveyed.gaps
        return repo in gaps.unreadable or (gaps.hides(repo) and self._is_gone(repo))

    def _is_gone(self, repo: RepoName) -> bool:
        return repo not in self.surveyed.listed

    def _last_seen(self, noted: Problem, *, is_known: bool) -> SnapshotName | None:
        """The snapshot sealed last that has what is missing."""
        # other snapshots are read only where the named one was forgotten
        if is_known:
            for name in snapshots.names(self.vault):
                if name.id == noted.last_seen:
                    return name
        earlier = _earlier(self.vault, self.surveyed.cluster.id, self.policy.name)
        return next((snapshot.name for snapshot in earlier if self._has(snapshot, noted)), None)

    def _has(self, snapshot: Snapshot, noted: Problem) -> bool:
        if noted.kind == problem_kinds.PIPELINE_DELETED:
            return noted.repo in self._pipelines(snapshot)
        entries = {f"{entry.project}/{entry.repo}": entry for entry in snapshot.manifest.repos}
        entry = entries.get(noted.repo)
        if entry is None or noted.kind == problem_kinds.REPO_DELETED:
            return entry is not None
        record = self._record(entry.record)
        if record is None:
            return False
        if noted.kind == problem_kinds.BRANCH_DELETED:
            return any(branch.name == noted.branch for branch in record.branches)
        return record.created_at != self.created_at_by_repo.get(RepoName(entry.project, entry.repo))

    def _record(self, name: bytes) -> RepoRecord | None:
        """A record; None where it is damaged, which verify reports."""
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
        return [f"{pipeline.project}/{pipeline.name}" for pipeline in record.pipelines]


_WHAT = {
    problem_kinds.REPO_DELETED: "the cluster no longer lists this repo",
    problem_kinds.REPO_MADE_ANEW: "the repo was deleted and created again: its old history is missing here",
    problem_kinds.BRANCH_DELETED: "the cluster no longer lists this branch",
    problem_kinds.PIPELINE_DELETED: "the cluster no longer lists this pipeline",
}


def _note(kind: str, repo: str, branch: str | None, last_seen: SnapshotName, since: str | None) -> Problem:
    when = f"{last_seen.frozen_at:%Y-%m-%d %H:%M} UTC"
    gone = f"snapshot {since[:12]}" if since else "this snapshot"
    message = f"{_WHAT[kind]}; last in snapshot {last_seen.id[:12]} of {when}, missing since {gone}"
    return Problem(repo=repo, branch=branch, kind=kind, message=message, last_seen=last_seen.id, since=since)

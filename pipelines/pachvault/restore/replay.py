"""Replay: commits made anew, parents first, on branches that nobody subscribes to; then heads, once.

Safe to repeat at any point: what was replayed is found by its description, what was begun is cleared
and begun anew, and a head that points where it should is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pachvault.errors import BusyError, DamageError, PachvaultError, PachydermError
from pachvault.format.ids import RepoName
from pachvault.mirror import mirrored
from pachvault.pach import wire
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import NewCommit, Target
from pachvault.progress import Progress
from pachvault.restore import definitions, journal, staging
from pachvault.restore.changes import Changes, changes
from pachvault.restore.work import BranchPlan, RepoPlan, RestorePlan, Step
from pachvault.restore.write import write_change
from pachvault.vault import blobs
from pachvault.vault.reader import BlobReader
from pachvault.vault.snapshots import RepoHistory
from pachvault.vault.vault import Vault


@dataclass(slots=True)
class Replayed:
    """What became of a repo: old ids to new ones, and what could not be had."""

    repo: RepoName
    ids: dict[str, str] = field(default_factory=dict)
    appended: dict[str, str] = field(default_factory=dict)
    """Commits put on top of a branch, by the old id of the one that they bring back."""
    lost: list[str] = field(default_factory=list)
    """A line for each commit that was left out."""


def replay(
    source: Source, target: Target, vault: Vault, plan: RestorePlan, progress: Progress
) -> list[Replayed]:
    """Carry out a plan whose large parts are staged. The id maps, a repo each.

    Raises DamageError for a damaged vault unless the plan says to keep going: nothing of a damaged
    commit is committed.
    """
    reader = BlobReader(vault, blobs.load(vault)) if any(r.origin == "vault" for r in plan.repos) else None
    repos = []
    for repo in plan.repos:
        target.ensure_project(repo.to_project)
        target.ensure_repo(repo.to_project, repo.to_repo, repo.description)
        history = RepoHistory(vault, vault.repo_record(repo.record))
        repos.append(_Repo(source, target, plan, repo, history, reader, progress))
    definitions.create_stopped(source, plan.pipelines)
    for members in _commit_sets(repos):
        _replay_set(target, members)
    for each in repos:
        each.finish()
    definitions.create_rest(source, plan.pipelines)
    if any(step.parts for repo in plan.repos for step in repo.steps):
        where = staging.staging_repo(plan.request_id)
        target.delete_repo(where.project, where.repo)
    return [each.done for each in repos]


def _commit_sets(repos: Sequence[_Repo]) -> list[list[tuple[_Repo, Step]]]:
    """The steps of all repos, those of one old commit set together, each after its parent."""
    sets: dict[str, list[tuple[_Repo, Step]]] = {}
    for repo in repos:
        for step in repo.repo.steps:
            sets.setdefault(step.commit, []).append((repo, step))
    # parents start before their children; within a repo the plan's own order settles ties
    order = {step.commit: number for repo in repos for number, step in enumerate(repo.repo.steps)}
    return sorted(
        sets.values(), key=lambda members: (str(members[0][1].started_at), order[members[0][1].commit])
    )


def _replay_set(target: Target, members: Sequence[tuple[_Repo, Step]]) -> None:
    """The commits of one set: opened together where none was begun yet, so that they share an id."""
    fresh = [(repo, step) for repo, step in members if not repo.is_begun(step) and repo.has_parent(step)]
    if len(fresh) > 1 and len(fresh) == len(members):
        opened = target.start_together([repo.new_commit(step) for repo, step in fresh])
        for (repo, step), commit in zip(fresh, opened, strict=True):
            repo.begun[step.commit] = commit
    for repo, step in members:
        repo.replay(step)


@dataclass(slots=True)
class _Repo:
    source: Source
    target: Target
    plan: RestorePlan
    repo: RepoPlan
    history: RepoHistory
    reader: BlobReader | None
    progress: Progress
    done: Replayed = field(init=False)
    begun: dict[str, str] = field(default_factory=dict)
    """Open commits, of this run or of one that died, by old id."""

    def __post_init__(self) -> None:
        self.done = Replayed(self.repo.target)
        known = self.source.commits(self.repo.target)
        before = journal.restored(known, self.plan.request_id, self.repo.source)
        wanted = {step.commit for step in self.repo.steps}
        for old, commit in before.items():
            if old in wanted and not (commit.error and not self._failed_before(old)):
                (self.begun if commit.finished_at is None else self.done.ids)[old] = commit.id

    def is_begun(self, step: Step) -> bool:
        """Whether the commit was replayed, or opened."""
        return step.commit in self.begun or step.commit in self.done.ids

    def has_parent(self, step: Step) -> bool:
        """Whether the commit it stands on is there."""
        return step.parent is None or step.parent in self.done.ids

    def new_commit(self, step: Step) -> NewCommit:
        """How to open it: on a branch that nobody subscribes to, a root on one of its own."""
        return NewCommit(
            project=self.repo.to_project,
            repo=self.repo.to_repo,
            branch=self._hidden_prefix + step.commit,
            parent=self._parent(step),
            description=journal.description(self.plan.request_id, self.repo.source, step),
        )

    def replay(self, step: Step) -> None:
        """One commit, unless it is there; what is damaged is noted where the plan says to keep going."""
        if step.commit in self.done.ids:
            return
        try:
            self.done.ids[step.commit] = self._replay(step)
        except DamageError as error:
            if not self.plan.keep_going:
                raise
            self.done.lost.append(f"{self.repo.source}@{step.commit}: {error}")

    def finish(self) -> None:
        """Move the heads, then remove the hidden branches."""
        for branch in self.repo.branches:
            self._branch(branch)
        for name in {each.name for each in self.source.branches(self.repo.target)}:
            if name.startswith(self._hidden_prefix):
                self.target.delete_branch(self.repo.to_project, self.repo.to_repo, name)

    @property
    def _hidden_prefix(self) -> str:
        return f"pachvault-replay-{self.plan.request_id[:12]}-"

    def _failed_before(self, old: str) -> bool:
        """Whether the commit failed in its old life, so that a failed one is what is wanted."""
        return any(step.commit == old and step.error for step in self.repo.steps)

    def _replay(self, step: Step) -> str:
        """Open, fill and finish one commit; its new id."""
        new = self.new_commit(step)
        if step.commit in self.begun:
            ref = self._ref(self.begun[step.commit])
            self.target.clear(ref)
        else:
            ref = self._ref(
                self.target.start(
                    new.project, new.repo, new.branch, parent=new.parent, description=new.description
                )
            )
        try:
            if not step.error:
                self._fill(step, ref)
        except PachvaultError:
            self.target.clear(ref)
            self.target.finish(ref, description="a restore gave it up", error="could not be restored")
            raise
        self.target.finish(ref, description=new.description, error=step.error)
        return ref.id

    def _parent(self, step: Step) -> str | None:
        if step.parent is None:
            return None
        if step.parent not in self.done.ids:
            raise DamageError(f"its parent {step.parent} could not be restored")
        return self.done.ids[step.parent]

    def _fill(self, step: Step, ref: CommitRef) -> None:
        """Put a commit's change into an open commit."""
        if self.repo.origin == "backup":
            held = mirrored(self.source, self.repo.source, step.commit, step.size_bytes)
            if held is None:
                raise PachydermError("the backup repo no longer holds it", where=str(ref))
            self.target.add_file_set(ref, self.source.file_set_of(held, wire.TOTAL))
        elif step.parts:
            for branch in staging.step_parts(step):
                part = staging.staged(self.source, self.plan.request_id, branch)
                if part is None:  # fetch says why, and goes on where it is told to keep going
                    raise DamageError(f"its part {branch} could not be staged", where=str(ref))
                self.target.add_file_set(ref, staging.own_change(self.source, part))
        else:
            self._write(ref, changes(self.history, step.commit, step.content_parent, self.plan.paths))

    def _branch(self, branch: BranchPlan) -> None:
        """Move a head, keeping the old one where that is asked for."""
        where = (self.repo.to_project, self.repo.to_repo)
        now = {each.name: each.head for each in self.source.branches(self.repo.target)}
        if branch.action == "append" and branch.current:
            self._append(branch, now.get(branch.name, ""))
            return
        new = branch.head if branch.action == "move" else self.done.ids.get(branch.head)
        if new is None:
            self.done.lost.append(f"branch {branch.name}: its head {branch.head} could not be restored")
            return
        if branch.keep_as and branch.current and branch.keep_as not in now:
            self.target.point(*where, branch.keep_as, branch.current)
        if now.get(branch.name) != new:
            self.target.point(*where, branch.name, new)
        if branch.trigger:
            self.target.point(*where, branch.name, new, branch.trigger)

    def _append(self, branch: BranchPlan, head: str) -> None:
        """A commit on top of the branch: its tree becomes the old one, or the chosen paths do."""
        text = journal.appended(self.plan.request_id, self.repo.source, branch.head)
        commit = self.source.commit(self._ref(head)) if head else None
        if commit is not None and commit.description == text and commit.finished_at is not None:
            self.done.appended[branch.head] = head
            return
        if commit is not None and commit.finished_at is None:
            if commit.description != text:
                raise BusyError("the branch has an open commit", where=f"{self.repo.target}@{branch.name}")
            ref = self._ref(head)
            self.target.clear(ref)
        else:
            where = (self.repo.to_project, self.repo.to_repo, branch.name)
            ref = self._ref(self.target.start(*where, parent=head or None, description=text))
        try:
            if self.plan.paths:
                self._write(ref, changes(self.history, branch.head, None, self.plan.paths))
            elif branch.head in self.done.ids:
                self.target.change(ref, delete=["/"])
                whole = self.source.file_set_of(self._ref(self.done.ids[branch.head]), wire.TOTAL)
                self.target.add_file_set(ref, whole)
            else:
                raise DamageError(f"commit {branch.head} could not be restored")
        except PachvaultError as error:
            self.target.clear(ref)
            self.target.finish(ref, error="could not be restored")
            if not (self.plan.keep_going and isinstance(error, DamageError)):
                raise
            self.done.lost.append(f"branch {branch.name}: {error}")
            return
        self.target.finish(ref)
        self.done.appended[branch.head] = ref.id

    def _write(self, ref: CommitRef, found: Changes) -> None:
        if self.reader is None:
            raise PachvaultError("the vault is not open", where=str(ref))
        write_change(self.target, self.reader, ref, found, self.progress)

    def _ref(self, commit: str) -> CommitRef:
        return CommitRef(self.repo.to_project, self.repo.to_repo, commit)

"""Replay: commits made anew, parents first, on branches that nobody subscribes to; then heads, once.

Safe to repeat at any point: what was replayed is found by its description, what was begun is cleared
and begun anew, and a head that points where it should is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pachvault.errors import BusyError, DamageError, PachvaultError, PachydermError
from pachvault.format.ids import RepoName
from pachvault.mirror import mirrored
from pachvault.pach import wire
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target
from pachvault.progress import Progress
from pachvault.restore import journal, staging
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
    done = []
    for repo in plan.repos:
        target.ensure_project(repo.to_project)
        target.ensure_repo(repo.to_project, repo.to_repo, repo.description)
        history = RepoHistory(vault, vault.repo_record(repo.record))
        done.append(_Repo(source, target, plan, repo, history, reader, progress).run())
    if any(step.parts for repo in plan.repos for step in repo.steps):
        where = staging.staging_repo(plan.request_id)
        target.delete_repo(where.project, where.repo)
    return done


@dataclass(slots=True)
class _Repo:
    source: Source
    target: Target
    plan: RestorePlan
    repo: RepoPlan
    history: RepoHistory
    reader: BlobReader | None
    progress: Progress
    ids: dict[str, str] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)

    def run(self) -> Replayed:
        """Replay the commits, then move the heads."""
        done = Replayed(self.repo.target)
        before = journal.restored(
            self.source.commits(self.repo.target), self.plan.request_id, self.repo.source
        )
        for step in self.repo.steps:
            was = before.get(step.commit)
            if was is not None and was.finished_at is not None:
                self.ids[step.commit] = was.id
                continue
            try:
                self.ids[step.commit] = self._step(step, was.id if was is not None else None)
            except DamageError as error:
                if not self.plan.keep_going:
                    raise
                done.lost.append(f"{self.repo.source}@{step.commit}: {error}")
        for branch in self.repo.branches:
            self._branch(branch, done)
        for name in {each.name for each in self.source.branches(self.repo.target)}:
            if name.startswith(self._hidden_prefix):
                self.target.delete_branch(self.repo.to_project, self.repo.to_repo, name)
        done.ids = self.ids | done.ids
        return done

    @property
    def _hidden_prefix(self) -> str:
        return f"pachvault-replay-{self.plan.request_id[:12]}-"

    def _step(self, step: Step, begun: str | None) -> str:
        """One commit; its new id. `begun` is an open one of a run that died."""
        text = journal.description(self.plan.request_id, self.repo.source, step)
        if begun is not None:
            ref = self._ref(begun)
            self.target.clear(ref)
        else:
            parent = self._parent(step)
            # without a parent Pachyderm takes the branch's head: a root needs a branch of its own
            branch = self._hidden_prefix + step.commit
            ref = self._ref(
                self.target.start(
                    self.repo.to_project, self.repo.to_repo, branch, parent=parent, description=text
                )
            )
        try:
            if not step.error:
                self._fill(step, ref)
        except PachvaultError:
            self.target.clear(ref)
            self.target.finish(
                ref, description=text.partition("restored by")[0], error="could not be restored"
            )
            raise
        self.target.finish(ref, description=text, error=step.error)
        return ref.id

    def _parent(self, step: Step) -> str | None:
        if step.parent is None:
            return None
        if step.parent not in self.ids:
            raise DamageError(f"its parent {step.parent} could not be restored")
        return self.ids[step.parent]

    def _fill(self, step: Step, ref: CommitRef) -> None:
        """Put a commit's change into an open commit."""
        if self.repo.origin == "backup":
            held = mirrored(self.source, self.repo.source, step.commit, step.size_bytes)
            if held is None:
                raise PachydermError("the backup repo no longer holds it", where=str(ref))
            self.target.add_file_set(ref, self.source.file_set_of(held, wire.TOTAL))
        elif step.parts:
            for number in range(step.parts):
                part = staging.staged(self.source, self.plan.request_id, step.commit, number)
                if part is None:
                    raise PachvaultError(f"part {number} of {step.commit} was not staged", where=str(ref))
                self.target.add_file_set(ref, staging.own_change(self.source, part))
        else:
            self._write(ref, changes(self.history, step.commit, step.content_parent, self.plan.paths))

    def _branch(self, branch: BranchPlan, done: Replayed) -> None:
        """Move a head, keeping the old one where that is asked for."""
        where = (self.repo.to_project, self.repo.to_repo)
        now = {each.name: each.head for each in self.source.branches(self.repo.target)}
        if branch.action == "append" and branch.current:
            self._append(branch, now.get(branch.name, ""), done)
            return
        new = branch.head if branch.action == "move" else self.ids.get(branch.head)
        if new is None:
            done.lost.append(f"branch {branch.name}: its head {branch.head} could not be restored")
            return
        if branch.keep_as and branch.current and branch.keep_as not in now:
            self.target.point(*where, branch.keep_as, branch.current)
        if now.get(branch.name) != new:
            self.target.point(*where, branch.name, new)

    def _append(self, branch: BranchPlan, head: str, done: Replayed) -> None:
        """A commit on top of the branch: its tree becomes the old one, or the chosen paths do."""
        text = journal.appended(self.plan.request_id, self.repo.source, branch.head)
        commit = self.source.commit(self._ref(head)) if head else None
        if commit is not None and commit.description == text and commit.finished_at is not None:
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
            elif branch.head in self.ids:
                self.target.change(ref, delete=["/"])
                whole = self.source.file_set_of(self._ref(self.ids[branch.head]), wire.TOTAL)
                self.target.add_file_set(ref, whole)
            else:
                raise DamageError(f"commit {branch.head} could not be restored")
        except PachvaultError as error:
            self.target.clear(ref)
            self.target.finish(ref, error="could not be restored")
            if not (self.plan.keep_going and isinstance(error, DamageError)):
                raise
            done.lost.append(f"branch {branch.name}: {error}")
            return
        self.target.finish(ref)
        done.ids[branch.head] = ref.id

    def _write(self, ref: CommitRef, found: Changes) -> None:
        if self.reader is None:
            raise PachvaultError("the vault is not open", where=str(ref))
        write_change(self.target, self.reader, ref, found, self.progress)

    def _ref(self, commit: str) -> CommitRef:
        return CommitRef(self.repo.to_project, self.repo.to_repo, commit)

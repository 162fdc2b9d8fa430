"""Replay: commits made anew, parents first, on branches that nobody subscribes to; then heads, once.

Safe to repeat at any point: what was replayed is found by its description, what was begun is cleared
and begun anew, and a head that points where it should is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from pachvault.errors import DamageError, PachvaultError, PachydermError
from pachvault.format.ids import RepoName
from pachvault.mirror import mirrored
from pachvault.pach import wire
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import NewCommit, Target
from pachvault.progress import Progress
from pachvault.restore import definitions, journal, staging
from pachvault.restore.changes import changes
from pachvault.restore.heads import Heads
from pachvault.restore.work import RepoPlan, RestorePlan, Step
from pachvault.restore.write import readable, write_change
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
    """A line for each file, commit, branch or repo that could not be had."""


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
    try:
        for members in _commit_sets(repos):
            _replay_set(target, members)
    except DamageError:
        for each in repos:
            each.tidy()
        raise
    for each in repos:
        each.settle()
    definitions.create_rest(source, plan.pipelines)
    staging.remove(target, plan.request_id)
    left_out = [Replayed(RepoName.parse(line.partition(":")[0]), lost=[line]) for line in plan.lost]
    return [*(each.done for each in repos), *left_out]


def _commit_sets(repos: Sequence[_Repo]) -> list[list[tuple[_Repo, Step]]]:
    """The steps of all repos, those of one old commit set together, each after its parent."""
    sets: dict[str, list[tuple[_Repo, Step]]] = {}
    for repo in repos:
        for step in repo.repo.steps:
            sets.setdefault(step.commit, []).append((repo, step))
    before = {
        commit: {step.parent for _, step in members if step.parent is not None}
        for commit, members in sets.items()
    }
    return [sets[commit] for commit in TopologicalSorter(before).static_order()]


def _replay_set(target: Target, members: Sequence[tuple[_Repo, Step]]) -> None:
    """The commits of one set: opened together where none was begun yet, so that they share an id.

    None is finished before all are filled: the others of a damaged one are given up with it, to be
    begun anew together.
    """
    fresh = [(repo, step) for repo, step in members if not repo.is_begun(step) and repo.has_parent(step)]
    if len(fresh) > 1 and len(fresh) == len(members):
        opened = target.start_together([repo.new_commit(step) for repo, step in fresh])
        for (repo, step), commit in zip(fresh, opened, strict=True):
            repo.begun[step.commit] = commit
    try:
        for repo, step in members:
            repo.fill(step)
    except DamageError:
        for repo, step in members:
            repo.give_up(step)
        raise
    for repo, step in members:
        repo.finish(step)


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
    filled: dict[str, int] = field(default_factory=dict)
    """Those that hold their change, and how many damaged files it lacks."""

    def __post_init__(self) -> None:
        self.done = Replayed(self.repo.target)
        known = self.source.commits(self.repo.target)
        steps = {step.commit: step for step in self.repo.steps}
        for old, found in journal.restored(known, self.plan.request_id, self.repo.source).items():
            commit = self.source.commit(self._ref(found.id), wait=True) if found.is_finishing else found
            if commit.finished_at is None and old in steps:
                self.begun[old] = commit.id
            elif commit.finished_at is None:  # of another plan of this request: it would block its branch
                self._give_up(commit.id)
            elif old in steps and (not commit.error or steps[old].error):
                self.done.ids[old] = commit.id
                if lost := journal.left_out(commit):
                    self.done.lost.append(f"{self.repo.source}@{old}: {lost} damaged files were left out")
        in_use = {*self.begun.values(), *self.done.ids.values()}
        for branch in self.source.branches(self.repo.target):
            # a root goes on a branch of its own, which must be new
            if branch.name in {self._hidden_prefix + old for old in steps} and branch.head not in in_use:
                self.target.delete_branch(self.repo.to_project, self.repo.to_repo, branch.name)

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

    def fill(self, step: Step) -> None:
        """Open a commit and put its change in, unless it is there.

        What is damaged is noted where the plan says to keep going, and raises DamageError otherwise.
        """
        if step.commit in self.done.ids:
            return
        try:
            if step.commit in self.begun:
                self.target.clear(self._ref(self.begun[step.commit]))
            else:
                new = self.new_commit(step)
                self.begun[step.commit] = self.target.start(
                    new.project, new.repo, new.branch, parent=new.parent, description=new.description
                )
            self.filled[step.commit] = 0 if step.error else self._fill(step)
        except DamageError as error:
            self.give_up(step)
            if not self.plan.keep_going:
                raise
            self.done.lost.append(f"{self.repo.source}@{step.commit}: {error}")

    def finish(self, step: Step) -> None:
        """Finish what was filled."""
        if step.commit in self.filled:
            ref = self._ref(self.begun[step.commit])
            lost = self.filled.pop(step.commit)
            text = journal.description(self.plan.request_id, self.repo.source, step, lost)
            self.target.finish(ref, description=text, error=step.error)
            self.done.ids[step.commit] = ref.id

    def give_up(self, step: Step) -> None:
        """Close an open commit as a failed and empty one, which is found by nobody."""
        if step.commit in self.begun and step.commit not in self.done.ids:
            self._give_up(self.begun.pop(step.commit))
            self.filled.pop(step.commit, None)

    def settle(self) -> None:
        """Move the heads, triggers last, then remove the hidden branches."""
        heads = Heads(self.source, self.target, self.plan, self.repo, self.history, self._hidden_prefix)
        moved = []
        for branch in self.repo.branches:
            new = heads.move(branch, self.done.ids)
            if new is None:
                self.done.lost.append(
                    f"{self.repo.source}@{branch.source}: its head {branch.head} could not be restored"
                )
                continue
            moved.append(branch)
            if branch.action == "append":
                self.done.appended[branch.head] = new
        for branch in moved:
            heads.arm(branch)
        self.tidy()

    def tidy(self) -> None:
        """Remove the hidden branches; commits are found without them."""
        for name in {each.name for each in self.source.branches(self.repo.target)}:
            if name.startswith(self._hidden_prefix):
                self.target.delete_branch(self.repo.to_project, self.repo.to_repo, name)

    @property
    def _hidden_prefix(self) -> str:
        return f"pachvault-replay-{self.plan.request_id[:12]}-"

    def _give_up(self, commit: str) -> None:
        ref = self._ref(commit)
        self.target.clear(ref)
        self.target.finish(ref, description="a restore gave it up", error="could not be restored")

    def _parent(self, step: Step) -> str | None:
        if step.parent is None:
            return None
        if step.parent not in self.done.ids:
            raise DamageError(f"its parent {step.parent} could not be restored")
        return self.done.ids[step.parent]

    def _fill(self, step: Step) -> int:
        """Put a commit's change into its open commit; how many damaged files are not in it."""
        ref = self._ref(self.begun[step.commit])
        if self.repo.origin == "backup":
            held = mirrored(self.source, self.repo.source, step.commit, step.size_bytes)
            if held is None:
                raise PachydermError("the backup repo no longer holds it", where=str(ref))
            self.target.add_file_set(ref, self.source.file_set_of(held, wire.TOTAL))
            return 0
        parts = []
        for branch in staging.part_branches(step):
            part = staging.staged(self.source, self.plan.request_id, branch)
            if part is None and not self.plan.keep_going:
                raise DamageError(f"its part {branch} could not be staged", where=str(ref))
            parts += [part] if part else []
        if not parts or len(parts) < step.parts:
            return self._write(step, ref)
        for part in parts:
            self.target.add_file_set(ref, staging.own_change(self.source, part))
        return 0

    def _write(self, step: Step, ref: CommitRef) -> int:
        """Write a commit's change straight from the vault, without damaged files if need be."""
        if self.reader is None:
            raise PachvaultError("the vault is not open", where=str(ref))
        found = changes(self.history, step.commit, step.content_parent, self.plan.paths)
        try:
            write_change(self.target, self.reader, ref, found, self.progress)
        except DamageError:
            if not self.plan.keep_going:
                raise
        else:
            return 0
        whole, lost = readable(self.reader, found)
        write_change(self.target, self.reader, ref, whole, self.progress)
        self.done.lost += [
            f"{self.repo.source}@{step.commit}:{path}: {error}" for path, error in sorted(lost.items())
        ]
        return len(lost)

    def _ref(self, commit: str) -> CommitRef:
        return CommitRef(self.repo.to_project, self.repo.to_repo, commit)

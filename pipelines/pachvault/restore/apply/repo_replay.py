"""The replay of one repo: its commits made anew on hidden branches, then its heads, once.

Safe to repeat at any point: what was replayed is found by its description, what was begun is cleared
and begun anew, and a head that points where it should is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pachvault.errors import CorruptError, DamageError, PachvaultError, PachydermError, UnsupportedError
from pachvault.format.ids import RepoName
from pachvault.mirror import mirrored
from pachvault.pach import codec
from pachvault.pach.settings import Settings, SettingsScope
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import NewCommit, Pointed, Target
from pachvault.restore import commit_trailer, working_branches
from pachvault.restore.apply.branch_heads import HeadMover
from pachvault.restore.changes import changes
from pachvault.restore.restore_messages import BranchPlan, CommitStep, RepoPlan, RestorePlan
from pachvault.restore.stage import staging
from pachvault.restore.stage.change_writer import readable, write_change
from pachvault.runtime.progress import Progress
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.snapshots import RepoHistory


@dataclass(slots=True)
class Replayed:
    """What became of a repo: old ids to new ones, and what could not be had."""

    repo: RepoName
    ids: dict[str, str] = field(default_factory=dict)
    appended: dict[str, str] = field(default_factory=dict)
    """Commits put on top of a branch, by the old id of the one that they bring back."""
    heads: dict[str, str] = field(default_factory=dict)
    """Branches of the target to the commits that they point at once it is settled."""
    made: int = 0
    """How many commits this run made; what an earlier one made is in `ids` too."""
    moved: list[str] = field(default_factory=list)
    """Branches whose heads this run moved."""
    lost: list[str] = field(default_factory=list)
    """A line for each file, commit, branch or repo that could not be had."""


@dataclass(slots=True)
class RepoReplay:
    """The commits and heads of one repo."""

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

    def take_up(self) -> None:
        """Find what earlier runs of the request left in the repo: before anything else is called.

        Their commits that can be finished are taken up; others, and branches in the way, are removed.
        """
        known, branches = self.source.commits(self.repo.target), self.source.branches(self.repo.target)
        steps = {step.old.id: step for step in self.repo.steps}
        earlier = commit_trailer.restored(known, self.plan.request_id, self.repo.source, branches)
        for old, new in earlier.items():
            commit = self.source.commit(self._ref(new.id), wait=True) if new.is_finishing else new
            if commit.finished_at is None and old in steps:
                self.begun[old] = commit.id
            elif commit.finished_at is None:  # of another plan of this request: it would block its branch
                self._give_up(commit.id)
            elif old in steps and (not commit.error or steps[old].old.error):
                self.done.ids[old] = commit.id
                if lost := commit_trailer.left_out(commit):
                    self.done.lost.append(f"{self.repo.source}@{old}: {lost} damaged files were left out")
        in_use = {*self.begun.values(), *self.done.ids.values()}
        wanted = {working_branches.replayed(self.plan.request_id) + old for old in steps}
        for branch in branches:
            # a root goes on a branch of its own, which must be new
            if branch.name in wanted and branch.head not in in_use:
                self.target.delete_branch(self.repo.to_project, self.repo.to_repo, branch.name)

    def is_begun(self, step: CommitStep) -> bool:
        """Whether the commit was replayed, or opened."""
        return step.old.id in self.begun or step.old.id in self.done.ids

    def has_parent(self, step: CommitStep) -> bool:
        """Whether the commit it stands on is there."""
        return step.old.parent is None or step.old.parent in self.done.ids

    def new_commit(self, step: CommitStep) -> NewCommit:
        """How to open it: on a branch that nobody subscribes to, a root on one of its own."""
        return NewCommit(
            project=self.repo.to_project,
            repo=self.repo.to_repo,
            branch=working_branches.replayed(self.plan.request_id) + step.old.id,
            parent=self._parent(step),
            description=commit_trailer.description(self.plan.request_id, self.repo.source, step),
        )

    def fill(self, step: CommitStep) -> None:
        """Open a commit and put its change in, unless it is there.

        What is damaged is noted where the plan says to keep going, and raises DamageError otherwise.
        """
        if step.old.id in self.done.ids:
            return
        try:
            if step.old.id in self.begun:
                self.target.clear(self._ref(self.begun[step.old.id]))
            else:
                new = self.new_commit(step)
                self.begun[step.old.id] = self.target.start(
                    new.project, new.repo, new.branch, parent=new.parent, description=new.description
                )
            self.filled[step.old.id] = 0 if step.old.error else self._fill(step)
        except DamageError as error:
            self.give_up(step)
            if not self.plan.keep_going:
                raise
            self.done.lost.append(f"{self.repo.source}@{step.old.id}: {error}")

    def finish(self, step: CommitStep) -> None:
        """Finish what was filled."""
        if step.old.id in self.filled:
            ref = self._ref(self.begun[step.old.id])
            lost = self.filled.pop(step.old.id)
            text = commit_trailer.description(self.plan.request_id, self.repo.source, step, lost)
            self._set_metadata(step, ref)
            self.target.finish(ref, description=text, error=step.old.error)
            self.done.ids[step.old.id] = ref.id
            self.done.made += 1

    def give_up(self, step: CommitStep) -> None:
        """Close an open commit as a failed and empty one, which is found by nobody."""
        if step.old.id in self.begun and step.old.id not in self.done.ids:
            self._give_up(self.begun.pop(step.old.id))
            self.filled.pop(step.old.id, None)

    def prepare_heads(self) -> None:
        """Make what goes on top of branches, and note what the heads are to point at."""
        for branch in self.repo.branches:
            new = self._heads.prepare(branch, self.done.ids)
            if new is None:
                self.done.lost.append(
                    f"{self.repo.source}@{branch.source}: its head {branch.head} could not be restored"
                )
                continue
            self.done.heads[branch.name] = new
            if branch.action == "append":
                self.done.appended[branch.head] = new

    def moves(self) -> list[Pointed]:
        """What moves the heads."""
        moves = {
            branch.name: list(self._heads.moves(branch, self.done.heads[branch.name]))
            for branch in self._ready()
        }
        self.done.moved = [name for name, some in moves.items() if some]
        return [move for some in moves.values() for move in some]

    def close(self) -> None:
        """Once the heads have moved: give the branches their triggers, then remove the hidden ones."""
        for branch in self._ready():
            self._heads.arm(branch)
        self.tidy(
            working_branches.replayed(self.plan.request_id), working_branches.differing(self.plan.request_id)
        )

    def keep(self, commit: str) -> str:
        """Keep a commit that is not what it was under a branch of its own, whose name this is."""
        name = working_branches.differing(self.plan.request_id) + commit
        self.target.point(self.repo.to_project, self.repo.to_repo, name, commit)
        return name

    def tidy(self, *prefixes: str) -> None:
        """Remove branches whose names begin so; commits are found without them."""
        for name in {each.name for each in self.source.branches(self.repo.target)}:
            if name.startswith(prefixes):
                self.target.delete_branch(self.repo.to_project, self.repo.to_repo, name)

    def _ready(self) -> list[BranchPlan]:
        return [branch for branch in self.repo.branches if branch.name in self.done.heads]

    @property
    def _heads(self) -> HeadMover:
        prefix = working_branches.replayed(self.plan.request_id)
        return HeadMover(self.source, self.target, self.plan, self.repo, self.history, prefix)

    def _give_up(self, commit: str) -> None:
        ref = self._ref(commit)
        self.target.clear(ref)
        self.target.finish(ref, description="a restore gave it up", error="could not be restored")

    def _parent(self, step: CommitStep) -> str | None:
        if step.old.parent is None:
            return None
        if step.old.parent not in self.done.ids:
            raise CorruptError(f"its parent {step.old.parent} could not be restored")
        return self.done.ids[step.old.parent]

    def _fill(self, step: CommitStep) -> int:
        """Put a commit's change into its open commit; how many damaged files are not in it."""
        ref = self._ref(self.begun[step.old.id])
        if self.repo.origin == "backup":
            held = mirrored(self.source, self.repo.source, step.old.id, step.old.size_bytes)
            if held is None:
                raise PachydermError("the backup repo no longer holds it", where=str(ref))
            self.target.add_file_set(ref, self.source.file_set_of(held, codec.TOTAL))
            return 0
        parts = []
        for branch in staging.part_branches(step):
            part = staging.staged(self.source, self.plan.request_id, branch)
            parts += [part] if part else []
        if not parts or len(parts) < step.parts:
            return self._write(step, ref)  # says what is damaged, where that is why a part is not there
        for part in parts:
            self.target.add_file_set(ref, staging.own_change(self.source, part))
        return 0

    def _set_metadata(self, step: CommitStep, ref: CommitRef) -> None:
        """While the commit is open: a finished one is taken for a whole one by the next run."""
        if not step.old.metadata:
            return
        try:
            place = SettingsScope.commit(self.repo.target, ref.id)
            Settings(self.source.connection).set_metadata(place, step.old.metadata)
        except UnsupportedError as error:
            self.done.lost.append(f"{self.repo.source}@{step.old.id}: metadata: {error.what}")

    def _write(self, step: CommitStep, ref: CommitRef) -> int:
        """Write a commit's change straight from the vault, without damaged files if need be."""
        if self.reader is None:
            raise PachvaultError("the vault is not open", where=str(ref))
        found = changes(self.history, step.old.id, step.content_parent, self.plan.paths)
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
            f"{self.repo.source}@{step.old.id}:{path}: {error}" for path, error in sorted(lost.items())
        ]
        return len(lost)

    def _ref(self, commit: str) -> CommitRef:
        return CommitRef(self.repo.to_project, self.repo.to_repo, commit)

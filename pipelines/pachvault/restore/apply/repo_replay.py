"""The replay of one repo: its commits are made on working branches, then its heads are moved, once.

Safe to repeat after a failure at any point: replayed commits are found by their descriptions, open ones are
cleared and filled again, and a head that points where it should is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pachvault.errors import CorruptError, DamageError, PachvaultError, PachydermError, UnsupportedError
from pachvault.mirror import mirrored
from pachvault.pach import codec
from pachvault.pach.settings import Settings, SettingsScope
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import NewCommit, Pointed, Target
from pachvault.restore import commit_trailer, working_branches
from pachvault.restore.apply.branch_heads import HeadMover
from pachvault.restore.changes import changes
from pachvault.restore.restore_messages import BranchPlan, CommitStep, RepoPlan, RestorePlan
from pachvault.restore.restore_report import Replayed
from pachvault.restore.stage import staging
from pachvault.restore.stage.change_writer import readable, write_change
from pachvault.runtime.progress import Progress
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.repo_history import RepoHistory


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
    result: Replayed = field(init=False)
    begun: dict[str, str] = field(default_factory=dict)
    """Open commits, of this run or of one that died, by old id."""
    filled: dict[str, int] = field(default_factory=dict)
    """Of these, the ones that have their change, with the number of damaged files that it lacks."""

    def __post_init__(self) -> None:
        self.result = Replayed(self.repo.target)

    def take_up(self) -> None:
        """Find what earlier runs of the request left in the repo: before anything else is called.

        Their commits that can be finished are used; others, and branches in the way, are removed.
        """
        known, branches = self.source.commits(self.repo.target), self.source.branches(self.repo.target)
        steps = {step.old.id: step for step in self.repo.steps}
        earlier = commit_trailer.restored(known, self.plan.request_id, self.repo.source, branches)
        for old, new in earlier.items():
            commit = self.source.commit(self._ref(new.id), wait=True) if new.is_finishing else new
            # open: what it holds is unknown, so it is cleared and filled again. Finished: complete, because a
            # commit is finished only when all of its change is in it
            if commit.finished_at is None and old in steps:
                self.begun[old] = commit.id
            elif commit.finished_at is None:  # of another plan of this request: it would block its branch
                self._give_up(commit.id)
            # a failed commit counts where the old one failed, too; otherwise an earlier run gave it up
            elif old in steps and (not commit.error or steps[old].old.error):
                self.result.ids[old] = commit.id
                if lost := commit_trailer.left_out(commit):
                    self.result.lost.append(f"{self.repo.source}@{old}: {lost} damaged files were left out")
        in_use = {*self.begun.values(), *self.result.ids.values()}
        wanted = {working_branches.replayed(self.plan.request_id) + old for old in steps}
        for branch in branches:
            # a root goes on a branch of its own, which must be new
            if branch.name in wanted and branch.head not in in_use:
                self.target.delete_branch(self.repo.to_project, self.repo.to_repo, branch.name)

    def is_begun(self, step: CommitStep) -> bool:
        """Whether the commit was replayed, or opened."""
        return step.old.id in self.begun or step.old.id in self.result.ids

    def has_parent(self, step: CommitStep) -> bool:
        """Whether its parent is replayed."""
        return step.old.parent is None or step.old.parent in self.result.ids

    def new_commit(self, step: CommitStep) -> NewCommit:
        """The commit to open, on a working branch."""
        return NewCommit(
            project=self.repo.to_project,
            repo=self.repo.to_repo,
            branch=working_branches.replayed(self.plan.request_id) + step.old.id,
            parent=self._parent(step),
            description=commit_trailer.description(self.plan.request_id, self.repo.source, step),
        )

    def fill(self, step: CommitStep) -> None:
        """Open a commit and write its change, unless it is replayed already.

        Damage is recorded if the plan has `keep_going`, and raises DamageError otherwise.
        """
        if step.old.id in self.result.ids:
            return
        try:
            if step.old.id in self.begun:
                # file sets append: what a dead run added would be there twice
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
            self.result.lost.append(f"{self.repo.source}@{step.old.id}: {error}")

    def finish(self, step: CommitStep) -> None:
        """Finish a commit that was filled."""
        if step.old.id in self.filled:
            ref = self._ref(self.begun[step.old.id])
            lost = self.filled.pop(step.old.id)
            # the description is set again: how many files it lacks was not known when it was opened
            text = commit_trailer.description(self.plan.request_id, self.repo.source, step, lost)
            self._set_metadata(step, ref)
            self.target.finish(ref, description=text, error=step.old.error)
            self.result.ids[step.old.id] = ref.id
            self.result.new_commits += 1

    def give_up(self, step: CommitStep) -> None:
        """Close an open commit as failed and empty. No later run takes it up."""
        if step.old.id in self.begun and step.old.id not in self.result.ids:
            self._give_up(self.begun.pop(step.old.id))
            self.filled.pop(step.old.id, None)

    def prepare_heads(self) -> None:
        """Make the commits that go on top of branches, and determine what the heads will point at."""
        for branch in self.repo.branches:
            head = self._heads.prepare(branch, self.result.ids)
            if head is None:
                self.result.lost.append(
                    f"{self.repo.source}@{branch.source}: its head {branch.head} could not be restored"
                )
                continue
            self.result.heads[branch.name] = head
            if branch.action == "append":
                self.result.appended[branch.head] = head

    def moves(self) -> list[Pointed]:
        """The calls that move the heads."""
        moves = {
            branch.name: list(self._heads.moves(branch, self.result.heads[branch.name]))
            for branch in self._ready()
        }
        self.result.moved = [name for name, calls in moves.items() if calls]
        return [move for calls in moves.values() for move in calls]

    def close(self) -> None:
        """After the heads were moved: set the triggers of the branches, then delete the working branches."""
        for branch in self._ready():
            self._heads.set_trigger(branch)
        self.tidy(
            working_branches.replayed(self.plan.request_id), working_branches.differing(self.plan.request_id)
        )

    def keep(self, commit: str) -> str:
        """Keep a commit that differs from the vault on a branch of its own. Returns the name of that."""
        name = working_branches.differing(self.plan.request_id) + commit
        self.target.point(self.repo.to_project, self.repo.to_repo, name, commit)
        return name

    def tidy(self, *prefixes: str) -> None:
        """Delete the branches with these prefixes. Commits are found without them."""
        for name in {branch.name for branch in self.source.branches(self.repo.target)}:
            if name.startswith(prefixes):
                self.target.delete_branch(self.repo.to_project, self.repo.to_repo, name)

    def _ready(self) -> list[BranchPlan]:
        return [branch for branch in self.repo.branches if branch.name in self.result.heads]

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
        if step.old.parent not in self.result.ids:
            raise CorruptError(f"its parent {step.old.parent} could not be restored")
        return self.result.ids[step.old.parent]

    def _fill(self, step: CommitStep) -> int:
        """Write a commit's change into its open commit. Returns how many damaged files it lacks."""
        ref = self._ref(self.begun[step.old.id])
        if self.repo.origin == "backup":
            # looked up again: maintenance may have deleted the mirror since the plan was made
            mirror = mirrored(self.source, self.repo.source, step.old.id, step.old.size_bytes)
            if mirror is None:
                raise PachydermError("the backup repo no longer has a mirror of it", where=str(ref))
            # only single commits come from the mirror (see repo_plan), into an empty commit: nothing is
            # doubled
            self.target.add_file_set(ref, self.source.file_set_of(mirror, codec.TOTAL))
            return 0
        parts = []
        for branch in staging.part_branches(step):
            part = staging.staged(self.source, self.plan.request_id, branch)
            parts += [part] if part else []
        if not parts or len(parts) < step.parts or not self.source.has_change_sets:
            return self._write(step, ref)  # reports the damage, if that is why a part is missing
        # in order: the rest of a large file is appended to its beginning
        for part in parts:
            self.target.add_file_set(ref, staging.own_change(self.source, part))
        return 0

    def _set_metadata(self, step: CommitStep, ref: CommitRef) -> None:
        """Set the metadata while the commit is open: the next run takes a finished commit for complete."""
        if not step.old.metadata:
            return
        try:
            place = SettingsScope.commit(self.repo.target, ref.id)
            Settings(self.source.connection).set_metadata(place, step.old.metadata)
        except UnsupportedError as error:
            self.result.lost.append(f"{self.repo.source}@{step.old.id}: metadata: {error.what}")

    def _write(self, step: CommitStep, ref: CommitRef) -> int:
        """Write a commit's change from the vault; without damaged files where the plan keeps going."""
        if self.reader is None:
            raise PachvaultError("the vault is not open", where=str(ref))
        change = changes(self.history, step.old.id, step.content_parent, self.plan.paths)
        try:
            write_change(self.target, self.reader, ref, change, self.progress)
        except DamageError:
            if not self.plan.keep_going:
                raise
        else:
            return 0
        intact, lost = readable(self.reader, change)
        write_change(self.target, self.reader, ref, intact, self.progress)
        self.result.lost += [
            f"{self.repo.source}@{step.old.id}:{path}: {error}" for path, error in sorted(lost.items())
        ]
        return len(lost)

    def _ref(self, commit: str) -> CommitRef:
        return CommitRef(self.repo.to_project, self.repo.to_repo, commit)

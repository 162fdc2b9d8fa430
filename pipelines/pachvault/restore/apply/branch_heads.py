"""The last step of a replay: heads are moved, each once, to commits that were made on working branches.

A commit that goes on top of a branch is made on a working branch, too: it is checked before the head moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pachvault.errors import BusyError, PachvaultError
from pachvault.format.ids import RepoName
from pachvault.pach import codec
from pachvault.pach.records import CommitInfo
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Pointed, Target
from pachvault.restore import commit_trailer
from pachvault.restore.changes import changes
from pachvault.restore.restore_messages import BranchPlan, RepoPlan, RestorePlan
from pachvault.restore.working_branches import holds_nothing
from pachvault.syntax.selection import Paths
from pachvault.vault.repo_history import RepoHistory


@dataclass(slots=True)
class HeadMover:
    """Prepares and moves the heads of one repo. Both are safe to repeat."""

    source: Source
    target: Target
    plan: RestorePlan
    repo: RepoPlan
    history: RepoHistory
    working_prefix: str
    """The prefix of the working branches."""

    def prepare(self, branch: BranchPlan, ids: dict[str, str]) -> str | None:
        """The commit that the head will point at: from `ids` (old to new), or a new one on top of the branch.

        None where it could not be restored. Raises BusyError where the branch was moved since the plan was
        made.
        """
        if branch.action == "keep":
            return self._heads().get(branch.name)
        restored = branch.head if branch.action == "move" else ids.get(branch.head)
        if restored is None or branch.action != "append":
            return restored
        # read now, not taken from the plan: fetching may have taken hours, and commits may have been added
        current = self._heads().get(branch.name, "")
        new = self._on_top(branch, current, restored)
        self._check_unmoved(branch, current, new)
        return new

    def moves(self, branch: BranchPlan, new: str) -> Iterator[Pointed]:
        """The calls that move a head to what was prepared; none where it is there already.

        Raises BusyError where the branch was moved meanwhile.
        """
        heads = self._heads()
        current = heads.get(branch.name, "")
        if current == new or branch.action == "keep":
            return
        self._check_unmoved(branch, current, new)
        # before the head moves, in the same transaction: the old head is never without a branch. A branch
        # of this name that is there already has this head (see `_kept` in repo_plan)
        if branch.keep_as and branch.keep_as not in heads:
            yield self._pointed(branch.keep_as, current)
        yield self._pointed(branch.name, new)

    def set_trigger(self, branch: BranchPlan) -> None:
        """Set the trigger of a branch."""
        if branch.trigger:
            head = self._heads()[branch.name]
            self.target.point(self.repo.to_project, self.repo.to_repo, branch.name, head, branch.trigger)

    def _check_unmoved(self, branch: BranchPlan, current: str, new: str) -> None:
        if current in {new, branch.current or ""}:
            return
        # a pipeline that was created since gave the branch an empty head: nothing is lost when that is
        # replaced
        if branch.current or not holds_nothing(self.source.commit(self._ref(current))):
            raise BusyError(
                "the branch was moved while the restore ran",
                where=f"{self.repo.target}@{branch.name}",
                hint="restore again",
            )

    def _on_top(self, branch: BranchPlan, current: str, restored: str) -> str:
        """A commit on top of the branch whose tree, or chosen paths, are those of the restored commit."""
        text = commit_trailer.appended(self.plan.request_id, self.repo.source, branch.head)
        if current and self._is_ours(self.source.commit(self._ref(current)), text):
            return current
        name = f"{self.working_prefix}append-{branch.name}"
        earlier = self._heads().get(name)
        if earlier:  # by a run that died: used if complete, else made again
            commit = self.source.commit(self._ref(earlier))
            # it cannot be cleared any more, and is complete or failed once it is finished
            if commit.is_finishing:
                commit = self.source.commit(self._ref(earlier), wait=True)
            if self._is_ours(commit, text) and commit.parent == (current or None):
                return earlier
            if commit.finished_at is None:
                self.target.clear(self._ref(earlier))
                self.target.finish(self._ref(earlier), error="abandoned by a restore that did not finish")
            self.target.delete_branch(self.repo.to_project, self.repo.to_repo, name)
        where = (self.repo.to_project, self.repo.to_repo, name)
        ref = self._ref(self.target.start(*where, parent=current or None, description=text))
        content = self._ref(restored)
        self.source.commit(content, wait=True)
        if not self.plan.paths:
            # adding a file set appends: what the parent has would be doubled
            self.target.change(ref, delete=["/"])
        else:
            replaced = self._replaced(branch, current, content)
            self.target.add_file_set(ref, self.target.make_file_set(replaced, []))
        # with paths, the restored commit has the chosen files only: its whole tree adds nothing else
        self.target.add_file_set(ref, self.source.file_set_of(content, codec.TOTAL))
        self.target.finish(ref)
        self.source.commit(ref, wait=True)
        return ref.id

    def _replaced(self, branch: BranchPlan, current: str, restored: CommitRef) -> list[str]:
        """The chosen paths that are deleted before the restored files are added.

        Files of the snapshot that the restored commit lacks are damaged: the branch keeps its own.
        """
        differing = self.source.diff(self._ref(current), restored)
        # the old side of this difference is the restored commit; a size below zero: it lacks the file
        absent = {change.path for change in differing if change.old_size < 0}
        chosen = set(changes(self.history, branch.head, None, self.plan.paths).puts["path"].to_pylist())
        wanted = Paths(tuple(self.plan.paths))
        # in the branch, and not in the snapshot: deleted, so that the chosen paths are those of the snapshot
        newer = {path for path in absent - chosen if wanted.has(path)}
        return sorted((chosen - absent) | newer)

    def _is_ours(self, commit: CommitInfo, text: str) -> bool:
        return commit.description == text and commit.finished_at is not None and not commit.error

    def _heads(self) -> dict[str, str]:
        name = RepoName(self.repo.to_project, self.repo.to_repo)
        return {branch.name: branch.head for branch in self.source.branches(name)}

    def _pointed(self, branch: str, commit: str) -> Pointed:
        return Pointed(self.repo.to_project, self.repo.to_repo, branch, commit)

    def _ref(self, commit: str) -> CommitRef:
        if not commit:
            raise PachvaultError("the branch was deleted while the restore ran", hint="restore again")
        return CommitRef(self.repo.to_project, self.repo.to_repo, commit)

"""The items of a run: which place each new commit is read from, in how many path ranges.

A commit is read from its mirror if there is one, else from its own repo. Writes the mirror.
"""

from __future__ import annotations

from collections.abc import Sequence

from pachvault.backup import base_lookup, missing_commits
from pachvault.backup.backup_messages import CommitPlace, Item, PlannedRepo
from pachvault.backup.base_lookup import SealedCommits
from pachvault.backup.freeze.backup_plan import SHARE_BYTES, head_tasks
from pachvault.backup.freeze.survey import SurveyedRepo
from pachvault.errors import PachydermError, TransientError
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Problem
from pachvault.format.problem_kinds import NOT_MIRRORED
from pachvault.mirror import BranchTask, Mirror
from pachvault.pach import codec
from pachvault.pach.records import CommitInfo
from pachvault.pach.source import CommitRef, Source


class ItemPlanner:
    """Plans the items of new commits."""

    def __init__(self, source: Source, mirror: Mirror | None, sealed: dict[RepoName, SealedCommits]) -> None:
        self._source, self._mirror, self._sealed = source, mirror, sealed

    def items(self, repo: SurveyedRepo, planned: PlannedRepo) -> tuple[list[Item], list[Problem]]:
        """The items of a repo, and a problem for each commit that could not be planned."""
        mirrored, problems = self._mirrored(repo, planned)
        items: list[Item] = []
        for commit in planned.new:
            if commit.error:
                continue
            try:
                items.extend(self._of_commit(planned, commit, mirrored))
            # here the cluster fails, not the commit: the datum is tried again
            except TransientError:
                raise
            except PachydermError as error:
                ref = CommitRef(planned.project, planned.repo, commit.id)
                kind, message = missing_commits.why(self._source, ref, planned.created_at, error)
                problems.append(Problem(repo=str(planned.name), commit=commit.id, kind=kind, message=message))
        return items, problems

    def _mirrored(
        self, repo: SurveyedRepo, planned: PlannedRepo
    ) -> tuple[dict[str, CommitRef], list[Problem]]:
        """The mirrors of the new commits, and a note for each branch without one: its source is read."""
        mirrors: dict[str, CommitRef] = {}
        notes: list[Problem] = []
        if self._mirror is None:
            return mirrors, notes
        for branch, head in head_tasks(repo, planned):
            task = BranchTask(planned.name, planned.created_at, branch, head, repo.commits)
            try:
                mirrors |= self._mirror.add(task)
            except PachydermError as error:
                message = f"not mirrored, read from the source: {error}"
                notes.append(
                    Problem(repo=str(planned.name), branch=branch, kind=NOT_MIRRORED, message=message)
                )
        return mirrors, notes

    def _of_commit(
        self, planned: PlannedRepo, commit: CommitInfo, mirrored: dict[str, CommitRef]
    ) -> list[Item]:
        here = CommitRef(planned.project, planned.repo, commit.id)
        place = mirrored.get(commit.id, here)
        base, base_place = planned.bases.get(commit.id), None
        if base:
            base_place = mirrored.get(base, CommitRef(planned.project, planned.repo, base))
        sealed = self._sealed.get(planned.name)
        chain = []
        # tables that are lost are not named: the export reads the files from the cluster then
        if base and sealed and base in sealed.commits():
            chain = base_lookup.chain_links(sealed.history, base)
        item = Item(
            project=planned.project,
            repo=planned.repo,
            commit=commit.id,
            source=_place(place),
            base=base,
            base_source=_place(base_place) if base_place else None,
            base_chain=chain,
            commit_bytes=commit.size_bytes,
            expected_bytes=commit.size_bytes,
            repo_created_at=planned.created_at,
        )
        if base_place is None:
            return _ranges(item, self._source.shards(self._source.file_set_of(place, codec.TOTAL)))
        if not self._source.has_change_sets:
            changes = self._source.diff(place, base_place)
            changed_bytes = sum(max(change.new_size, 0) for change in changes)
            item = item.model_copy(update={"expected_bytes": changed_bytes})
            if changed_bytes <= SHARE_BYTES:
                return [item]
            return _ranges(item, self._source.shards(self._source.file_set_of(place, codec.TOTAL)))
        # the change of a mirror that was made of a whole tree is that tree
        change = here if self._mirror is None or self._mirror.is_whole(place) else place
        item = item.model_copy(update={"change": _place(change)})
        # an estimate: deletions do not show here. DiffFile would be exact, and takes pachd a hundred times as
        # long on a tree of 100,000 files.
        own = self._source.file_set_of(change, codec.DIFF)
        expected = self._source.set_bytes(own)
        item = item.model_copy(update={"expected_bytes": expected})
        return _ranges(item, self._source.shards(own))


def _place(ref: CommitRef) -> CommitPlace:
    return CommitPlace(project=ref.project, repo=ref.repo, commit=ref.id)


def _ranges(item: Item, ranges: Sequence[tuple[str, str]]) -> list[Item]:
    """The item split into path ranges; the outer ones are open, so that every path is in one."""
    if len(ranges) <= 1:
        return [item]
    last = len(ranges) - 1
    return [
        item.model_copy(
            update={
                "lower": lower if number else "",
                "upper": upper if number < last else "",
                # only the seal can compare the size: it adds up the ranges of a commit
                "is_whole": False,
                "expected_bytes": item.expected_bytes // len(ranges),
            }
        )
        for number, (lower, upper) in enumerate(ranges)
    ]

"""The mirror: source commits kept in the backup repo, inside the cluster, without copies of data.

A mirror commit is made from the source commit's own change (a DIFF file set) on the mirror of its
parent, or from its whole tree (TOTAL) on a new branch. It is used only if it equals its source. A backup
never depends on the mirror: where it cannot be written or is not equal, the source itself is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pachvault.errors import PachydermError, SourceGoneError
from pachvault.format.ids import RepoName
from pachvault.pach import codec
from pachvault.pach.records import BranchInfo, CommitInfo
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT

_log = logging.getLogger(__name__)

BACKUP_REPO = "backup"
_PURPOSE = (
    "Written by pachvault, do not upload here. It mirrors source commits without copying data: a branch is "
    "PROJECT--REPO--BRANCH--(when the repo was created)."
)
_ABANDONED_AFTER = timedelta(minutes=15)
_SEPARATORS = 3
_LONGEST = 120
"""Characters of a mirror branch's name."""
_SINGLY = 32
"""New commits of a branch mirrored one by one in a run; older ones are composed into one."""


@dataclass(frozen=True, slots=True)
class BranchTask:
    """A branch to mirror: its finished head, and all commits of its repo by id."""

    repo: RepoName
    created_at: datetime
    branch: str
    head: str
    commits: dict[str, CommitInfo]

    @property
    def mirror_branch(self) -> str:
        """The branch of the backup repo that mirrors it, see `branch_of`."""
        return branch_of(self.repo, self.created_at, self.branch)


def open_mirror(source: Source, target: Target, run_id: str) -> Mirror:
    """The backup repo, created where it is missing. Raises PachydermError where that is refused."""
    target.ensure_project(HOME_PROJECT, "pachvault's own pipelines and repos")
    target.ensure_repo(HOME_PROJECT, BACKUP_REPO, _PURPOSE)
    repo = RepoName(HOME_PROJECT, BACKUP_REPO)
    return Mirror(source, target, run_id, source.branches(repo))


class Mirror:
    """The backup repo as it stood when it was opened, for one run; use `open_mirror`."""

    def __init__(self, source: Source, target: Target, run_id: str, branches: Sequence[BranchInfo]) -> None:
        self._source, self._target, self._run_id = source, target, run_id
        self._whole: set[str] = set()
        self._heads = {branch.name: branch.head for branch in branches}

    def is_whole(self, ref: CommitRef) -> bool:
        """Whether a mirror commit of this run was made of a whole tree, not of a change."""
        return ref.id in self._whole

    def add(self, task: BranchTask) -> dict[str, CommitRef]:
        """Mirror a branch's head and the commits since the last mirrored one; those that passed, by id.

        Raises PachydermError where the branch cannot be mirrored now: read the source then.
        """
        parent = self._ready_parent(task)
        chain = self._chain(task, parent)
        if chain and not self._source.has_change_sets:
            chain = None
        if parent is not None and chain is not None:
            mirrors = self._extend(task, parent, chain)
            # a squash gives a child another parent and leaves its DIFF as it was: only this notices it
            if self._is_equal(task, mirrors):
                return mirrors
            _log.info("the mirror of %s@%s differs from its source and is made again", task.repo, task.branch)
        # to delete `/` instead is slow on a large tree; without either every file doubles (decision 0004)
        if parent is not None or task.mirror_branch in self._heads:
            self._target.delete_branch(HOME_PROJECT, BACKUP_REPO, task.mirror_branch)
        mirrors = {task.head: self._commit(task, task.head, None, [], codec.TOTAL)}
        if self._is_equal(task, mirrors):
            return mirrors
        # or the next run would extend it
        self._target.delete_branch(HOME_PROJECT, BACKUP_REPO, task.mirror_branch)
        raise PachydermError("the mirror does not equal its source", where=f"{task.repo}@{task.branch}")

    def _ready_parent(self, task: BranchTask) -> CommitInfo | None:
        """The mirror branch's finished head; an open one left by a dead run is closed first."""
        head = self._heads.get(task.mirror_branch)
        if not head:
            return None
        commit = self._source.commit(_ref(head))
        if commit.finished_at is None:
            # by two clocks: where they differ a live run may lose this commit, and reads the source then
            age = abs(datetime.now(UTC) - (commit.started_at or datetime.now(UTC)))
            if (mirror_note(commit) or {}).get("run") != self._run_id and age < _ABANDONED_AFTER:
                raise PachydermError("another run is mirroring it", where=f"{task.repo}@{task.branch}")
            _log.info("mirror commit %s of %s@%s was left open and is closed", head, task.repo, task.branch)
            # how many file sets the dead run added is unknown, and one that is added twice appends twice
            self._target.clear(_ref(head))
            self._target.finish(_ref(head), error="abandoned by a run that ended before its time")
            return None
        return commit

    def _chain(self, task: BranchTask, parent: CommitInfo | None) -> list[str] | None:
        """The commits between the mirrored one and the head, oldest first; None for a fresh start."""
        last = mirror_note(parent) if parent is not None else None
        if parent is None or last is None or parent.error:
            return None
        chain: list[str] = []
        current: str | None = task.head
        while current is not None and current in task.commits:
            if current == last["commit"]:
                return chain[::-1]
            # Pachyderm leaves out failed ancestors when it reads a commit
            if not task.commits[current].error:
                chain.append(current)
            current = task.commits[current].parent
        return None

    def _extend(self, task: BranchTask, parent: CommitInfo, chain: Sequence[str]) -> dict[str, CommitRef]:
        """Mirror `chain` on `parent`: the newest one by one, what is older in one commit."""
        if not chain:  # the parent is the mirror of the head
            return {task.head: _ref(parent.id)}
        early, late = chain[:-_SINGLY], chain[-_SINGLY:]
        mirrors: dict[str, CommitRef] = {}
        groups = [[*early, late[0]], *([commit] for commit in late[1:])]
        parent_id = parent.id
        for group in groups:
            ref = self._commit(task, group[-1], parent_id, group[:-1], codec.DIFF)
            mirrors[group[-1]], parent_id = ref, ref.id
        return mirrors

    def _commit(
        self, task: BranchTask, commit: str, parent: str | None, before: Sequence[str], kind: int
    ) -> CommitRef:
        """One mirror commit: the file sets of `before` and of the commit itself, in order."""
        note = {"source": str(task.repo), "branch": task.branch, "commit": commit, "run": self._run_id}
        description = (
            f"{task.repo}@{task.branch} as of commit {commit}, mirrored by pachvault\n{json.dumps(note)}"
        )
        ref = _ref(
            self._target.start(
                HOME_PROJECT, BACKUP_REPO, task.mirror_branch, parent=parent, description=description
            )
        )
        try:
            for part in [*before, commit]:
                place = CommitRef(task.repo.project, task.repo.repo, part)
                self._target.add_file_set(ref, self._source.file_set_of(place, kind))
        except PachydermError:
            # an open head would block the next commit of the branch
            self._target.clear(ref)
            self._target.finish(ref, error="the source could not be mirrored")
            raise
        self._target.finish(ref)
        if kind == codec.TOTAL:
            self._whole.add(ref.id)
        return ref

    def _is_equal(self, task: BranchTask, mirrors: dict[str, CommitRef]) -> bool:
        """Size for each, root hash for those before the head, and no difference at all for the head.

        A whole tree on a branch of its own is one file set, the source's own: its size is enough. To
        compare it file by file takes pachd longer than all else in a freeze.
        """
        if task.head not in mirrors:
            return False
        for commit, mirror in mirrors.items():
            place = CommitRef(task.repo.project, task.repo.repo, commit)
            if self._source.commit(mirror, wait=True).size_bytes != task.commits[commit].size_bytes:
                return False
            if self.is_whole(mirror):
                continue
            # a directory's hash does not cover the names below it: a rename can leave the root hash as it was
            if commit == task.head:
                if self._source.diff(mirror, place):
                    return False
            # the root of an empty tree may be answered by NotFound
            elif task.commits[commit].size_bytes and self._source.root(mirror) != self._source.root(place):
                return False
        return True


def branch_of(repo: RepoName, created_at: datetime, branch: str) -> str:
    """The mirror's branch for a branch: readable, and free of collisions."""
    # with its time of creation: a repo that was made anew must not extend the mirror of the old one
    readable = "--".join((repo.project, repo.repo, branch, f"{created_at.astimezone(UTC):%Y%m%d-%H%M%S-%f}"))
    if readable.count("--") == _SEPARATORS and "---" not in readable and len(readable) <= _LONGEST:
        return readable
    identity = f"{repo}@{branch}@{created_at.isoformat()}"
    short = hashlib.blake2s(identity.encode(), digest_size=4).hexdigest()
    return f"{readable[: _LONGEST - len(short) - 1]}-{short}"


def mirrored(source: Source, repo: RepoName, commit: str, size_bytes: int) -> CommitRef | None:
    """The newest mirror of a commit, if the backup repo is there and holds one of its size."""
    try:
        commits = source.commits(RepoName(HOME_PROJECT, BACKUP_REPO))
    except SourceGoneError:
        return None
    for mirror in commits:
        note = mirror_note(mirror)
        is_usable = mirror.finished_at is not None and not mirror.error and mirror.size_bytes == size_bytes
        if is_usable and note is not None and (note["source"], note["commit"]) == (str(repo), commit):
            return _ref(mirror.id)
    return None


def mirrors(source: Source) -> dict[str, CommitRef]:
    """The newest mirror of each commit, by `project/repo@commit`; none where there is no backup repo."""
    try:
        commits = source.commits(RepoName(HOME_PROJECT, BACKUP_REPO))
    except SourceGoneError:
        return {}
    return {
        f"{note['source']}@{note['commit']}": _ref(mirror.id)
        for mirror in reversed(commits)
        if mirror.finished_at is not None and not mirror.error and (note := mirror_note(mirror)) is not None
    }


def _ref(commit: str) -> CommitRef:
    return CommitRef(HOME_PROJECT, BACKUP_REPO, commit)


def mirror_note(commit: CommitInfo) -> dict[str, str] | None:
    """The note in a mirror commit's description; None for a commit that is no mirror."""
    try:
        # the last line; earlier versions wrote nothing else
        note = json.loads(commit.description.rpartition("\n")[2])
    except (ValueError, RecursionError):
        return None
    if not isinstance(note, dict) or not all(
        isinstance(note.get(name), str) for name in ("source", "commit")
    ):
        return None
    return note

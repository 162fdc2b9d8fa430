"""The commits of a repo that a freeze needs. To list one takes pachd about 11 ms (docs/decisions/0011).

So a run lists from the heads of the chosen branches back to what the newest sealed record has, and takes the
rest from the record. It lists the whole repo where there is no such record, where what it lists does not fit
the record (a commit was squashed or dropped), where file tables are lost, and once in a while, to notice
squashes and edited metadata far back. The newest commits of a repo are always listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from pachvault.backup.base_lookup import SealedCommits
from pachvault.backup.freeze.commit_selection import chosen_commits, finished_head, usable_base
from pachvault.errors import SourceGoneError
from pachvault.format.ids import RepoName
from pachvault.pach.records import BranchInfo, CommitInfo, RepoInfo
from pachvault.pach.source import CommitRef, Source
from pachvault.policy import History

WHOLE_LISTING_AFTER = timedelta(days=7)
"""A repo whose commits were all listed so long ago is listed as a whole again."""
WHOLE_LISTING_COMMITS = 5_000
"""About how many commits a run lists for that reason, in a minute. The other repos wait for later runs."""
_FIRST_PAGE, _LARGEST_PAGE = 8, 1024


class HistoryChangedError(Exception):
    """The cluster's commits do not fit the sealed record."""


class CommitHistory:
    """The commits of one repo, as far as they were asked for; a mapping from ids for `commit_selection`."""

    def __init__(
        self, source: Source, repo: RepoName, sealed: Mapping[str, CommitInfo], stored: Set[str]
    ) -> None:
        """`sealed`: the commits that the sealed record lists; `stored`: those whose files the vault has."""
        self.commits: dict[str, CommitInfo] = {}
        """Those that were asked for or listed."""
        self._source, self._repo, self._sealed, self._stored = source, repo, sealed, stored
        self._listed: set[str] = set()
        self._page_size = _FIRST_PAGE

    def get(self, commit_id: str) -> CommitInfo:
        """A commit of the record, or one that is listed now, with ancestors.

        Raises HistoryChangedError where it is gone.
        """
        if commit_id not in self.commits:
            if commit_id in self._sealed:
                self.commits[commit_id] = self._sealed[commit_id]
            else:
                self._list(commit_id)
        return self.commits[commit_id]

    def meet(self, head: str) -> None:
        """List from a head back to the first stored commit, or to the root.

        That one is listed, too: it may become the base of a delta, so its size must be the cluster's.
        """
        current: str | None = None if head in self._sealed else head
        while current is not None and current not in self._listed:
            page = self._list(current)
            # a failed commit is no base
            if any(commit.id in self._stored and not commit.error for commit in page):
                return
            current = page[-1].parent

    def check_newest(self) -> None:
        """List the newest commits unless a head was listed: the likeliest to be squashed or edited."""
        if self.commits and not self._listed:
            self._list(max(self.commits.values(), key=lambda commit: (str(commit.started_at), commit.id)).id)

    def look_up(self, commit_id: str) -> None:
        """Ask the cluster for a commit that may be gone: it is in `commits` afterwards, or it is gone."""
        if commit_id not in self._listed:
            try:
                commit = self._source.commit(CommitRef(self._repo.project, self._repo.repo, commit_id))
            except SourceGoneError:
                return
            self.commits[commit_id] = commit
            self._listed.add(commit_id)

    def _list(self, commit_id: str) -> list[CommitInfo]:
        ref = CommitRef(self._repo.project, self._repo.repo, commit_id)
        try:
            page = self._source.ancestry(ref, self._page_size)
        except SourceGoneError as error:
            raise HistoryChangedError from error
        if not page or page[0].id != commit_id:
            raise HistoryChangedError
        self._page_size = min(2 * self._page_size, _LARGEST_PAGE)
        for commit in page:
            sealed = self._sealed.get(commit.id)
            if sealed is not None and sealed.parent != commit.parent:
                raise HistoryChangedError
            self.commits[commit.id] = commit
            self._listed.add(commit.id)
        return page


class RepoCommits:
    """Finds the commits of one repo in two steps: `meet_heads`, then `complete`.

    Both raise SourceGoneError where the repo was deleted.
    """

    def __init__(
        self,
        source: Source,
        repo: RepoName,
        branches: Sequence[BranchInfo],
        history: History,
        records: UsableRecords,
    ) -> None:
        self._source, self._repo, self._history, self._branches = source, repo, history, branches
        self._sealed = records.by_repo.get(repo)
        self._is_due = repo in records.due
        self._stored = self._sealed.commits() if self._sealed else set()
        listed = self._sealed.listed() if self._sealed and not self._is_due else {}
        self._walked = CommitHistory(source, repo, listed, self._stored)
        self._is_whole = False

    @property
    def commits(self) -> dict[str, CommitInfo]:
        """The commits found so far, by id."""
        return self._walked.commits

    def listed_at(self, now: datetime) -> datetime | None:
        """When all commits were last listed: now, or in an earlier run whose record was used."""
        return now if self._is_whole or self._sealed is None else self._sealed.history_listed_at

    def meet_heads(self) -> None:
        """Find the heads, and the commits since the sealed ones."""
        has_bounds = self._history.newest is not None or self._history.within is not None
        if self._is_due or (self._sealed is None and not has_bounds):
            self._list_whole()
            return
        try:
            for branch in self._branches:
                if branch.head:
                    if self._sealed is not None:
                        self._walked.meet(branch.head)
                    self._walked.get(branch.head)
            self._walked.check_newest()
        except HistoryChangedError:
            self._list_whole()

    def complete(self, now: datetime) -> None:
        """Find all commits that the policy chooses; `now` as `chosen_commits` takes it."""
        if self._is_whole:
            return
        try:
            heads = [finished_head(self._walked, branch.head) for branch in self._branches]
            chosen_commits(self._walked, [head for head in heads if head], self._history, now)
        except HistoryChangedError:
            self._list_whole()
        else:
            self._look_up_bases()

    def _look_up_bases(self) -> None:
        """Ask for the sealed head of each branch that has a new head without a stored ancestor.

        It is no ancestor of the new one, but a delta may build on it if the cluster still has it.
        """
        record = self._sealed.history.record if self._sealed else None
        sealed_heads = {branch.name: branch.head for branch in record.branches} if record else {}
        for branch in self._branches:
            commit, sealed_head = self.commits.get(branch.head), sealed_heads.get(branch.name)
            if commit is None or sealed_head is None or commit.id in self._stored:
                continue
            if usable_base(commit, self.commits, self._stored, None) is None:
                self._walked.look_up(sealed_head)

    def _list_whole(self) -> None:
        commits = {commit.id: commit for commit in self._source.commits(self._repo)}
        self._walked.commits.clear()
        self._walked.commits.update(commits)
        self._is_whole = True


@dataclass(frozen=True, slots=True)
class UsableRecords:
    """The sealed records that fit the repos of a cluster."""

    by_repo: dict[RepoName, SealedCommits]
    due: set[RepoName]
    """Those whose commits are to be listed as a whole in this run."""


def usable_records(
    repos: Iterable[RepoInfo], sealed: Mapping[RepoName, SealedCommits], now: datetime
) -> UsableRecords:
    """The records of the repos, and which of them are due."""
    by_repo = {
        repo.name: record
        for repo in repos
        if (record := sealed.get(repo.name)) is not None
        # deleted and created again: another repo of the same name
        and record.history.record.created_at == repo.created_at
    }
    # a lost commit is exported again, if the cluster still has it
    due = {name for name, record in by_repo.items() if record.lost}
    left = WHOLE_LISTING_COMMITS
    for name, record in sorted(by_repo.items(), key=lambda item: (str(item[1].history_listed_at), item[0])):
        listed_at = record.history_listed_at
        is_recent = listed_at is not None and timedelta() <= now - listed_at < WHOLE_LISTING_AFTER
        count = record.history.commits.num_rows
        # one in each run, however large it is
        if not is_recent and (count <= left or left == WHOLE_LISTING_COMMITS):
            due.add(name)
            left -= count
    return UsableRecords(by_repo, due)

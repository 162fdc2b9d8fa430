"""The plan of a backup: the frozen commits minus those that sealed snapshots reach. Reads the vault only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pachvault.backup.backup_messages import ExportShare, Item, PlannedRepo
from pachvault.backup.base_lookup import SealedCommits
from pachvault.backup.freeze.commit_selection import (
    chosen_commits,
    finished_head,
    unfinished,
    usable_base,
)
from pachvault.backup.freeze.survey import SurveyedRepo
from pachvault.format import table
from pachvault.format.records import Branch, Unfinished
from pachvault.pach.records import CommitInfo
from pachvault.policy import History
from pachvault.vault.repo_history import RepoHistory

# about what pachd makes one range of a large commit (docs/decisions/0003)
SHARE_BYTES = 1_000_000_000
SHARE_ITEMS = 200


def plan_repo(
    repo: SurveyedRepo,
    history: History,
    sealed: SealedCommits | None,
    now: datetime,
    doubtful: frozenset[str] = frozenset(),
) -> PlannedRepo:
    """The plan of a repo: what the snapshot records of it, and which of its commits are exported.

    `doubtful` are commits that the run before could not read: they are tried again, but no delta builds
    on them.
    """
    if sealed is not None and sealed.history.record.created_at != repo.info.created_at:
        sealed = None  # deleted and created again: another repo of the same name
    heads = {branch.name: finished_head(repo.commits, branch.head) for branch in repo.branches}
    chosen = chosen_commits(repo.commits, [head for head in heads.values() if head], history, now)
    stored = sealed.commits() if sealed else set()
    new = [
        replace(commit, size_bytes=0) if commit.error else commit  # a failed commit has no rows
        for commit in chosen
        if commit.id not in stored
    ]
    available = stored | {commit.id for commit in new} - doubtful
    branches = [
        Branch(
            name=branch.name,
            head=heads[branch.name],
            missing=branch.head if branch.head and branch.head not in repo.commits else None,
            unfinished=_unfinished(unfinished(repo.commits, branch.head)),
            provenance=list(branch.provenance),
            trigger=branch.trigger,
            metadata=dict(branch.metadata),
            created_by=branch.created_by,
        )
        for branch in repo.branches
    ]
    previous = sealed.history.record if sealed else None
    parents = {commit.id: commit.parent for commit in chosen}
    # format 7.2.5: metadata of a sealed commit may have been edited since; a new commit carries its own
    commit_metadata = {
        commit.id: dict(commit.metadata) for commit in chosen if commit.metadata and commit.id in stored
    }
    is_unchanged = (
        not new
        and previous is not None
        and sealed is not None
        and previous.branches == branches
        and previous.description == repo.info.description
        and previous.output_of == repo.output_of
        and previous.metadata == repo.info.metadata
        and previous.roles == repo.roles
        and _listed(sealed.history) == parents
        and _metadata(sealed.history) == commit_metadata
    )
    return PlannedRepo(
        project=repo.info.name.project,
        repo=repo.info.name.repo,
        created_at=repo.info.created_at,
        description=repo.info.description,
        output_of=repo.output_of,
        branches=branches,
        metadata=dict(repo.info.metadata),
        roles=repo.roles,
        previous=sealed.digest if sealed else None,
        is_unchanged=is_unchanged,
        # seal keeps an unchanged record as it is and needs neither of the two
        parents={} if is_unchanged else parents,
        commit_metadata={} if is_unchanged else commit_metadata,
        new=new,
        bases={commit.id: base for commit in new if (base := _base(commit, repo, available, sealed))},
        history_listed_at=repo.history_listed_at,
    )


def head_tasks(repo: SurveyedRepo, planned: PlannedRepo) -> list[tuple[str, str]]:
    """The branches (name, head) whose heads are not sealed yet and did not fail."""
    new = {commit.id for commit in planned.new}
    return [
        (branch.name, branch.head)
        for branch in planned.branches
        if branch.head in new and not repo.commits[branch.head].error
    ]


def split(items: Sequence[Item], run_id: str, template: ExportShare) -> list[ExportShare]:
    """Items in shares of about SHARE_BYTES, at least one share, empty if need be."""
    groups: list[list[Item]] = [[]]
    size = 0
    for item in items:
        if groups[-1] and (size + item.expected_bytes > SHARE_BYTES or len(groups[-1]) >= SHARE_ITEMS):
            groups.append([])
            size = 0
        groups[-1].append(item)
        size += item.expected_bytes
    return [
        template.model_copy(update={"run_id": run_id, "number": number, "items": group})
        for number, group in enumerate(groups)
    ]


def _unfinished(open_commits: Sequence[CommitInfo]) -> Unfinished | None:
    """The record of unfinished commits, which are given newest first."""
    if not open_commits:
        return None
    return Unfinished(
        count=len(open_commits),
        head=open_commits[0].id,
        first=open_commits[-1].id,
        since=open_commits[-1].started_at,
    )


def _listed(history: RepoHistory) -> dict[str, str | None]:
    commits = history.commits.filter(history.commits["listed"])
    return dict(zip(commits["commit"].to_pylist(), commits["parent"].to_pylist(), strict=True))


def _metadata(history: RepoHistory) -> dict[str, dict[str, str]]:
    """Of the listed commits that have some."""
    commits = history.commits.filter(history.commits["listed"]).select(["commit", "metadata"])
    rows = commits.filter(commits["metadata"].is_valid()).to_pylist()
    return {row["commit"]: table.decode_metadata(row["metadata"]) for row in rows}


def _base(
    commit: CommitInfo, repo: SurveyedRepo, available: set[str], sealed: SealedCommits | None
) -> str | None:
    """The commit that a new one is stored as a delta on; None where all of it is stored."""
    if commit.error:
        return None
    if sealed is None:
        return usable_base(commit, repo.commits, available, None)
    base = usable_base(commit, repo.commits, available, _sealed_head(commit, repo, available, sealed))
    # a base that this run exports, too, is checked by the seal: without its row the delta is left out
    if base is None or base not in sealed.history.by_id or base in sealed.lost:
        return base
    return base if sealed.can_be_base(base, repo.commits.get(base)) else None


def _sealed_head(
    commit: CommitInfo, repo: SurveyedRepo, available: set[str], sealed: SealedCommits
) -> str | None:
    """The sealed head of a branch that the commit is the head of now, if the cluster still has that one."""
    sealed_heads = {branch.name: branch.head for branch in sealed.history.record.branches}
    for branch in repo.branches:
        head = sealed_heads.get(branch.name)
        # one that is lost is exported again: it may be this very commit, or become a delta on it
        is_usable = head in repo.commits and head in available and head not in sealed.lost
        if branch.head == commit.id and is_usable:
            return head
    return None

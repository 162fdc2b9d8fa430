"""Compares the branches of a snapshot with those of the cluster. What differs is a change, not damage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pachvault.errors import SourceGoneError
from pachvault.format.ids import RepoName
from pachvault.format.records import Branch
from pachvault.maintenance.verify.findings import Finding, Severity
from pachvault.pach.records import CommitInfo
from pachvault.pach.source import Source


@dataclass(frozen=True, slots=True)
class HeadComparison:
    """The heads of one repo of a snapshot, compared with the cluster's."""

    present: list[str]
    """Commits that were heads at the freeze and that the cluster still has."""
    findings: list[Finding]
    unchanged: int
    """How many branches have the same head."""


def compare_heads(
    source: Source, snapshot: str, repo: RepoName, branches: list[Branch], *, is_there: bool
) -> HeadComparison:
    """Compare the branches of a snapshot's repo with those of the cluster."""
    saved_heads = {branch.name: branch.head for branch in branches if branch.head}
    if not is_there:
        message = "the cluster has no such repo, or this user may not see it"
        return HeadComparison([], [_change("repo-deleted", snapshot, repo, str(repo), message)], 0)
    try:
        live_heads = {branch.name: branch.head for branch in source.branches(repo)}
        commits = {commit.id: commit for commit in source.commits(repo)}
    except SourceGoneError:
        return HeadComparison(
            [],
            [
                _change(
                    "repo-deleted", snapshot, repo, str(repo), "the repo was deleted during the comparison"
                )
            ],
            0,
        )
    findings = []
    for name, head in saved_heads.items():
        where = f"{repo}@{name}"
        if name not in live_heads:
            findings.append(_change("branch-deleted", snapshot, repo, where, f"its head was {head}"))
        elif head not in commits:
            findings.append(_change("branch-rewritten", snapshot, repo, where, f"commit {head} is gone"))
        elif live_heads[name] != head:
            findings.append(_moved(snapshot, repo, where, head, live_heads[name], commits))
    present = [head for head in dict.fromkeys(saved_heads.values()) if head in commits]
    return HeadComparison(present, findings, len(saved_heads) - len(findings))


def _moved(
    snapshot: str, repo: RepoName, where: str, head: str, live_head: str, commits: dict[str, CommitInfo]
) -> Finding:
    history = list(_ancestors(live_head, commits))
    if head in history:
        message = f"{history.index(head)} commits newer"
        return _change("branch-moved-on", snapshot, repo, where, message)
    message = f"its head is {live_head or 'no commit'}, which is not a descendant of {head}"
    return _change("branch-rewritten", snapshot, repo, where, message)


def _ancestors(commit: str, commits: dict[str, CommitInfo]) -> Iterator[str]:
    """A commit, its parent, and so on."""
    current: str | None = commit
    # commits may be squashed or dropped between the two listings: then the chain ends there
    while current is not None and current in commits:
        yield current
        current = commits[current].parent


def _change(kind: str, snapshot: str, repo: RepoName, where: str, message: str) -> Finding:
    return Finding(
        kind=kind,
        severity=Severity.CHANGE,
        object=where,
        message=message,
        snapshots=(snapshot,),
        repos=(str(repo),),
    )

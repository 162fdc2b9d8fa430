"""What became of a snapshot's branches in the cluster: change, as sources do, not damage."""

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
    """The heads of one repo of a snapshot."""

    present: list[str]
    """The commits that the cluster still has."""
    findings: list[Finding]
    unchanged: int


def compare_heads(
    source: Source, snapshot: str, repo: RepoName, branches: list[Branch], *, is_there: bool
) -> HeadComparison:
    """Compare the branches of a snapshot's repo with those of the cluster."""
    saved = {branch.name: branch.head for branch in branches if branch.head}
    if not is_there:
        message = "the cluster has no such repo, or it may not be seen"
        return HeadComparison([], [_change("repo-deleted", snapshot, repo, str(repo), message)], 0)
    try:
        now = {branch.name: branch.head for branch in source.branches(repo)}
        commits = {commit.id: commit for commit in source.commits(repo)}
    except SourceGoneError:
        return HeadComparison(
            [], [_change("repo-deleted", snapshot, repo, str(repo), "the repo was just deleted")], 0
        )
    findings = []
    for name, head in saved.items():
        place = f"{repo}@{name}"
        if name not in now:
            findings.append(_change("branch-deleted", snapshot, repo, place, f"its head was {head}"))
        elif head not in commits:
            findings.append(_change("branch-rewritten", snapshot, repo, place, f"commit {head} is gone"))
        elif now[name] != head:
            findings.append(_moved(snapshot, repo, place, head, now[name], commits))
    present = [head for head in dict.fromkeys(saved.values()) if head in commits]
    return HeadComparison(present, findings, len(saved) - len(findings))


def _moved(
    snapshot: str, repo: RepoName, place: str, head: str, now: str, commits: dict[str, CommitInfo]
) -> Finding:
    newer = list(_ancestors(now, commits))
    if head in newer:
        message = f"{newer.index(head)} commits newer"
        return _change("branch-moved-on", snapshot, repo, place, message)
    message = f"it stands at {now or 'no commit'}, which does not come from {head}"
    return _change("branch-rewritten", snapshot, repo, place, message)


def _ancestors(commit: str, commits: dict[str, CommitInfo]) -> Iterator[str]:
    current: str | None = commit
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

"""The plan of one repo: its commits in order, from where they come, and what becomes of its branches.

Reads the cluster, changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pachvault.errors import BusyError, SourceGoneError, UsageError
from pachvault.format.documents import Branch
from pachvault.format.ids import RepoName
from pachvault.mirror import mirrored
from pachvault.pach.records import CommitInfo
from pachvault.pach.source import CommitRef, Source
from pachvault.request import Request
from pachvault.restore import commit_trailer
from pachvault.restore.apply.branch_heads import holds_nothing
from pachvault.restore.plan.commit_order import Rows, line, newest_in, rows_of, steps_to
from pachvault.restore.plan.fetch_shares import RepoToRestore
from pachvault.restore.restore_messages import BranchPlan, CommitStep, RepoPlan
from pachvault.vault.snapshots import RepoHistory


@dataclass(frozen=True, slots=True)
class TargetCluster:
    """The cluster to restore into, as it is now."""

    source: Source
    projects: Collection[str]
    repos: Collection[RepoName]
    outputs: Collection[RepoName]
    """What its pipelines write."""
    is_taken_up: bool
    """Whether an interrupted run of the request has moved heads: what it put there is not in the way."""

    @classmethod
    def of(cls, source: Source, *, is_taken_up: bool = False) -> TargetCluster:
        outputs = {RepoName(each.project, each.name) for each in source.pipelines()}
        projects = {each.name for each in source.projects()}
        return cls(source, projects, {repo.name for repo in source.repos()}, outputs, is_taken_up)


def repo_plan(
    request: Request,
    cluster: TargetCluster,
    history: RepoHistory,
    chosen: Sequence[Branch],
    target: RepoName,
    record: bytes,
    *,
    is_erased: bool,
) -> RepoToRestore:
    """The plan of a repo, of which these branches are to be restored into `target`.

    `is_erased`: the vault may have less of a commit than the cluster, for files were erased from it.

    Raises UsageError where something is in the way and the request does not say what to do about it,
    BusyError where that is still open.
    """
    if request.to.branch and len(chosen) > 1:
        raise UsageError(
            f"{len(chosen)} branches of {history.name} would be restored into one",
            hint="request them one by one",
        )
    source, is_there = cluster.source, target in cluster.repos
    rows = rows_of(history)
    heads = {each.name: newest_in(rows, str(each.head), request.history) for each in chosen}
    branches = source.branches(target) if is_there else []
    now = {each.name: each.head for each in branches if each.head}
    there = source.commits(target) if is_there else []
    mine = commit_trailer.restored(there, request.id, history.name, branches)
    moves = is_there and _movable(request, source, history, heads.values(), target, is_erased=is_erased)
    plans = []
    for branch in chosen:
        head = heads[branch.name]
        # a head that this very request has put there is not in its way: the restore is taken up again
        settled = head if moves else mine[head].id if head in mine else ""
        name = request.to.branch or branch.name
        if cluster.is_taken_up and _has_more_on_top(request, history, there, head, now.get(name), settled):
            plans.append(_kept_branch(branch, name, head, now[name]))
        else:
            plans.append(_branch(request, source, branch, head, target, now, settled))
    if moves:
        plans = [
            branch if branch.action == "keep" else branch.model_copy(update={"action": "move"})
            for branch in plans
        ]
    steps = [] if moves else _steps(request, rows, plans)
    plan = RepoPlan(
        record=record,
        project=history.name.project,
        repo=history.name.repo,
        to_project=target.project,
        to_repo=target.repo,
        description=history.record.description,
        is_new=not is_there,
        origin="source" if moves else _origin(request, source, history, steps),
        steps=steps,
        branches=plans,
    )
    return RepoToRestore(plan, history, {old for old, commit in mine.items() if _is_done(commit, rows, old)})


def _has_more_on_top(
    request: Request,
    history: RepoHistory,
    there: Sequence[CommitInfo],
    head: str,
    current: str | None,
    settled: str,
) -> bool:
    """Whether a branch that this request has moved has newer commits on top."""
    text = commit_trailer.appended(request.id, history.name, head) if request.exists == "append" else None
    commits = {commit.id: commit for commit in there}
    below = commits[current].parent if current in commits else None
    while below in commits:
        is_appended = text is not None and commits[below].description == text
        if is_appended or (text is None and below == settled):
            return True
        below = commits[below].parent
    return False


def _kept_branch(branch: Branch, name: str, head: str, current: str) -> BranchPlan:
    return BranchPlan(
        source=branch.name, name=name, head=head, action="keep", trigger=branch.trigger, current=current
    )


def _is_done(commit: CommitInfo, rows: Rows, old: str) -> bool:
    return commit.finished_at is not None and (not commit.error or (old in rows and bool(rows[old]["error"])))


def _branch(
    request: Request,
    source: Source,
    branch: Branch,
    head: str,
    target: RepoName,
    now: Mapping[str, str],
    settled: str,
) -> BranchPlan:
    """What becomes of a branch; `settled` is the head that it has once it is restored, where there is one."""
    name = request.to.branch or branch.name
    current = now.get(name)
    plan = BranchPlan(
        source=branch.name, name=name, head=head, action="create", trigger=branch.trigger, current=current
    )
    if not current or current == settled:
        return plan
    there = source.commit(CommitRef(target.project, target.repo, current))
    if holds_nothing(there):
        return plan.model_copy(update={"current": None})
    if request.exists == "fail":
        raise UsageError(
            f"branch {target}@{name} exists", hint="exists: append or replace, or another name with `to`"
        )
    if there.finished_at is None and not there.is_finishing:
        raise BusyError(f"branch {target}@{name} has an open commit", hint="finish it first")
    keep_as = _kept(name, current, now) if request.exists == "replace" else None
    if request.paths:  # they go on top of what is there, which stays, its trigger too
        return plan.model_copy(update={"action": "append", "keep_as": keep_as, "trigger": None})
    return plan.model_copy(update={"action": request.exists, "keep_as": keep_as})


def _kept(name: str, head: str, now: Mapping[str, str]) -> str:
    """Under which name a head that is replaced goes on; the one it has been given already, if any."""
    for other, its_head in now.items():
        if its_head == head and other.startswith(f"{name}-before-"):
            return other
    wanted = plain = f"{name}-before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    number = 1
    while wanted in now:
        number += 1
        wanted = f"{plain}-{number}"
    return wanted


def _steps(request: Request, rows: Rows, plans: Sequence[BranchPlan]) -> list[CommitStep]:
    """The commits to replay; what is put on top of a branch is one commit, whatever its history."""
    wanted: set[str] = set()
    for plan in plans:
        is_one = plan.action == "append" or (plan.action == "keep" and request.exists == "append")
        wanted |= {plan.head} if is_one else line(rows, plan.head, request.history)
    return steps_to(rows, wanted)


def _movable(
    request: Request,
    source: Source,
    history: RepoHistory,
    heads: Collection[str],
    target: RepoName,
    *,
    is_erased: bool,
) -> bool:
    """Whether the repo itself still has every commit: then heads are moved, and ids survive."""
    if request.source == "vault" or request.paths or target != history.name or request.exists == "append":
        return False
    for head in heads:
        try:
            commit = source.commit(CommitRef(target.project, target.repo, head))
        except SourceGoneError:
            return False
        if commit.size_bytes != history.size_of(head) and not is_erased:
            return False
    return True


def _origin(
    request: Request, source: Source, history: RepoHistory, steps: Sequence[CommitStep]
) -> Literal["backup", "vault"]:
    """`backup` where the mirror holds the one commit that is wanted, else `vault`."""
    if request.source == "vault" or request.paths:
        return "vault"
    held = (
        len(steps) == 1
        and not steps[0].old.error
        and mirrored(source, history.name, steps[0].old.id, steps[0].old.size_bytes)
    )
    if held:
        return "backup"
    if request.source == "backup":
        raise UsageError(
            f"the backup repo does not hold what is wanted of {history.name}", hint="from: vault"
        )
    return "vault"

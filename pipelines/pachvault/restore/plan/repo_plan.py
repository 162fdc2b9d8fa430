"""The plan of one repo: its commits in order, their origin, and the action for each branch.

Reads the cluster, changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pachvault.errors import BusyError, SourceGoneError, UsageError
from pachvault.format.ids import RepoName
from pachvault.format.records import Branch
from pachvault.mirror import mirrored
from pachvault.pach.records import CommitInfo
from pachvault.pach.source import CommitRef, Source
from pachvault.request import Request
from pachvault.restore import commit_trailer
from pachvault.restore.plan.commit_order import Rows, line, newest_in, rows_of, steps_to
from pachvault.restore.plan.fetch_shares import RepoToRestore
from pachvault.restore.restore_messages import BranchPlan, CommitStep, RepoPlan
from pachvault.restore.working_branches import holds_nothing
from pachvault.vault.repo_history import RepoHistory


@dataclass(frozen=True, slots=True)
class TargetCluster:
    """The cluster to restore into, as it is when the plan is made."""

    source: Source
    projects: Collection[str]
    repos: Collection[RepoName]
    outputs: Collection[RepoName]
    """The repos that its pipelines write."""
    is_resumed: bool
    """Whether an interrupted run of the request has moved heads: they are not in the way."""

    @classmethod
    def of(cls, source: Source, *, is_resumed: bool = False) -> TargetCluster:
        outputs = {RepoName(pipeline.project, pipeline.name) for pipeline in source.pipelines()}
        projects = {project.name for project in source.projects()}
        return cls(source, projects, {repo.name for repo in source.repos()}, outputs, is_resumed)


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

    `is_erased`: files were erased from the snapshot, so the vault may have less of a commit than the cluster.

    Raises UsageError where a branch exists and the request does not allow to change it, BusyError where its
    head is an open commit.
    """
    if request.to.branch and len(chosen) > 1:
        raise UsageError(
            f"{len(chosen)} branches of {history.name} would be restored into one",
            hint="request them one by one",
        )
    source, is_there = cluster.source, target in cluster.repos
    rows = rows_of(history)
    heads = {branch.name: newest_in(rows, str(branch.head), request.history) for branch in chosen}
    branches = source.branches(target) if is_there else []
    heads_now = {branch.name: branch.head for branch in branches if branch.head}
    commits_there = source.commits(target) if is_there else []
    restored = commit_trailer.restored(commits_there, request.id, history.name, branches)
    # the cheapest way first: no data is moved, and the commits keep their ids
    moves = is_there and _movable(request, source, history, heads.values(), target, is_erased=is_erased)
    plans = []
    for branch in chosen:
        head = heads[branch.name]
        # a head that an earlier run of this request moved is not in the way: this run continues with it
        settled = head if moves else restored[head].id if head in restored else ""
        name = request.to.branch or branch.name
        current = heads_now.get(name)
        if cluster.is_resumed and _has_more_on_top(request, history, commits_there, head, current, settled):
            plans.append(_kept_branch(branch, name, head, heads_now[name]))
        else:
            plans.append(_branch(request, source, branch, head, target, heads_now, settled))
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
    return RepoToRestore(
        plan, history, {old for old, commit in restored.items() if _is_done(commit, rows, old)}
    )


def _has_more_on_top(
    request: Request,
    history: RepoHistory,
    commits_there: Sequence[CommitInfo],
    head: str,
    current: str | None,
    settled: str,
) -> bool:
    """Whether a branch that this request has moved has newer commits on top."""
    text = commit_trailer.appended(request.id, history.name, head) if request.exists == "append" else None
    commits = {commit.id: commit for commit in commits_there}
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
    heads_now: Mapping[str, str],
    settled: str,
) -> BranchPlan:
    """The action for a branch. `settled` is the head that it has once it is restored; empty if not known."""
    name = request.to.branch or branch.name
    current = heads_now.get(name)
    plan = BranchPlan(
        source=branch.name, name=name, head=head, action="create", trigger=branch.trigger, current=current
    )
    if not current or current == settled:
        return plan
    head_there = source.commit(CommitRef(target.project, target.repo, current))
    if holds_nothing(head_there):
        # as if there were no branch: an empty head may be replaced, and is not worth keeping
        return plan.model_copy(update={"current": None})
    if request.exists == "fail":
        raise UsageError(
            f"branch {target}@{name} exists", hint="exists: append or replace, or another name with `to`"
        )
    if head_there.finished_at is None and not head_there.is_finishing:
        raise BusyError(f"branch {target}@{name} has an open commit", hint="finish it first")
    keep_as = _kept(name, current, heads_now) if request.exists == "replace" else None
    if request.paths:  # the files go on top of the branch, which keeps its trigger
        return plan.model_copy(update={"action": "append", "keep_as": keep_as, "trigger": None})
    return plan.model_copy(update={"action": request.exists, "keep_as": keep_as})


def _kept(name: str, head: str, heads_now: Mapping[str, str]) -> str:
    """The name of the branch that keeps a replaced head: the one that has it already, if any."""
    # a request that is planned again must not make a second one: the name has the time
    for other, its_head in heads_now.items():
        if its_head == head and other.startswith(f"{name}-before-"):
            return other
    wanted = plain = f"{name}-before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    number = 1
    while wanted in heads_now:
        number += 1
        wanted = f"{plain}-{number}"
    return wanted


def _steps(request: Request, rows: Rows, plans: Sequence[BranchPlan]) -> list[CommitStep]:
    """The commits to replay. On top of a branch goes one commit, whatever its history."""
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
    """Whether the repo itself still has every commit: then heads are moved, and commits keep their ids."""
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
    """`backup` where one commit is wanted and has a mirror, else `vault`."""
    if request.source == "vault" or request.paths:
        return "vault"
    is_mirrored = (
        len(steps) == 1
        and not steps[0].old.error
        and mirrored(source, history.name, steps[0].old.id, steps[0].old.size_bytes)
    )
    if is_mirrored:
        return "backup"
    if request.source == "backup":
        raise UsageError(
            f"the backup repo does not hold the wanted commit of {history.name}", hint="from: vault"
        )
    return "vault"

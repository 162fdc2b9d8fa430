"""From a request to a plan: which commits, in what order, from where, and what is in the way.

Reads the vault and the target cluster; changes nothing. Printing the plan is the dry run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Literal

from pachvault.errors import DamageError, SourceGoneError, UsageError
from pachvault.format.documents import Branch
from pachvault.format.ids import RepoName
from pachvault.mirror import mirrored
from pachvault.pach.records import BranchInfo
from pachvault.pach.source import CommitRef, Source
from pachvault.request import Extent, Request, When
from pachvault.restore import definitions, journal
from pachvault.restore.changes import changes, ranges
from pachvault.restore.work import BranchPlan, FetchShare, Part, RepoPlan, RestorePlan, Step
from pachvault.vault import snapshots
from pachvault.vault.snapshots import RepoHistory, Snapshot
from pachvault.vault.vault import Vault

PART_BYTES = 256_000_000
"""A change larger than this is staged in parts by fetch workers; a smaller one is written by replay."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A plan and the work of the fetch stage."""

    plan: RestorePlan
    shares: list[FetchShare]


def resolve(request: Request, vault: Vault, source: Source) -> Resolved:
    """The plan of a request against the cluster that `source` reads.

    Raises UsageError where the request matches nothing, or where something is in the way and the
    request does not say what to do about it.
    """
    snapshot = _snapshot(vault, request.snapshot)
    existing = {repo.name: repo for repo in source.repos()}
    outputs = {RepoName(each.project, each.name) for each in source.pipelines()}
    repos = []
    unmatched = set(request.what)
    for entry, history in snapshot.repos():
        name = RepoName(entry.project, entry.repo)
        chosen = _branches(history, request, unmatched)
        if not chosen:
            continue
        target = RepoName(request.to.project or name.project, request.to.repo or name.repo)
        if history.record.output_of and request.outputs == "recompute" and target == name:
            if _by_name(request.what, name) and not request.pipelines:
                raise UsageError(
                    f"{name} is written by pipeline {history.record.output_of}",
                    hint="restore the pipeline to have it recomputed, or name another repo with `to`",
                )
            continue
        if target in outputs:
            raise UsageError(
                f"{target} is written by a pipeline of the cluster", hint="name another repo with `to`"
            )
        branches = source.branches(target) if target in existing else []
        repos.append(
            _repo(request, source, history, chosen, target, target in existing, branches, entry.record)
        )
    if unmatched:
        raise UsageError(
            f"nothing in snapshot {snapshot.short_id} matches {sorted(unmatched)[0]!r}",
            hint="`pachvault show` lists what there is",
        )
    if len({repo.target for repo in repos}) < len(repos):
        raise UsageError("several repos would be restored into one", hint="request them one by one")
    known = vault.pipelines_record(snapshot.manifest.pipelines).pipelines
    resolved = _with_shares(request, vault, snapshot, repos)
    pipelines = definitions.choose(request, known, source)
    return replace(resolved, plan=resolved.plan.model_copy(update={"pipelines": pipelines}))


def _snapshot(vault: Vault, when: When) -> Snapshot:
    if when.at is None:
        return snapshots.resolve(vault, when.id or "latest")
    for name in reversed(snapshots.names(vault)):
        if name.frozen_at <= when.at:
            return snapshots.load(vault, name)
    raise UsageError(
        f"no snapshot was frozen at or before {when.at:%Y-%m-%d %H:%M} UTC", where=vault.store.url
    )


def _branches(history: RepoHistory, request: Request, unmatched: set[str]) -> list[Branch]:
    """The branches, or commits as branches of the name that is asked for, that the request means."""
    found: dict[str, Branch] = {}
    name = history.name
    for pattern in request.what:
        repo, _, reference = pattern.partition("@")
        if not fnmatchcase(str(name), repo):
            continue
        hits = [
            branch
            for branch in history.record.branches
            if branch.head is not None and fnmatchcase(branch.name, reference or "*")
        ]
        if not hits and reference and not any(sign in reference for sign in "*?["):
            try:
                commit = history.find(reference)
            except UsageError:
                continue
            hits = [Branch(name=request.to.branch or "restored", head=commit)]
        if hits:
            unmatched.discard(pattern)
        found |= {branch.name: branch for branch in hits}
    return list(found.values())


def _by_name(what: Sequence[str], name: RepoName) -> bool:
    return any(pattern.partition("@")[0] == str(name) for pattern in what)


def _repo(
    request: Request,
    source: Source,
    history: RepoHistory,
    chosen: Sequence[Branch],
    target: RepoName,
    is_there: bool,
    branches: Sequence[BranchInfo],
    record: bytes,
) -> RepoPlan:
    mine = journal.restored(source.commits(target), request.id, history.name) if is_there else {}
    own = {commit.id for commit in mine.values()}
    # a head that this very request has put there is not in its way: the restore is taken up again
    now = {branch.name: branch.head for branch in branches if branch.head not in own}
    plans = [_branch(request, history, branch, target, now) for branch in chosen]
    moves = _movable(request, source, history, plans, target)
    # chosen paths on top of a branch are one commit, whatever its history
    heads = [plan.head for plan in plans if not (request.paths and plan.action == "append")]
    steps = [] if moves else _steps(history, heads, request.history)
    if moves:
        plans = [branch.model_copy(update={"action": "move"}) for branch in plans]
    origin: Literal["source", "backup", "vault"] = (
        "source" if moves else _origin(request, source, history, steps)
    )
    return RepoPlan(
        record=record,
        project=history.name.project,
        repo=history.name.repo,
        to_project=target.project,
        to_repo=target.repo,
        description=history.record.description,
        is_new=not is_there,
        origin=origin,
        steps=steps,
        branches=plans,
    )


def _branch(
    request: Request, history: RepoHistory, branch: Branch, target: RepoName, now: dict[str, str]
) -> BranchPlan:
    name = request.to.branch or branch.name
    head = branch.head
    if head is None:
        raise UsageError(f"{history.name}@{branch.name} has no readable commit in this snapshot")
    plan = BranchPlan(
        source=branch.name,
        name=name,
        head=head,
        action="create",
        trigger=branch.trigger,
        current=now.get(name),
    )
    if name not in now or not now[name]:
        return plan
    if request.exists == "fail":
        raise UsageError(
            f"branch {target}@{name} exists", hint="exists: append or replace, or another name with `to`"
        )
    keep = f"{name}-before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}" if request.exists == "replace" else None
    return plan.model_copy(update={"action": request.exists, "keep_as": keep})


def _movable(
    request: Request, source: Source, history: RepoHistory, plans: Sequence[BranchPlan], target: RepoName
) -> bool:
    """Whether the repo itself still has every commit: then heads are moved, and ids survive."""
    if request.source == "vault" or request.paths or target != history.name or request.exists == "append":
        return False
    for plan in plans:
        try:
            commit = source.commit(CommitRef(target.project, target.repo, plan.head))
        except SourceGoneError:
            return False
        if commit.size_bytes != history.size_of(plan.head):
            return False
    return True


def _origin(
    request: Request, source: Source, history: RepoHistory, steps: Sequence[Step]
) -> Literal["backup", "vault"]:
    """`backup` where the mirror holds the one commit that is wanted, else `vault`."""
    if request.source == "vault" or request.paths:
        return "vault"
    held = (
        len(steps) == 1
        and not steps[0].error
        and mirrored(source, history.name, steps[0].commit, steps[0].size_bytes)
    )
    if held:
        return "backup"
    if request.source == "backup":
        raise UsageError(
            f"the backup repo does not hold what is wanted of {history.name}", hint="from: vault"
        )
    return "vault"


def _steps(history: RepoHistory, heads: Sequence[str], extent: Extent) -> list[Step]:
    """The commits to replay, each after its parent."""
    rows = {row["commit"]: row for row in history.commits.to_pylist() if row["listed"]}
    wanted: set[str] = set()
    for head in heads:
        wanted |= _walk(rows, extent.newest or head, extent)
    steps = []
    for commit in (each for each in rows if each in wanted):
        row = rows[commit]
        parent = row["parent"] if row["parent"] in wanted else None
        content_parent = parent
        while content_parent is not None and rows[content_parent]["error"]:
            above = rows[content_parent]["parent"]
            content_parent = above if above in wanted else None
        steps.append(
            Step(
                commit=commit,
                parent=parent,
                content_parent=content_parent,
                description=row["description"],
                error=row["error"],
                started_at=row["started"],
                finished_at=row["finished"],
                size_bytes=row["size"],
            )
        )
    return _parents_first(steps)


def _walk(rows: dict[str, dict[str, object]], head: str, extent: Extent) -> set[str]:
    current: str | None = _full_id(rows, head)
    first = _full_id(rows, extent.first) if extent.first else None
    found: set[str] = set()
    while current is not None and current in rows and (extent.last is None or len(found) < extent.last):
        found.add(current)
        if current == first:
            break
        parent = rows[current]["parent"]
        current = str(parent) if parent else None
    if first is not None and first not in found:
        raise UsageError(f"commit {extent.first} is no ancestor of {head}")
    return found


def _full_id(rows: dict[str, dict[str, object]], reference: str) -> str:
    matches = [commit for commit in rows if commit.startswith(reference)]
    if len(matches) != 1:
        raise UsageError(f"{len(matches)} commits of the snapshot begin with {reference!r}")
    return matches[0]


def _parents_first(steps: list[Step]) -> list[Step]:
    done: dict[str, Step] = {}
    pending = {step.commit: step for step in steps}
    for step in steps:
        chain = [step]
        while (parent := chain[-1].parent) is not None and parent not in done:
            chain.append(pending[parent])
        for each in reversed(chain):
            done.setdefault(each.commit, each)
    return list(done.values())


def _with_shares(request: Request, vault: Vault, snapshot: Snapshot, repos: list[RepoPlan]) -> Resolved:
    """Large changes cut into parts for the fetch stage, one part a share."""
    shares: list[FetchShare] = []
    planned = []
    total = 0
    for repo in repos:
        history = RepoHistory(vault, vault.repo_record(repo.record))
        steps = []
        for step in repo.steps:
            if repo.origin != "vault" or step.error:
                steps.append(step)
                continue
            try:
                found = changes(history, step.commit, step.content_parent, request.paths)
            except DamageError:
                if not request.keep_going:
                    raise
                steps.append(step)
                continue
            total += found.bytes
            cuts = ranges(found, PART_BYTES) if found.bytes > PART_BYTES else []
            for number, (lower, upper, size) in enumerate(cuts):
                part = Part(
                    project=repo.project,
                    repo=repo.repo,
                    commit=step.commit,
                    content_parent=step.content_parent,
                    number=number,
                    of=len(cuts),
                    lower=lower,
                    upper=upper,
                    size_bytes=size,
                )
                shares.append(
                    FetchShare(
                        request_id=request.id,
                        number=len(shares),
                        vault=vault.store.url,
                        snapshot=snapshot.name.id,
                        paths=request.paths,
                        keep_going=request.keep_going,
                        parts=[part],
                    )
                )
            steps.append(step.model_copy(update={"parts": len(cuts)}))
        planned.append(repo.model_copy(update={"steps": steps}))
    commits = sum(len(repo.steps) for repo in planned)
    plan = RestorePlan(
        request_id=request.id,
        status="work",
        summary=f"{len(planned)} repos, {commits} commits, {total:,} bytes from {_origins(planned)}",
        vault=vault.store.url,
        snapshot=snapshot.name.id,
        repos=planned,
        shares=len(shares),
        bytes=total,
        commits=commits,
        verify=request.verify,
        paths=request.paths,
        keep_going=request.keep_going,
    )
    return Resolved(plan, shares)


def _origins(repos: Sequence[RepoPlan]) -> str:
    return " and ".join(sorted({f"the {repo.origin}" for repo in repos})) or "nowhere"

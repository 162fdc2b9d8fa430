"""The work of the fetch stage: large changes of a plan, cut into parts that workers stage.

Reads the vault's tables alone.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from pachvault.errors import DamageError
from pachvault.request import Request
from pachvault.restore.changes import Changes, Span, changes, spans
from pachvault.restore.restore_messages import ChangePart, CommitStep, FetchShare, RepoPlan, RestorePlan
from pachvault.vault.snapshots import RepoHistory, Snapshot

_log = logging.getLogger(__name__)

PART_BYTES = 1_000_000_000
"""A change larger than this is staged in parts by fetch workers; a smaller one is written by replay."""


@dataclass(frozen=True, slots=True)
class RepoToRestore:
    """A repo to restore, its history, and which of its commits this very request has restored already."""

    plan: RepoPlan
    history: RepoHistory
    done: Collection[str]


@dataclass(frozen=True, slots=True)
class PlanWithShares:
    """A plan and the work of the fetch stage."""

    plan: RestorePlan
    shares: list[FetchShare]


def with_shares(
    request: Request, snapshot: Snapshot, repos: Sequence[RepoToRestore], lost: list[str]
) -> PlanWithShares:
    """The plan of these repos, with large changes cut into parts, one part a share."""
    url = snapshot.vault.store.url
    parts: list[ChangePart] = []
    planned = []
    total = 0
    for each in repos:
        steps = []
        for step in each.plan.steps:
            found = _change(request, each, step)
            total += found.bytes if found else 0
            cuts = spans(found, PART_BYTES) if found else []
            if len(cuts) > 1:
                steps.append(step.model_copy(update={"parts": len(cuts)}))
                parts += _parts(each.plan, step, cuts)
            else:
                steps.append(step)
        planned.append(each.plan.model_copy(update={"steps": steps}))
    shares = [
        FetchShare(request_id=request.id, number=number, vault=url, snapshot=snapshot.name.id, parts=[part])
        for number, part in enumerate(parts)
    ]
    commits = sum(len(repo.steps) for repo in planned)
    plan = RestorePlan(
        request_id=request.id,
        status="work",
        summary=f"{len(planned)} repos, {commits} commits, {total:,} bytes from {_origins(planned)}",
        vault=url,
        snapshot=snapshot.name.id,
        repos=planned,
        shares=len(shares),
        bytes=total,
        commits=commits,
        verify=request.verify,
        paths=request.paths,
        keep_going=request.keep_going,
        lost=lost,
    )
    return PlanWithShares(plan, shares)


def _change(request: Request, repo: RepoToRestore, step: CommitStep) -> Changes | None:
    """What is to be fetched for a step; None for nothing, or where damage is left to replay."""
    if repo.plan.origin != "vault" or step.error or step.commit in repo.done:
        return None
    try:
        return changes(repo.history, step.commit, step.content_parent, request.paths)
    except DamageError as error:
        if not request.keep_going:
            raise
        _log.info("commit %s is not staged, it is damaged: %s", step.commit, error)
        return None


def _parts(plan: RepoPlan, step: CommitStep, cuts: Sequence[Span]) -> Iterator[ChangePart]:
    for number, span in enumerate(cuts):
        yield ChangePart(
            project=plan.project,
            repo=plan.repo,
            commit=step.commit,
            number=number,
            lower=span.lower,
            upper=span.upper,
            size_bytes=span.size_bytes,
            blobs=span.blobs,
        )


def _origins(repos: Sequence[RepoPlan]) -> str:
    return " and ".join(sorted({f"the {repo.origin}" for repo in repos})) or "nowhere"

"""The shares of the fetch stage: large changes of a plan, split into parts that workers stage.

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
from pachvault.syntax.quantities import counted
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.snapshots import Snapshot

_log = logging.getLogger(__name__)

_ORIGINS = {"source": "the repo itself", "backup": "the backup repo", "vault": "the vault"}
PART_BYTES = 1_000_000_000
"""A larger change is staged in parts by fetch workers; replay writes a smaller one itself."""


@dataclass(frozen=True, slots=True)
class RepoToRestore:
    """A repo to restore, its history, and the old ids of commits that this request has restored already."""

    plan: RepoPlan
    history: RepoHistory
    restored: Collection[str]


@dataclass(frozen=True, slots=True)
class PlanWithShares:
    """A plan, and the shares of the fetch stage."""

    plan: RestorePlan
    shares: list[FetchShare]


def with_shares(
    request: Request, snapshot: Snapshot, repos: Sequence[RepoToRestore], lost: list[str]
) -> PlanWithShares:
    """The plan of these repos, with large changes split into parts, one share a part."""
    url = snapshot.vault.store.url
    parts: list[ChangePart] = []
    planned = []
    total = 0
    for repo in repos:
        steps = []
        for step in repo.plan.steps:
            change = _change(request, repo, step)
            total += change.bytes if change else 0
            change_spans = spans(change, PART_BYTES) if change else []
            if len(change_spans) > 1:
                large = step.model_copy(update={"parts": len(change_spans)})
                steps.append(large)
                parts += _parts(repo.plan, large, change_spans)
            else:
                steps.append(step)
        planned.append(repo.plan.model_copy(update={"steps": steps}))
    shares = [
        FetchShare(
            request_id=request.id,
            number=number,
            part=part,
            vault=url,
            snapshot=snapshot.name.id,
            paths=request.paths,
            keep_going=request.keep_going,
        )
        for number, part in enumerate(parts)
    ]
    commits = sum(len(repo.steps) for repo in planned)
    plan = RestorePlan(
        request_id=request.id,
        status="work",
        summary=f"{counted(len(planned), 'repo')}, {counted(commits, 'commit')}, "
        f"{counted(total, 'byte')} from {_origins(planned)}",
        vault=url,
        snapshot=snapshot.name.id,
        frozen_at=snapshot.manifest.frozen_at,
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
    """The change to fetch for a step; None where there is none, or where replay deals with damage."""
    if repo.plan.origin != "vault" or step.old.error or step.old.id in repo.restored:
        return None
    try:
        return changes(repo.history, step.old.id, step.content_parent, request.paths)
    except DamageError as error:
        if not request.keep_going:
            raise
        _log.info("commit %s is not staged, it is damaged: %s", step.old.id, error)
        return None


def _parts(plan: RepoPlan, step: CommitStep, change_spans: Sequence[Span]) -> Iterator[ChangePart]:
    for number, span in enumerate(change_spans):
        yield ChangePart(project=plan.project, repo=plan.repo, step=step, number=number, span=span)


def _origins(repos: Sequence[RepoPlan]) -> str:
    return " and ".join(sorted({_ORIGINS[repo.origin] for repo in repos})) or "nowhere"

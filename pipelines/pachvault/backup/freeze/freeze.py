"""The freeze stage: survey the cluster, plan the run, mirror new commits, split the export."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from pachvault.backup import base_lookup, run_records
from pachvault.backup.backup_messages import ExportShare, Item, Plan
from pachvault.backup.freeze.backup_plan import plan_repo, split
from pachvault.backup.freeze.deleted_sources import deleted
from pachvault.backup.freeze.heads import list_heads
from pachvault.backup.freeze.item_plan import ItemPlanner
from pachvault.backup.freeze.snapshot_notes import clock_notes, dated, history_end, unfinished_notes
from pachvault.backup.freeze.survey import Survey, survey
from pachvault.backup.run_records import Tick
from pachvault.errors import PachvaultError, PachydermError, TransientError, UsageError
from pachvault.format.manifest import Problem
from pachvault.format.problem_kinds import GONE, HEAD_MISSING, NOT_MIRRORED, NOTHING_MATCHED, UNSETTLED
from pachvault.mirror import BACKUP_REPO, Mirror, open_mirror
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT, Policy
from pachvault.syntax import selection
from pachvault.syntax.quantities import counted
from pachvault.vault import clock
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_CALLS_AT_ONCE = 8
_ITEMS_AT_ONCE = 4
_TRY_AGAIN = (
    "remove the cause (`pachvault deploy --policy FILE` commits a corrected policy); the next tick tries "
    "again, or `pachctl run cron freeze --project pachvault` now"
)


@dataclass(frozen=True, slots=True)
class Frozen:
    """The result of a freeze, for export and seal."""

    plan: Plan
    shares: list[ExportShare]


def freeze(
    source: Source, target: Target, vault: Vault, *, policy: Policy, run_id: str, tick: datetime | None = None
) -> Frozen:
    """Freeze what the policy chooses and plan its export.

    Raises UsageError where the policy's sources match nothing, PachydermError where the cluster
    cannot be read at all. A single source that cannot be read becomes a problem in the plan.
    """
    began = time.monotonic()
    # not cleared: a target that refuses deletion can be backed up to
    clocks = clock.read(vault, is_cleared=False)
    cluster_id = source.connection.cluster_id()
    if tick is not None:
        due = Tick(tick, clocks.store, policy.interval)
        covering = run_records.covering(vault, policy.name, run_id, due, cluster_id, policy.selection)
        if covering is not None:
            _log.info("tick %s is covered by %s", tick, covering)
            return _idle("covered", run_id, policy, tick, f"nothing to do: {covering} covers this tick", 0)
    with ThreadPoolExecutor(_CALLS_AT_ONCE, "survey") as pool:
        heads = dated(list_heads(source, policy, pool), clocks)
        if heads.branches:
            # format 9.6: before the newest records are read. Otherwise prune could mark and delete what a
            # record reaches in between, and the age of the run would not show it.
            run_records.announce(vault, run_id, policy.name, cluster_id, heads.ended_at, policy.selection)
        newest = base_lookup.newest_records(vault, cluster_id, heads.repos)
        counted_from = partial(history_end, clocks=clocks, ended_at=heads.ended_at)
        surveyed = survey(source, policy, heads, newest.records, counted_from, pool)
    problems = _survey_problems(surveyed, policy) + clock_notes(surveyed, clocks, tick)
    if not surveyed.repos:
        if heads.branches:
            run_records.finish(vault, run_id)
        reason = "; ".join(problem.message for problem in problems)
        raise UsageError(f"nothing to back up: {reason}", where=f"policy {policy.name}")
    problems += newest.notes
    sealed = newest.records
    doubtful = frozenset(
        problem.commit
        for problem in (newest.snapshot.manifest.problems if newest.snapshot else [])
        if problem.commit
    )
    planned = [
        plan_repo(repo, policy.history, sealed.get(repo.info.name), surveyed.counted_from, doubtful)
        for repo in surveyed.repos
    ]
    problems += unfinished_notes(planned, clocks, policy.interval)
    records = {known.digest: known.history.record for known in sealed.values()}
    problems += deleted(vault, surveyed, policy, records)
    template = ExportShare(
        run_id=run_id,
        number=0,
        cluster_id=surveyed.cluster.id,
        target=vault.store.url,
        bandwidth=policy.limits.bandwidth,
        memory=policy.limits.memory,
        items=[],
    )
    items: list[Item] = []
    work = [(repo, plan) for repo, plan in zip(surveyed.repos, planned, strict=True) if plan.new]
    if work:
        mirror = _mirror(source, target, run_id, problems)
        planner = ItemPlanner(source, mirror, sealed)
        with ThreadPoolExecutor(_ITEMS_AT_ONCE, "freeze") as pool:
            # in the order of the repos: the same items in the same order are shares whose receipts were kept
            for repo_items, repo_problems in pool.map(lambda pair: planner.items(*pair), work):
                items.extend(repo_items)
                problems.extend(repo_problems)
    for problem in problems:
        _log.info("noted in the snapshot: %s: %s: %s", problem.kind, problem.where, problem.message)
    shares = split(items, run_id, template)
    commits = sum(len(repo.new) for repo in planned)
    expected = sum(share.expected_bytes for share in shares)
    plan = Plan(
        status="work",
        summary=f"{counted(len(planned), 'repo')}, {counted(commits, 'new commit')}, "
        f"{counted(len(shares), 'share')} of {expected:,} bytes",
        is_signalled=policy.verdicts,
        run_id=run_id,
        policy=policy.name,
        selection=policy.selection,
        target=vault.store.url,
        tick=tick,
        cluster=surveyed.cluster,
        freeze_began_at=surveyed.began_at,
        frozen_at=surveyed.ended_at,
        freeze_seconds=round(time.monotonic() - began, 3),
        projects=list(surveyed.projects),
        repos=planned,
        pipelines=list(surveyed.pipelines),
        problems=problems,
        shares=len(shares),
        expected_bytes=expected,
    )
    return Frozen(plan, shares)


def refused(
    run_id: str, error: PachvaultError, tick: datetime | None = None, policy: Policy | None = None
) -> Frozen:
    """A plan without work that gives the reason: how a worker reports bad input."""
    return _idle("refused", run_id, policy, tick, str(error), error.exit_code)


def _idle(
    status: str, run_id: str, policy: Policy | None, tick: datetime | None, summary: str, exit_code: int
) -> Frozen:
    plan = Plan.model_validate(
        {
            "status": status,
            "summary": summary,
            "exit_code": exit_code,
            "next_step": _TRY_AGAIN if exit_code else "",
            "is_signalled": policy.verdicts if policy else True,
            "run_id": run_id,
            "policy": policy.name if policy else "",
            "target": policy.target if policy else "",
            "tick": tick,
            "shares": 1,
        }
    )
    # a pipeline without datums would start no job downstream: there is always one share
    share = ExportShare(run_id=run_id, number=0, cluster_id="", target="", bandwidth=None, memory=0, items=[])
    return Frozen(plan, [share])


def _survey_problems(surveyed: Survey, policy: Policy) -> list[Problem]:
    problems = [
        Problem(
            repo=pattern, kind=NOTHING_MATCHED, message=f"no branch matches {pattern}, a source of the policy"
        )
        for pattern in policy.sources
        if not any(
            selection.source(pattern).means(repo.info.name, branch.name)
            for repo in surveyed.repos
            for branch in repo.branches
        )
    ]
    if not surveyed.is_settled:
        message = (
            "branches moved or pipelines changed during every pass of the survey: "
            "what the snapshot has of them may be some seconds apart"
        )
        problems.append(Problem(repo="*", kind=UNSETTLED, message=message))
    gone = [
        Problem(repo=str(repo), kind=GONE, message="deleted during the freeze") for repo in surveyed.vanished
    ]
    headless = [
        Problem(
            repo=str(repo.info.name),
            branch=branch.name,
            kind=HEAD_MISSING,
            message=f"head {branch.head} was squashed or dropped during the freeze",
        )
        for repo in surveyed.repos
        for branch in repo.branches
        if branch.head and branch.head not in repo.commits
    ]
    return [*problems, *gone, *headless, *surveyed.notes]


def _mirror(source: Source, target: Target, run_id: str, problems: list[Problem]) -> Mirror | None:
    """The mirror. None, and a note, where it may not be written: the sources themselves are read then."""
    try:
        return open_mirror(source, target, run_id)
    # here the cluster fails, not the mirror: the datum is tried again
    except TransientError:
        raise
    except PachydermError as error:
        _log.info("nothing was mirrored: %s", error)
        where = f"{HOME_PROJECT}/{BACKUP_REPO}"
        problems.append(Problem(repo=where, kind=NOT_MIRRORED, message=f"nothing was mirrored: {error}"))
        return None

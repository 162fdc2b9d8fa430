"""The freeze stage: survey, plan, mirror, cut into shares."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from pachvault.backup import base_lookup, missing_commits, run_records
from pachvault.backup.backup_messages import CommitPlace, ExportShare, Item, Plan, PlannedRepo
from pachvault.backup.base_lookup import SealedCommits
from pachvault.backup.freeze.backup_plan import head_tasks, plan_repo, split
from pachvault.backup.freeze.deleted_sources import deleted
from pachvault.backup.freeze.snapshot_notes import clock_notes, dated, history_end, unfinished_notes
from pachvault.backup.freeze.survey import Survey, SurveyedRepo, survey
from pachvault.backup.run_records import Tick
from pachvault.errors import PachydermError, TransientError, UsageError
from pachvault.format.documents import GONE, HEAD_MISSING, NOT_MIRRORED, NOTHING_MATCHED, UNSETTLED, Problem
from pachvault.format.ids import RepoName
from pachvault.mirror import BACKUP_REPO, BranchTask, Mirror, open_mirror
from pachvault.pach import codec
from pachvault.pach.records import CommitInfo
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT, Policy
from pachvault.syntax import selection
from pachvault.vault import clock
from pachvault.vault.vault import Vault

_CALLS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Frozen:
    """What a freeze hands to export and seal."""

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
    clocks = clock.read(vault, is_cleared=False)
    if tick is not None:
        due = Tick(tick, clocks.store, policy.interval)
        covering = run_records.covering(vault, policy.name, run_id, due, source.connection.cluster_id())
        if covering is not None:
            return _idle("covered", run_id, policy, tick, f"nothing to do: {covering} covers this tick")
    seen = dated(survey(source, policy), clocks)
    problems = _survey_problems(seen, policy) + clock_notes(seen, clocks, tick)
    if not seen.repos:
        reason = "; ".join(problem.message for problem in problems)
        raise UsageError(f"nothing to back up: {reason}", where=f"policy {policy.name}")
    run_records.announce(vault, run_id, policy.name, seen.cluster.id, seen.ended_at)
    newest = base_lookup.newest_records(vault, seen.cluster.id, [repo.info.name for repo in seen.repos])
    problems += newest.notes
    sealed = newest.records
    doubtful = frozenset(
        problem.commit
        for problem in (newest.snapshot.manifest.problems if newest.snapshot else [])
        if problem.commit
    )
    counted_from = history_end(seen, clocks)
    planned = [
        plan_repo(repo, policy.history, sealed.get(repo.info.name), counted_from, doubtful)
        for repo in seen.repos
    ]
    problems += unfinished_notes(planned, clocks, policy.interval)
    problems += deleted(vault, seen, policy, {each.digest: each.history.record for each in sealed.values()})
    template = ExportShare(
        run_id=run_id,
        number=0,
        cluster_id=seen.cluster.id,
        target=vault.store.url,
        bandwidth=policy.limits.bandwidth,
        memory=policy.limits.memory,
        items=[],
    )
    items: list[Item] = []
    work = [(repo, plan) for repo, plan in zip(seen.repos, planned, strict=True) if plan.new]
    if work:
        mirror = _mirror(source, target, run_id, problems)
        maker = _ItemMaker(source, mirror, sealed)
        with ThreadPoolExecutor(_CALLS_AT_ONCE, "freeze") as pool:
            for made, found in pool.map(lambda pair: maker.items(*pair), work):
                items.extend(made)
                problems.extend(found)
    shares = split(items, run_id, template)
    commits = sum(len(repo.new) for repo in planned)
    expected = sum(share.expected_bytes for share in shares)
    plan = Plan(
        status="work",
        summary=f"{len(planned)} repos, {commits} new commits, {len(shares)} shares of {expected:,} bytes",
        run_id=run_id,
        policy=policy.name,
        target=vault.store.url,
        tick=tick,
        cluster=seen.cluster,
        freeze_began_at=seen.began_at,
        frozen_at=seen.ended_at,
        freeze_seconds=round(time.monotonic() - began, 3),
        projects=list(seen.projects),
        repos=planned,
        pipelines=list(seen.pipelines),
        problems=problems,
        shares=len(shares),
        expected_bytes=expected,
    )
    return Frozen(plan, shares)


def refused(run_id: str, reason: str, tick: datetime | None = None) -> Frozen:
    """A plan that does nothing but say why: how a worker reports bad input."""
    return _idle("refused", run_id, None, tick, reason)


def _idle(status: str, run_id: str, policy: Policy | None, tick: datetime | None, summary: str) -> Frozen:
    plan = Plan.model_validate(
        {
            "status": status,
            "summary": summary,
            "run_id": run_id,
            "policy": policy.name if policy else "",
            "target": policy.target if policy else "",
            "tick": tick,
            "shares": 1,
        }
    )
    # an input without datums would give no job downstream: there is always one share
    share = ExportShare(run_id=run_id, number=0, cluster_id="", target="", bandwidth=None, memory=0, items=[])
    return Frozen(plan, [share])


def _survey_problems(seen: Survey, policy: Policy) -> list[Problem]:
    problems = [
        Problem(repo=pattern, kind=NOTHING_MATCHED, message=f"no branch matches {pattern}")
        for pattern in policy.sources
        if not any(
            selection.source(pattern).means(repo.info.name, branch.name)
            for repo in seen.repos
            for branch in repo.branches
        )
    ]
    if not seen.is_settled:
        message = (
            "branches moved or pipelines changed during every pass of the survey: "
            "what the snapshot has of them may be some seconds apart"
        )
        problems.append(Problem(repo="*", kind=UNSETTLED, message=message))
    gone = [Problem(repo=str(repo), kind=GONE, message="deleted during the freeze") for repo in seen.vanished]
    headless = [
        Problem(
            repo=str(each.info.name),
            branch=branch.name,
            kind=HEAD_MISSING,
            message=f"head {branch.head} was squashed or dropped during the freeze",
        )
        for each in seen.repos
        for branch in each.branches
        if branch.head and branch.head not in each.commits
    ]
    return [*problems, *gone, *headless, *seen.notes]


def _mirror(source: Source, target: Target, run_id: str, problems: list[Problem]) -> Mirror | None:
    """The mirror; where it may not be written a note says so, and the sources themselves are read."""
    try:
        return open_mirror(source, target, run_id)
    except TransientError:
        raise
    except PachydermError as error:
        where = f"{HOME_PROJECT}/{BACKUP_REPO}"
        problems.append(Problem(repo=where, kind=NOT_MIRRORED, message=f"nothing was mirrored: {error}"))
        return None


class _ItemMaker:
    """Turns a repo's new commits into items: mirrored where that works, else read from the source."""

    def __init__(self, source: Source, mirror: Mirror | None, sealed: dict[RepoName, SealedCommits]) -> None:
        self._source, self._mirror, self._sealed = source, mirror, sealed

    def items(self, repo: SurveyedRepo, planned: PlannedRepo) -> tuple[list[Item], list[Problem]]:
        """The items of a repo, and what could not be planned."""
        mirrored, problems = self._mirrored(repo, planned)
        items: list[Item] = []
        for commit in planned.new:
            if commit.error:
                continue
            try:
                items.extend(self._of_commit(planned, commit, mirrored))
            except TransientError:
                raise
            except PachydermError as error:
                ref = CommitRef(planned.project, planned.repo, commit.id)
                kind, message = missing_commits.why(self._source, ref, planned.created_at, error)
                problems.append(Problem(repo=str(planned.name), commit=commit.id, kind=kind, message=message))
        return items, problems

    def _mirrored(
        self, repo: SurveyedRepo, planned: PlannedRepo
    ) -> tuple[dict[str, CommitRef], list[Problem]]:
        """The mirrors of a repo's new commits, and a note for each branch without: its source is read."""
        found: dict[str, CommitRef] = {}
        notes: list[Problem] = []
        if self._mirror is None:
            return found, notes
        for branch, head in head_tasks(repo, planned):
            task = BranchTask(planned.name, planned.created_at, branch, head, repo.commits)
            try:
                found |= self._mirror.add(task)
            except PachydermError as error:
                message = f"not mirrored, read from the source: {error}"
                notes.append(
                    Problem(repo=str(planned.name), branch=branch, kind=NOT_MIRRORED, message=message)
                )
        return found, notes

    def _of_commit(
        self, planned: PlannedRepo, commit: CommitInfo, mirrored: dict[str, CommitRef]
    ) -> list[Item]:
        here = CommitRef(planned.project, planned.repo, commit.id)
        place = mirrored.get(commit.id, here)
        base, base_place = planned.bases.get(commit.id), None
        if base:
            base_place = mirrored.get(base, CommitRef(planned.project, planned.repo, base))
        sealed = self._sealed.get(planned.name)
        chain = []
        if base and sealed and base in sealed.commits():
            chain = base_lookup.chain_links(sealed.history, base)
        item = Item(
            project=planned.project,
            repo=planned.repo,
            commit=commit.id,
            source=_place(place),
            base=base,
            base_source=_place(base_place) if base_place else None,
            base_chain=chain,
            commit_bytes=commit.size_bytes,
            expected_bytes=commit.size_bytes,
            repo_created_at=planned.created_at,
        )
        if base_place is None:
            return _ranges(item, self._source.shards(self._source.file_set_of(place, codec.TOTAL)))
        # a mirror of the whole tree would show all of it as its own change
        change = here if self._mirror is None or self._mirror.is_whole(place) else place
        item = item.model_copy(update={"change": _place(change)})
        own = self._source.file_set_of(change, codec.DIFF)
        expected = self._source.set_bytes(own)
        item = item.model_copy(update={"expected_bytes": expected})
        return _ranges(item, self._source.shards(own))


def _place(ref: CommitRef) -> CommitPlace:
    return CommitPlace(project=ref.project, repo=ref.repo, commit=ref.id)


def _ranges(item: Item, ranges: Sequence[tuple[str, str]]) -> list[Item]:
    """The item cut into path ranges; the outer ones are open, so that every path is in one."""
    if len(ranges) <= 1:
        return [item]
    last = len(ranges) - 1
    return [
        item.model_copy(
            update={
                "lower": lower if number else "",
                "upper": upper if number < last else "",
                "is_whole": False,
                "expected_bytes": item.expected_bytes // len(ranges),
            }
        )
        for number, (lower, upper) in enumerate(ranges)
    ]

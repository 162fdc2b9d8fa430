"""Carries out a plan: makes the commits, compares them with the vault, and only then moves the heads.

Shells and workers both use it. It can be repeated after a failure at any point.
"""

from __future__ import annotations

from time import monotonic

from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.restore.apply.commit_check import check
from pachvault.restore.apply.replay import Replay
from pachvault.restore.restore_messages import RestorePlan
from pachvault.restore.restore_report import RestoreReport
from pachvault.restore.state.request_lock import HeldLock
from pachvault.restore.state.restore_records import record
from pachvault.runtime.progress import Progress
from pachvault.vault.vault import Vault


def carry_out(
    source: Source,
    target: Target,
    vault: Vault,
    plan: RestorePlan,
    lock: HeldLock,
    progress: Progress,
    *,
    staged_bytes: int = 0,
    began: float | None = None,
) -> RestoreReport:
    """Replay, compare, move heads and record the request, while the lock is held.

    `staged_bytes` of the changes are staged; `began`, of the monotonic clock, is when staging began, None
    where that is not known.

    Where a commit differs from the vault the heads are not moved, unless the plan has `keep_going`.
    Nothing is recorded then, and the request can be carried out again.
    """
    lock.enter("replay")
    progress.start("replay", plan.bytes - staged_bytes)
    # read before `enter_heads` sets it: an earlier run may have moved heads, though this one finds nothing to
    # do
    was_begun = bool(lock.snapshot)
    replay = Replay(source, target, vault, plan, progress)
    replay.rebuild()
    lock.enter("check")
    progress.start("check", plan.bytes)
    differences = check(source, vault, plan, replay.results, progress)
    kept: list[str] = []
    # the comparison may have taken hours, and a run that was taken for dead meanwhile must not move heads
    lock.check()
    if differences and not plan.keep_going:
        kept = replay.give_up(differences)
    else:
        # recorded before the first head moves: a later run of the request must go on with this snapshot, even
        # if `latest` means another one by then
        lock.enter_heads(plan.snapshot)
        replay.settle()
    report = RestoreReport(
        request_id=plan.request_id,
        summary=plan.summary,
        replayed=replay.results,
        differences=differences,
        kept=kept,
        lost_settings=replay.lost_settings,
        vault_id=vault.config.vault_id,
        snapshot=plan.snapshot,
        targets=plan.targets,
        bytes=plan.bytes,
        seconds=round(monotonic() - began, 3) if began is not None else None,
        pipelines=plan.new_pipelines if not kept else [],
        not_restored=plan.not_restored if not kept else [],
        notes=plan.notes,
        is_unchanged=not (was_begun or kept or _has_changed(plan, replay)),
    )
    if report.is_settled:
        # recorded first: a crash in between leaves a request that is found done, and a repo that maintenance
        # deletes. In the other order a crash would leave a finished restore that is done once more
        record(target, report)
        lock.remove()
    else:
        lock.give_up()
    return report


def _has_changed(plan: RestorePlan, replay: Replay) -> bool:
    """Whether this run made or moved anything."""
    has_results = any(repo.new_commits or repo.moved or repo.lost for repo in replay.results)
    return bool(has_results or plan.projects or plan.pipelines or any(repo.is_new for repo in plan.repos))

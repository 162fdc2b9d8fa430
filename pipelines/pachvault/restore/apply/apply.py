"""A plan carried out to its end: commits made, compared with the vault, and only then the heads moved.

What a shell and a worker have in common. It may be repeated at any point.
"""

from __future__ import annotations

from time import monotonic

from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.restore.apply.commit_check import check
from pachvault.restore.apply.replay import Replay
from pachvault.restore.request.request_lock import HeldLock
from pachvault.restore.request.restore_records import RestoreReport, record
from pachvault.restore.restore_messages import RestorePlan
from pachvault.runtime.progress import Progress
from pachvault.vault.vault import Vault


def carry_out(
    source: Source,
    target: Target,
    vault: Vault,
    plan: RestorePlan,
    mine: HeldLock,
    progress: Progress,
    *,
    staged_bytes: int = 0,
    began: float | None = None,
) -> RestoreReport:
    """Replay, compare, move heads, and record it, while the lock is held.

    `staged_bytes` of the change are staged; `began`, of the monotonic clock, is when the first was, None
    where that is not known.

    Where something differs the heads stay where they are, unless the plan says to keep going; then
    nothing is recorded, for the request may be carried out again.
    """
    mine.enter("replay")
    progress.start("replay", plan.bytes - staged_bytes)
    was_begun = bool(mine.snapshot)
    replay = Replay(source, target, vault, plan, progress)
    replay.rebuild()
    mine.enter("check")
    progress.start("check", plan.bytes)
    differences = check(source, vault, plan, replay.done, progress)
    kept: list[str] = []
    mine.check()
    if differences and not plan.keep_going:
        kept = replay.give_up(differences)
    else:
        mine.enter_heads(plan.snapshot)
        replay.settle()
    report = RestoreReport(
        request_id=plan.request_id,
        summary=plan.summary,
        replayed=replay.done,
        differences=differences,
        kept=kept,
        lost_settings=replay.lost_settings,
        vault_id=vault.config.vault_id,
        bytes=plan.bytes,
        seconds=round(monotonic() - began, 3) if began is not None else None,
        pipelines=plan.new_pipelines if not kept else [],
        not_restored=plan.not_restored if not kept else [],
        notes=plan.notes,
        is_unchanged=not (was_begun or kept or _has_changed(plan, replay)),
    )
    if report.is_settled:
        record(target, report)
        mine.remove()
    else:
        mine.give_up()
    return report


def _has_changed(plan: RestorePlan, replay: Replay) -> bool:
    """Whether this run made or moved anything."""
    is_more = any(each.made or each.moved or each.lost for each in replay.done)
    return bool(is_more or plan.projects or plan.pipelines or any(repo.is_new for repo in plan.repos))

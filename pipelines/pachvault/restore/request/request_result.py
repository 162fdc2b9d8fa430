"""The last stage of a request in a worker: it is carried out and recorded, or refused with the reason.

The report of a recorded request is made from its record, so that a datum that runs twice reports the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from pachvault.errors import DamageError, PachvaultError, UsageError
from pachvault.format import parquet
from pachvault.format.ids import RepoName
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.restore.apply.apply import carry_out
from pachvault.restore.request.request_plan import done_before
from pachvault.restore.request.retry_policy import value_or_error
from pachvault.restore.restore_messages import FetchReceipt, RestorePlan
from pachvault.restore.restore_report import RestoreReport
from pachvault.restore.state.lock_holder import LockHolder
from pachvault.restore.state.request_lock import HeldError, HeldLock, held
from pachvault.restore.state.restore_records import as_record
from pachvault.runtime.progress import Progress
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault

IDS = pa.schema([(name, pa.string()) for name in ("project", "repo", "old", "new")])
"""The columns of ids.parquet: a restored commit in its new repo, by its old id."""


@dataclass(frozen=True, slots=True)
class RequestResult:
    """The result of a request, as restore_replay writes it. `ids`: repo to old id to new id."""

    request: str
    status: str
    """restored, unchanged, partial, different, done, refused, damaged, busy or failed."""
    summary: str
    finished_at: str | None = None
    ids: dict[str, dict[str, str]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    differences: list[dict[str, str]] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Branches that keep what differs; the heads were not moved then."""
    pipelines: list[str] = field(default_factory=list)
    """Those that were created, project/name each."""
    notes: list[str] = field(default_factory=list)
    not_restored: list[str] = field(default_factory=list)
    """A line for each pipeline that was not created, and each output that nothing brings back."""

    def report(self) -> bytes:
        """`report.json`."""
        names = (
            *("request", "status", "summary", "finished_at", "lost", "differences", "kept"),
            *("pipelines", "not_restored", "notes"),
        )
        return _json({name: getattr(self, name) for name in names})

    def id_map(self) -> bytes:
        """`ids.json`."""
        return _json(self.ids)

    def id_table(self) -> bytes:
        """`ids.parquet`."""
        rows = []
        for repo, ids in sorted(self.ids.items()):
            name = RepoName.parse(repo)
            rows += [
                {"project": name.project, "repo": name.repo, "old": old, "new": new}
                for old, new in sorted(ids.items())
            ]
        return parquet.encode(pa.Table.from_pylist(rows, schema=IDS))


def request_result(
    source: Source,
    target: Target,
    plan: RestorePlan,
    receipts: Sequence[FetchReceipt],
    holder: LockHolder,
    progress: Progress,
) -> RequestResult:
    """Carry out a plan whose parts are staged, unless it is settled already.

    Raises PachvaultError only for retryable errors: the next try continues where this one was.
    """
    if plan.status == "refused":
        return RequestResult(plan.request_id, "refused", plan.summary)

    def settled() -> RequestResult:
        with held(source, target, plan.request_id, holder) as lock:
            return _settle(source, target, plan, receipts, lock, progress)

    def given_up() -> None:
        with held(source, target, plan.request_id, holder) as lock:
            lock.give_up()

    outcome = value_or_error(settled)
    if isinstance(outcome, HeldError):  # the other run reports for itself, and the staged parts are in use
        return RequestResult(plan.request_id, "busy", str(outcome))
    if isinstance(outcome, PachvaultError):
        # what is staged would be left to garbage collection otherwise; that this fails changes nothing in the
        # answer
        value_or_error(given_up)
        return RequestResult(
            plan.request_id, "damaged" if isinstance(outcome, DamageError) else "failed", str(outcome)
        )
    return outcome


def _settle(
    source: Source,
    target: Target,
    plan: RestorePlan,
    receipts: Sequence[FetchReceipt],
    lock: HeldLock,
    progress: Progress,
) -> RequestResult:
    # asked again under the lock: a shell may have carried the request out since it was planned
    recorded = done_before(plan.request_id, source)
    if recorded is not None:
        lock.remove()
        return _answered(recorded, "done")
    if plan.status == "done":  # it was when it was planned, and the record was deleted since
        lock.remove()
        return RequestResult(plan.request_id, "done", plan.summary)
    for receipt in receipts:
        if receipt.problem and not (receipt.is_damage and plan.keep_going):
            raise (DamageError if receipt.is_damage else UsageError)(receipt.problem)
    vault = open_vault(open_store(plan.vault))
    report = carry_out(source, target, vault, plan, lock, progress)
    return _answered(as_record(report), _status(report), report.kept)


def _status(report: RestoreReport) -> str:
    if report.differences:
        return "different"
    if report.lost or report.not_restored:
        return "partial"
    return "unchanged" if report.is_unchanged else "restored"


def _answered(recorded: dict[str, object], status: str, kept: Sequence[str] = ()) -> RequestResult:
    fields = {
        name: recorded[name] for name in ("request", "summary", "finished_at", "ids", "lost", "differences")
    } | {name: recorded.get(name, []) for name in ("pipelines", "not_restored", "notes")}
    return RequestResult(status=status, kept=list(kept), **fields)  # type: ignore[arg-type]  # as_record has these types


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()

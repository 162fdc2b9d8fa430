"""The last stage of a request in a worker: it is carried out and recorded, or refused with the reason.

The report of a recorded request is made from its record, so that a datum that runs twice reports the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Self

import pyarrow as pa
from pydantic import Field

from pachvault.errors import (
    EXIT_BUSY,
    EXIT_DAMAGE,
    EXIT_OK,
    EXIT_PARTIAL,
    EXIT_USAGE,
    DamageError,
    PachvaultError,
    UsageError,
)
from pachvault.format import parquet
from pachvault.format.documents import Time
from pachvault.format.ids import RepoName
from pachvault.messages import Outcome
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.restore.apply.apply import carry_out
from pachvault.restore.request.request_plan import done_before
from pachvault.restore.request.retry_policy import value_or_error
from pachvault.restore.restore_messages import FetchReceipt, RestorePlan
from pachvault.restore.restore_report import RestoreReport
from pachvault.restore.state.lock_holder import LockHolder
from pachvault.restore.state.request_lock import HeldError, HeldLock, held
from pachvault.restore.state.restore_records import as_record, state_of
from pachvault.runtime.progress import Progress
from pachvault.store.open_store import open_store
from pachvault.syntax.quantities import counted
from pachvault.vault.vault import open_vault

IDS = pa.schema([(name, pa.string()) for name in ("project", "repo", "old", "new")])
"""The columns of ids.parquet: a restored commit in its new repo, by its old id."""


_EXIT_CODES = {
    "restored": EXIT_OK,
    "unchanged": EXIT_OK,
    "done": EXIT_OK,
    "partial": EXIT_PARTIAL,
    "different": EXIT_DAMAGE,
    "damaged": EXIT_DAMAGE,
    "busy": EXIT_BUSY,
}
NEXT_STEPS = {
    "partial": "each line under Not restored says what to do; `pachvault verify --level data` checks all",
    "different": "no branch was moved unless the request has `keep_going`: see whether something else wrote "
    "to the target, then commit the request again under another name",
    "refused": "correct the request and commit it again: "
    "`pachctl put file requests@master:/NAME.yaml -f NAME.yaml --project pachvault`",
    "damaged": "`pachvault verify --level data` lists what is affected; a request with `keep_going: true` "
    "restores what is intact",
    "busy": "`pachvault restores` shows the run that carries the request out",
    "failed": "remove the cause, then commit the request again under another name",
}


class RequestResult(Outcome):
    """The result of a request, as restore_replay writes it. Its status is one of

    restored, unchanged, partial, different, done, refused, damaged, busy and failed.
    """

    request: str
    """The request's id."""
    vault: str = ""
    snapshot: str = ""
    """The snapshot's id; empty where none was chosen."""
    frozen_at: Time | None = None
    """When the snapshot was frozen."""
    targets: list[str] = []
    """The branches that the request is about, project/repo@branch each."""
    finished_at: str | None = None
    ids: Annotated[dict[str, dict[str, str]], Field(exclude=True)] = {}
    """Repo to old id to new id; not in the report, but in files of their own."""
    lost: list[str] = []
    differences: list[dict[str, str]] = []
    kept: list[str] = []
    """Branches that keep what differs; the heads were not moved then."""
    pipelines: list[str] = []
    """Those that were created, project/name each."""
    notes: list[str] = []
    not_restored: list[str] = []
    """A line for each pipeline that was not created, and each output that nothing brings back."""

    @classmethod
    def of(
        cls, plan: RestorePlan, status: str, summary: str, exit_code: int | None = None, **more: object
    ) -> Self:
        """The result of a plan; `more` are the fields that its record has."""
        fields: dict[str, object] = {
            "request": plan.request_id,
            "status": status,
            "summary": summary,
            "exit_code": _EXIT_CODES[status] if exit_code is None else exit_code,
            "next_step": NEXT_STEPS.get(status, ""),
            "vault": plan.vault,
            "snapshot": plan.snapshot,
            "frozen_at": plan.frozen_at,
            "targets": plan.targets,
        }
        return cls.model_validate(fields | more)

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
        return RequestResult.of(plan, "refused", plan.summary, plan.exit_code or EXIT_USAGE)

    def settled() -> RequestResult:
        with held(source, target, plan.request_id, holder) as lock:
            return _settle(source, target, plan, receipts, lock, progress)

    def given_up() -> None:
        with held(source, target, plan.request_id, holder) as lock:
            lock.give_up()

    outcome = value_or_error(settled)
    if isinstance(outcome, HeldError):  # the other run reports for itself, and the staged parts are in use
        return RequestResult.of(plan, "busy", str(outcome))
    if isinstance(outcome, PachvaultError):
        # what is staged would be left to garbage collection otherwise; that this fails changes nothing in the
        # answer
        value_or_error(given_up)
        status = "damaged" if isinstance(outcome, DamageError) else "failed"
        return RequestResult.of(plan, status, str(outcome), outcome.exit_code)
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
        return _answered(plan, recorded, "done")
    if plan.status == "done":  # it was when it was planned, and the record was deleted since
        lock.remove()
        return RequestResult.of(plan, "done", plan.summary)
    for receipt in receipts:
        if receipt.problem and not (receipt.is_damage and plan.keep_going):
            raise (DamageError if receipt.is_damage else UsageError)(receipt.problem)
    vault = open_vault(open_store(plan.vault))
    report = carry_out(source, target, vault, plan, lock, progress)
    return _answered(plan, as_record(report), _status(report), report.kept)


def _status(report: RestoreReport) -> str:
    if report.differences:
        return "different"
    if report.lost or report.not_restored:
        return "partial"
    return "unchanged" if report.is_unchanged else "restored"


def _answered(
    plan: RestorePlan, recorded: dict[str, object], status: str, kept: Sequence[str] = ()
) -> RequestResult:
    names = ("finished_at", "ids", "lost", "differences", "pipelines", "not_restored", "notes")
    fields = {name: recorded[name] for name in names if name in recorded}
    # a datum that is tried again after its request was recorded must not turn a loss into something good
    state = state_of(recorded)
    exit_code = _EXIT_CODES[state if state in _EXIT_CODES else status]
    result = RequestResult.of(plan, status, str(recorded["summary"]), exit_code, kept=list(kept), **fields)
    return result.model_copy(update={"summary": f"{_shortcoming(result)}{result.summary}"})


def _shortcoming(result: RequestResult) -> str:
    """The first difference or loss, for the one line that people read; the lists have all."""
    if result.differences:
        first = result.differences[0]
        place = f"{first['repo']}@{first['commit']}:{first['path']}"
        return f"{counted(len(result.differences), 'difference')} from the vault, first {place}; "
    missing = [*result.lost, *result.not_restored]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        return f"not restored: {missing[0]}{more}; "
    return ""


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()

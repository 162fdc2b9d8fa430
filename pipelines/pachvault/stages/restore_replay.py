"""Stage `restore_replay`: a request's plan and receipts in; its report (JSON, Markdown) and id map out."""

from __future__ import annotations

import logging

from pachvault import cluster_project, policy
from pachvault.errors import CorruptError, PachvaultError, PachydermError, UsageError
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.restore.request.request_reports import result_report
from pachvault.restore.request.request_result import RequestResult, request_result
from pachvault.restore.restore_messages import FetchReceipt, RestorePlan
from pachvault.restore.state.lock_holder import LockHolder
from pachvault.runtime.progress import Quiet
from pachvault.worker import Worker

_log = logging.getLogger(__name__)


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    plans = list(worker.inputs("restore_plan", "*/plan.json"))
    if len(plans) != 1:
        raise PachvaultError(
            f"expected exactly one request in this datum, found {len(plans)}", where="/pfs/restore_plan"
        )
    folder = plans[0].parent.name
    try:
        result = _result(worker, folder, RestorePlan.read(plans[0].read_bytes(), plans[0].name))
    except CorruptError as error:  # of another version: that must not stand in the way of other requests
        result = RequestResult(
            request=folder,
            status="failed",
            summary=str(error),
            exit_code=error.exit_code,
            next_step="commit the request again",
        )
    # restore_verdict fails for it in this job only
    result = result.model_copy(update={"job": worker.job_id})
    worker.write(f"{folder}/report.json", result.encode())
    worker.write(f"{folder}/report.md", result_report(folder, result))
    worker.write(f"{folder}/ids.json", result.id_map())
    worker.write(f"{folder}/ids.parquet", result.id_table())
    return f"{folder}: {result.status}: {result.summary}"


def _result(worker: Worker, folder: str, plan: RestorePlan) -> RequestResult:
    files = worker.inputs("restore_fetch", f"{folder}/receipts/*.json")
    receipts = [FetchReceipt.read(path.read_bytes(), path.name) for path in files]
    numbers = sorted(receipt.number for receipt in receipts if receipt.request_id == plan.request_id)
    if numbers != list(range(max(plan.shares, 1))):
        raise PachvaultError(f"found receipts {numbers}, expected {max(plan.shares, 1)}", where=folder)
    with connect(worker.pachd, worker.token) as connection:
        source, target = Source(connection), Target(connection)
        holder = LockHolder.of_job(worker.job_id, folder)
        result = request_result(source, target, plan, receipts, holder, Quiet())
        return result.model_copy(update={"is_signalled": _is_signalled(source)})


def _is_signalled(source: Source) -> bool:
    """Whether the policy wants a failed job; yes where there is no policy, or none that can be read."""
    try:
        return policy.parse(cluster_project.policy_text(source), "policy.yaml").verdicts
    except (UsageError, PachydermError) as error:
        _log.info("the policy was not read, `verdicts` counts as on: %s", error)
        return True

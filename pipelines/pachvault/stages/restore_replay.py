"""Stage `restore_replay`: a request's plan and receipts in; `REQUEST/report.json` and its id map out."""

from __future__ import annotations

from pachvault.errors import CorruptError, PachvaultError
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.restore.request.request_result import RequestResult, request_result
from pachvault.restore.restore_messages import FetchReceipt, RestorePlan
from pachvault.restore.state.lock_holder import LockHolder
from pachvault.runtime.progress import Quiet
from pachvault.worker import Worker


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
        result = RequestResult(folder, "failed", f"{error}; commit the request again")
    worker.write(f"{folder}/report.json", result.report())
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
        return request_result(
            source, target, plan, receipts, LockHolder.of_job(worker.job_id, folder), Quiet()
        )

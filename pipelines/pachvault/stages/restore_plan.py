"""Stage `restore_plan`: a request in; `REQUEST/plan.json`, `report.md` and `work/NNNN.json` out."""

from __future__ import annotations

from pachvault.errors import PachvaultError
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.restore.request.request_plan import plan_request
from pachvault.restore.request.request_reports import plan_report
from pachvault.worker import Worker


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    entries = sorted((worker.pfs / "requests").iterdir())
    if len(entries) != 1:
        raise PachvaultError(
            f"expected exactly one request in this datum, found {len(entries)}", where="/pfs/requests"
        )
    data = entries[0].read_bytes() if entries[0].is_file() else None
    with connect(worker.pachd, worker.token) as connection:
        request_plan = plan_request(entries[0].name, data, Source(connection))
    folder, plan = request_plan.folder, request_plan.plan
    worker.write(f"{folder}/plan.json", plan.encode())
    worker.write(f"{folder}/report.md", plan_report(folder, plan))
    for share in request_plan.shares:
        worker.write(f"{folder}/work/{share.number:04d}.json", share.encode())
    return f"{folder}: {plan.status}: {plan.summary}"

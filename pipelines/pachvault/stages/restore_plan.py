"""Stage `restore_plan`: a request in; `REQUEST/plan.json` and `REQUEST/work/NNNN.json` out."""

from __future__ import annotations

from pachvault.errors import PachvaultError
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.restore.request.request_plan import plan_request
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
    worker.write(f"{request_plan.folder}/plan.json", request_plan.plan.encode())
    for share in request_plan.shares:
        worker.write(f"{request_plan.folder}/work/{share.number:04d}.json", share.encode())
    return f"{request_plan.folder}: {request_plan.plan.status}: {request_plan.plan.summary}"

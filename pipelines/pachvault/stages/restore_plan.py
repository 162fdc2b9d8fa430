"""Stage `restore_plan`: a request in; `REQUEST/plan.json` and `REQUEST/work/NNNN.json` out."""

from __future__ import annotations

from pachvault.errors import PachvaultError
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.restore.request.request_plan import take_in
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
        intake = take_in(entries[0].name, data, Source(connection))
    worker.write(f"{intake.folder}/plan.json", intake.plan.encode())
    for share in intake.shares:
        worker.write(f"{intake.folder}/work/{share.number:04d}.json", share.encode())
    return f"{intake.folder}: {intake.plan.status}: {intake.plan.summary}"

"""Stage `maintenance_verdict`: `report.json` of maintenance in; nothing out. Fails for what it found."""

from __future__ import annotations

from pachvault.bad_runs import fail_bad_run
from pachvault.worker import Worker


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    return fail_bad_run(worker, "maintenance", "report.json")

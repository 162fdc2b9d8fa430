"""Stage `restore_verdict`: a `REQUEST/report.json` in; nothing out. Fails for a restore that was not good."""

from __future__ import annotations

from pachvault.bad_runs import fail_bad_run
from pachvault.worker import Worker


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    return fail_bad_run(worker, "restore_replay", "*/report.json", is_once=True)

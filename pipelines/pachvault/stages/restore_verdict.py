"""Stage `restore_verdict`: a `REQUEST/report.json` in; nothing out. Fails for a restore that was not good."""

from __future__ import annotations

from pachvault.verdict import verdict
from pachvault.worker import Worker


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    return verdict(worker, "restore_replay", "*/report.json", is_once=True)

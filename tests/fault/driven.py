"""Backups as processes that are made to die, and what is left in the vault."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from e2e.backup import Backup
from e2e.cli import Outcome

DRIVER = Path(__file__).with_name("driver.py")


def drive(backup: Backup, seam: str, nth: int = 0, how: str = "before") -> Outcome:
    """A backup that is killed at the n-th call of a seam (driver.py); 0: never."""
    command = [sys.executable, str(DRIVER), seam, str(nth), how, "--", *backup.arguments("--quiet")]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr.decode())


def was_killed(outcome: Outcome) -> bool:
    assert outcome.code in (0, -signal.SIGKILL), outcome.err
    return outcome.code != 0


def calls(outcome: Outcome) -> int:
    """How many calls of its seam a backup that lived made."""
    assert outcome.code == 0, outcome.err
    match = re.search(r"^calls (\d+)$", outcome.err, re.MULTILINE)
    assert match, outcome.err
    return int(match[1])


def times(backup: Backup, *folders: str) -> dict[str, int]:
    """When each object was written: equal times mean the same file, untouched."""
    folder = backup.vault.folder
    return {name: (folder / name).stat().st_mtime_ns for name in backup.vault.files(*folders)}

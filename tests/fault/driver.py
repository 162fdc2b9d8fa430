"""Run as a process: `pachvault backup` that dies or fails at the n-th call of a seam.

    python driver.py SEAM NTH HOW -- pachvault's own arguments

SEAM is `put`, `write` (half the bytes of a file reach the disk first), `target` (a write call to
Pachyderm) or `none`; HOW is `before` or `after` the call. It tells on standard error how many calls
there were, if it lived to see the end.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from pachvault.cli.main import run
from pachvault.pach.target import Target
from pachvault.store import files
from pachvault.store.folder_store import FolderStore

WRITES = ("ensure_project", "ensure_repo", "start", "clear", "add_file_set", "finish", "delete_branch")


class Seam:
    """Counts the calls of what it wraps, and ends the process at the n-th."""

    def __init__(self, nth: int, how: str) -> None:
        self.nth, self.how, self.calls = nth, how, 0

    def wrap(self, owner: type, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            is_due = self.calls == self.nth
            if is_due and self.how == "before":
                die()
            answer = original(*arguments, **options)
            if is_due:
                die()
            return answer

        setattr(owner, name, wrapped)

    def halve(self) -> None:
        """Let the n-th write of a file reach the disk by half, under its temporary name."""
        original = files.written
        seam = self

        def wrapped(handle: int, name: str, parts: Any, **options: Any) -> Any:
            seam.calls += 1
            if seam.calls == seam.nth:
                data = b"".join(parts)
                file = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=handle)
                os.write(file, data[: len(data) // 2])
                die()
            return original(handle, name, parts, **options)

        files.written = wrapped  # type: ignore[assignment]


def die() -> None:
    """As a power cut would: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    kind, nth, how = sys.argv[1:4]
    seam = Seam(int(nth), how)
    if kind == "put":
        seam.wrap(FolderStore, "put")
    elif kind == "write":
        seam.halve()
    elif kind == "target":
        for name in WRITES:
            seam.wrap(Target, name)
    code = run(sys.argv[5:])
    sys.stderr.write(f"calls {seam.calls}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

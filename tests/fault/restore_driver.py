"""Run as a process: `pachvault restore` that dies at the n-th write to Pachyderm.

    python restore_driver.py NTH HOW PART_BYTES -- pachvault's own arguments

HOW is `before` or `after` the call, or `spoilt`: after it, and files named /log are written wrongly.
PART_BYTES is from which size on changes are staged in parts. It tells on standard error how many calls
there were, if it lived to see the end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from driver import Seam

from pachvault.cli.main import run
from pachvault.pach.target import Target
from pachvault.restore.plan import fetch_shares

WRITES = (
    "ensure_project", "ensure_repo", "start", "start_together", "clear", "change", "make_file_set",
    "add_file_set", "finish", "point", "point_together", "put_files", "delete_branch", "delete_repo",
)  # fmt: skip


def spoil() -> None:
    """Let /log be written with other bytes of the same number."""
    make = Target.make_file_set

    def spoilt(target: Target, delete: Iterable[str], put: Iterable[tuple[str, bytes]] = ()) -> str:
        return make(target, delete, ((path, data[::-1] if path == "/log" else data) for path, data in put))

    Target.make_file_set = spoilt  # type: ignore[method-assign]


def main() -> int:
    nth, how, part_bytes = sys.argv[1:4]
    if how == "spoilt":
        spoil()
    seam = Seam(int(nth), how)
    for name in WRITES:
        seam.wrap(Target, name)
    fetch_shares.PART_BYTES = int(part_bytes)
    code = run(sys.argv[5:])
    sys.stderr.write(f"calls {seam.calls}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

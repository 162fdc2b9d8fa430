"""Runs one command and writes down its cost by the kernel's figures. A program of its own, and a small one.

`python -IS timed.py RESULT COMMAND ARG ...`. A process's peak memory counts what it was before it
executed its program, so a large parent would be measured instead of a small command.
"""

import json
import os
import sys
import time


def main() -> int:
    """Run, wait, write `RESULT`; the command's own exit code."""
    result, command = sys.argv[1], sys.argv[2:]
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        try:
            os.execvp(command[0], command)  # noqa: S606  (no shell is meant)
        finally:
            os._exit(127)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - began
    # the kernel adds to a process's usage that of the children it waited for; its peak is that of the largest
    figures = {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
    }
    with open(result, "w") as file:  # noqa: PTH123  (pathlib is half of this program's own start-up)
        json.dump(figures, file)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())

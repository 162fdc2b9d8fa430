"""One run of user code: a process group of its own, its output as log lines, an end on time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from embedded_pachyderm.pps.worker.sandbox import Command

#: Marks every process that a server started, so that the next server of the folder finds orphans.
OWNER_VARIABLE = "PACHVAULT_LOCAL_STATE"
_POLL_SECONDS = 0.05
_DRAIN_SECONDS = 2.0


def run(
    command: Command,
    *,
    environment: Mapping[str, str],
    say: Callable[[str], None],
    stopped: Callable[[], bool],
) -> str | None:
    """Run a command and kill processes that it leaves; returns the error (`exit status 1`) or none."""
    try:
        process = subprocess.Popen(
            command.arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**environment, **command.environment},
            start_new_session=True,
        )
    except OSError as error:
        return f"cannot start {command.arguments[0]}: {error.strerror}"
    feeder = threading.Thread(target=_feed, args=(process, command.stdin), daemon=True)
    reader = threading.Thread(target=_read, args=(process, say), daemon=True)
    feeder.start()
    reader.start()
    problem = _wait(process, stopped)
    # Children that outlive the command would hold its output open, and its scratch folder.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    feeder.join(_DRAIN_SECONDS)
    reader.join(_DRAIN_SECONDS)
    return problem


def _wait(process: subprocess.Popen[bytes], stopped: Callable[[], bool]) -> str | None:
    while True:
        try:
            code = process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if stopped():
                return "stopped"
            continue
        if code == 0:
            return None
        return f"exit status {code}" if code > 0 else f"signal: {signal.Signals(-code).name}"


def _feed(process: subprocess.Popen[bytes], text: str) -> None:
    assert process.stdin is not None  # noqa: S101 - opened as a pipe above
    # A program need not read what it is given.
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(text.encode())


def _read(process: subprocess.Popen[bytes], say: Callable[[str], None]) -> None:
    assert process.stdout is not None  # noqa: S101 - opened as a pipe above
    with process.stdout as pipe:
        for line in pipe:
            say(line.decode(errors="replace").rstrip("\r\n"))


def kill_orphans(state: Path) -> int:
    """Kill processes that a killed server of this folder left running; returns their number."""
    mark = f"{OWNER_VARIABLE}={state}".encode()
    killed = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = mark in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if marked and int(folder.name) != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(folder.name), signal.SIGKILL)
                killed += 1
    return killed

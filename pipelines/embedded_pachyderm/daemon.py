"""Start, find and stop the embedded Pachyderm's server process of one state folder.

The process is `python -m embedded_pachyderm`; it lives on when its starter ends. Whether it runs is told
by its lock on the folder, never by a process number alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pachvault.errors import PachvaultError, UsageError

LOCK_NAME = "server.lock"
READY_NAME = "server.json"
LOG_NAME = "server.log"
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.02
_TAIL_LINES = 5


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers at `address`, for example `grpc://127.0.0.1:30650`."""

    address: str
    pid: int
    state: Path


def start(state: Path, *, port: int = 0, has_costs: bool = False, wait_seconds: float = 30) -> Running:
    """The running server of this folder, started if need be; port 0 takes a free one.

    With `has_costs` one that is started answers as slowly as a real Pachyderm.
    """
    state = state.absolute()
    running = status(state)
    if running is not None:
        return running
    try:
        state.mkdir(parents=True, exist_ok=True)
        log = (state / LOG_NAME).open("ab")
    except OSError as error:
        raise UsageError(f"cannot write the state folder: {error.strerror}", where=str(state)) from error
    with log:
        pid = _spawn(state, port, log.fileno(), has_costs=has_costs)
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        running = status(state)
        if running is not None:
            if running.pid != pid:
                # Another starter was faster; ours must not take the folder once that one is stopped.
                _end(pid)
            return running
        if _ended(pid):
            # Another starter may have won the lock: then its server is the one.
            running = _wait_for_other(state, deadline)
            if running is not None:
                return running
            raise PachvaultError(f"the embedded Pachyderm did not start: {_tail(state)}", where=str(state))
        time.sleep(_POLL_SECONDS)
    _end(pid)
    raise PachvaultError(f"the embedded Pachyderm was not ready in {wait_seconds:g} s", where=str(state))


def stop(state: Path) -> bool:
    """End the server of this folder in order; false when none ran."""
    state = state.absolute()
    if not _locked(state):
        return False
    running = status(state)
    if running is None:
        raise PachvaultError("the embedded Pachyderm is starting or stopping; try again", where=str(state))
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, number)
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            if not _locked(state):
                _ended(running.pid)
                return True
            time.sleep(_POLL_SECONDS)
    raise PachvaultError(f"process {running.pid} does not end", where=str(state))


def status(state: Path) -> Running | None:
    """The server of this folder, if it is up and listening."""
    state = state.absolute()
    if not _locked(state):
        return None
    try:
        ready = json.loads((state / READY_NAME).read_text())
        return Running(address=str(ready["address"]), pid=int(ready["pid"]), state=state)
    except (OSError, ValueError, KeyError):
        return None


def _spawn(state: Path, port: int, log: int, *, has_costs: bool) -> int:
    command = [sys.executable, "-m", "embedded_pachyderm", "--state", str(state), "--port", str(port)]
    if has_costs:
        command.append("--costs")
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        # Not subprocess: its object would want to be waited for, and this process is to outlive us.
        return os.posix_spawn(
            sys.executable,
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(null)


def _locked(state: Path) -> bool:
    try:
        with (state / LOCK_NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise UsageError(f"cannot read the state folder: {error.strerror}", where=str(state)) from error
    return False


def _wait_for_other(state: Path, deadline: float) -> Running | None:
    while _locked(state) and time.monotonic() < deadline:
        running = status(state)
        if running is not None:
            return running
        time.sleep(_POLL_SECONDS)
    return None


def _end(pid: int) -> None:
    """Kill our child and reap it."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _ended(pid: int) -> bool:
    """Whether our child has ended; reaps it. A process that is not our child counts as running."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def _tail(state: Path) -> str:
    lines = (state / LOG_NAME).read_text(errors="replace").splitlines()
    return " | ".join(line.strip() for line in lines[-_TAIL_LINES:] if line.strip()) or "its log is empty"

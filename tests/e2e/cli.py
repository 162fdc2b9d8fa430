"""The command line, run in this process with its output caught, or as a process of its own."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import json_output
from e2e.cluster import eventually
from pachvault.cli.main import run


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, and what it wrote."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What --json printed; every line is as docs/json.schema.json says."""
        return json_output.checked(self.out)

    def only(self, kind: str) -> dict[str, Any]:
        """The one object of a type."""
        matching = self.kind(kind)
        assert len(matching) == 1, f"{len(matching)} objects of type {kind} in {self.out}"
        return matching[0]

    def kind(self, kind: str) -> list[dict[str, Any]]:
        return [line_object for line_object in self.objects if line_object["type"] == kind]

    def says(self, code: int) -> str:
        """The one line of an error with this exit code."""
        assert self.code == code, f"exit {self.code}: {self.err or self.out}"
        lines = self.err.strip().splitlines()  # the line that ^C stands in is ended first
        assert len(lines) == 1, self.err
        assert lines[0].startswith("pachvault: "), self.err
        assert "Traceback" not in self.err
        assert "a bug" not in self.err
        return lines[0]


def pachvault(*arguments: str) -> Outcome:
    """Run a command in this process."""
    out, err = io.BytesIO(), io.StringIO()
    text = io.TextIOWrapper(out, encoding="utf-8", write_through=True)
    with redirect_stdout(text), redirect_stderr(err):
        code = run(list(arguments))
    text.flush()
    return Outcome(code, out.getvalue(), err.getvalue())


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command as a process with a group of its own, as a shell makes it; it does not outlive the block."""
    # where the tests run in the background of a shell, SIGINT is ignored, and children inherit that
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = "import sys; from pachvault.cli.main import main; sys.argv[0] = 'pachvault'; main()"
    command = [sys.executable, "-c", f"{listen}; {code}", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def meanwhile(process: subprocess.Popen[bytes], what: str, condition: Callable[[], bool]) -> None:
    """Wait until a condition holds while the process runs."""

    def holds() -> bool:
        assert process.poll() is None, f"it ended before {what}: {ended(process)}"
        return condition()

    eventually(what, holds)


def ended(process: subprocess.Popen[bytes], seconds: float = 120) -> Outcome:
    """What became of it."""
    out, err = process.communicate(timeout=seconds)
    return Outcome(process.returncode, out, err.decode())

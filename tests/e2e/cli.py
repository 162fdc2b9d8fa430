"""The command line, run in this process with its output caught, or as a process of its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

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
        """What --json printed."""
        return [json.loads(line) for line in self.out.splitlines()]

    def only(self, kind: str) -> dict[str, Any]:
        """The one object of a type."""
        found = self.kind(kind)
        assert len(found) == 1, f"{len(found)} objects of type {kind} in {self.out}"
        return found[0]

    def kind(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.objects if each["type"] == kind]

    def says(self, code: int) -> str:
        """The one line of an error with this exit code."""
        assert self.code == code, f"exit {self.code}: {self.err or self.out}"
        lines = self.err.splitlines()
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


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a command as a process."""
    code = "import sys; from pachvault.cli.main import main; sys.argv[0] = 'pachvault'; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(process: subprocess.Popen[bytes], seconds: float = 120) -> Outcome:
    """What became of it."""
    out, err = process.communicate(timeout=seconds)
    return Outcome(process.returncode, out, err.decode())

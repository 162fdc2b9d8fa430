"""Progress reports of long work, and the ways to show them."""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

from pachvault.runtime.terminal import printable

_JSON_EVERY_SECONDS = 1.0


class Progress(Protocol):
    """Where work reports to. Safe to call from several threads."""

    def start(self, what: str, total_bytes: int) -> None:
        """Begin a phase of about so many bytes."""

    def add(self, size: int, files: int) -> None:
        """Add bytes and files that are done."""

    def say(self, text: str) -> None:
        """One line for people."""


class Quiet:
    """Shows nothing: for workers, whose logs should be short, and for --quiet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def start(self, what: str, total_bytes: int) -> None:
        """See Progress.start."""

    def add(self, size: int, files: int) -> None:
        """See Progress.add."""

    def say(self, text: str) -> None:
        """See Progress.say."""


class Terminal(Quiet):
    """A bar on standard error, with bytes, files, rate and time left; plain lines where it is no terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            DownloadColumn(binary_units=True),
            TextColumn("{task.fields[files]:,} files"),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None
        self._files = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def start(self, what: str, total_bytes: int) -> None:
        """See Progress.start."""
        with self._lock:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._files = 0
            self._task = self._bars.add_task(what, total=total_bytes or None, files=0)

    def add(self, size: int, files: int) -> None:
        """See Progress.add."""
        with self._lock:
            if self._task is not None:
                self._files += files
                self._bars.update(self._task, advance=size, files=self._files)

    def say(self, text: str) -> None:
        """See Progress.say."""
        line = printable(text)
        if self._console.is_terminal:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
            return
        with suppress(OSError):  # standard error is closed: the work continues
            sys.stderr.write(line + "\n")


@dataclass(frozen=True, kw_only=True)
class ProgressLine:
    """How far the command is in a phase. At most one a second is written, and one at the end of a phase."""

    type: Literal["progress"] = "progress"
    phase: str
    done_bytes: int
    total_bytes: int
    """An estimate; 0 where there is none."""
    files: int
    bytes_per_second: int
    """The mean rate of the phase."""
    remaining_seconds: float | None
    """An estimate; None where there is none."""


class JsonLines(Quiet):
    """Writes ProgressLine objects to standard output as JSON, at most one a second."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._what, self._total, self._bytes, self._files = "", 0, 0, 0
        self._began = self._shown = time.monotonic()
        self._lock = threading.Lock()
        self._is_told = True
        self._is_lost = False

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._tell_rest()

    def start(self, what: str, total_bytes: int) -> None:
        """See Progress.start."""
        with self._lock:
            self._tell_rest()
            self._what, self._total, self._bytes, self._files = what, total_bytes, 0, 0
            self._began = time.monotonic()
            self._show()

    def add(self, size: int, files: int) -> None:
        """See Progress.add."""
        with self._lock:
            self._bytes += size
            self._files += files
            self._is_told = False
            if time.monotonic() - self._shown >= _JSON_EVERY_SECONDS:
                self._show()

    def _tell_rest(self) -> None:
        """Show the end of a phase, unless its last line did."""
        if not self._is_told:
            self._show()

    def _show(self) -> None:
        self._is_told = True
        self._shown = time.monotonic()
        seconds = max(self._shown - self._began, 1e-6)
        rate = self._bytes / seconds
        remaining = round((self._total - self._bytes) / rate, 1) if rate and self._total else None
        line = ProgressLine(
            phase=self._what,
            done_bytes=self._bytes,
            total_bytes=self._total,
            files=self._files,
            bytes_per_second=round(rate),
            remaining_seconds=remaining,
        )
        if self._is_lost:
            return
        try:
            self._out.write(json.dumps(asdict(line)) + "\n")
            self._out.flush()
        except OSError:
            # the work continues; the result is written there, too, and fails with the reason
            self._is_lost = True

"""One run of a command, measured as a whole process; and the figures of many."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

_TIMED = Path(__file__).with_name("timed.py")
_TOLD = 400


class CommandError(Exception):
    """A measured command failed: there is no figure to report."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run took; `printed` is the JSON object that it printed last, if it printed one."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    printed: dict[str, Any] = field(default_factory=dict)

    @property
    def inner_seconds(self) -> float:
        """What the command itself measured, its start-up left out; else all of it."""
        return float(self.printed.get("seconds", self.seconds))

    def __add__(self, other: Sample) -> Sample:
        return Sample(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_bytes, other.peak_bytes),
            self.printed | other.printed,
        )


def run(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None, expect: Sequence[int] = (0,)
) -> Sample:
    """Run a command; CommandError where it exits with a code that is not expected."""
    with tempfile.NamedTemporaryFile("r") as result:
        words = [sys.executable, "-IS", _TIMED, result.name, *command]
        code, out, talk = _run(words, environment)
        if code not in expect:
            raise CommandError(f"{' '.join(map(str, command))}: exit {code}: {_end(talk)}")
        return Sample(**json.load(result), printed=_last_object(out) or _last_object(talk))


def _run(words: Sequence[str | Path], environment: Mapping[str, str] | None) -> tuple[int, str, str]:
    """Exit code and both outputs. Breaking off the benchmark ends the command and all its children."""
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            out, talk = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return process.returncode, out, talk


def _last_object(text: str) -> dict[str, Any]:
    lines = text.splitlines()
    if lines and lines[-1].startswith("{"):
        found = json.loads(lines[-1])
        return found if isinstance(found, dict) else {}
    return {}


def _end(text: str) -> str:
    return " ".join(text.split())[-_TOLD:]


class Figures:
    """All samples: by data set, case, and who did it."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str, str], list[Sample]] = {}

    def add(self, data_set: str, case: str, who: str, sample: Sample) -> Sample:
        """Note a run."""
        self._samples.setdefault((data_set, case, who), []).append(sample)
        cost = f"{sample.seconds:8.2f} s {sample.peak_bytes / 2**20:6.0f} MiB"
        sys.stderr.write(f"  {data_set:6} {case:10} {who:22} {cost}\n")
        return sample

    def note(self, data_set: str, case: str, who: str, value: float) -> None:
        """Note a number that is no time."""
        self._samples.setdefault((data_set, case, who), []).append(Sample(0, 0, 0, {"value": value}))

    def of(self, data_set: str, case: str, who: str) -> list[Sample]:
        """The samples of a case; maybe none."""
        return self._samples.get((data_set, case, who), [])

    def cases(self) -> list[tuple[str, str]]:
        """Data set and case, in the order in which they were first measured."""
        return list(dict.fromkeys((data_set, case) for data_set, case, _ in self._samples))

    def seconds(self, data_set: str, case: str, who: str) -> float | None:
        """Median of the wall time."""
        found = self.of(data_set, case, who)
        return median(each.seconds for each in found) if found else None

    def inner(self, data_set: str, case: str, who: str) -> float | None:
        """Median of what the command itself measured."""
        found = self.of(data_set, case, who)
        return median(each.inner_seconds for each in found) if found else None

    def cpu(self, data_set: str, case: str, who: str) -> float | None:
        """Median of the processor time, which other work on the machine changes least."""
        found = self.of(data_set, case, who)
        return median(each.cpu_seconds for each in found) if found else None

    def peak(self, data_set: str, case: str, who: str) -> int | None:
        """The largest peak."""
        found = self.of(data_set, case, who)
        return max(each.peak_bytes for each in found) if found else None

    def printed(self, data_set: str, case: str, who: str, name: str) -> float | None:
        """Median of a number that the command printed."""
        numbers = [sample.printed[name] for sample in self.of(data_set, case, who) if name in sample.printed]
        return median(numbers) if numbers else None

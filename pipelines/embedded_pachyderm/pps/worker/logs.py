"""Logs of jobs and their user code: one file of JSON lines a job, kept until the pipeline is deleted."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from embedded_pachyderm.pps.state import Key

_MASTER = "master"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: when, by whom, about which job and datum; `user` when user code wrote it."""

    at: float
    job: str
    worker: str
    datum: str
    user: bool
    message: str


class Logs:
    """The log files below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def write(
        self, key: Key, message: str, *, job: str = "", worker: str = "", datum: str = "", user: bool = False
    ) -> None:
        line = LogLine(at=time.time(), job=job, worker=worker, datum=datum, user=user, message=message)
        text = json.dumps(asdict(line), ensure_ascii=False) + "\n"
        file = self._file(key, job)
        with self._lock:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as target:
                target.write(text)

    def read(self, key: Key, job: str | None = None) -> list[LogLine]:
        """All lines of a pipeline, or of one of its jobs, oldest first."""
        files = [self._file(key, job)] if job is not None else sorted(self._folder_of(key).glob("*.jsonl"))
        lines = [line for file in files for line in _lines(file)]
        return sorted(lines, key=lambda line: line.at)

    def forget(self, key: Key) -> None:
        shutil.rmtree(self._folder_of(key), ignore_errors=True)

    def _folder_of(self, key: Key) -> Path:
        return self._folder / key.project / key.name

    def _file(self, key: Key, job: str) -> Path:
        return self._folder_of(key) / f"{job or _MASTER}.jsonl"


def _lines(file: Path) -> Iterator[LogLine]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            yield LogLine(**json.loads(line))
        except ValueError:
            continue  # the last line of a killed server

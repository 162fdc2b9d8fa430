"""Progress as JSON lines and in a terminal."""

from __future__ import annotations

import errno
import io
import json
import threading
import time

import pytest

from pachvault.api import _WatchedProgress
from pachvault.pach.worker_processes import _Reports
from pachvault.runtime import progress
from pachvault.runtime.progress import JsonLines, Progress, Quiet, Terminal


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_every_json_line_is_one_object_with_phase_bytes_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_JSON_EVERY_SECONDS", 0.0)
    out = io.StringIO()
    with JsonLines(out) as shown:
        shown.start("export", 100)
        shown.add(40, 1)
        shown.add(60, 2)
        shown.say("for people")
    printed = lines(out)
    assert [(line["type"], line["phase"], line["done_bytes"], line["files"]) for line in printed] == [
        ("progress", "export", 0, 0),
        ("progress", "export", 40, 1),
        ("progress", "export", 100, 3),
    ]
    assert printed[0]["total_bytes"] == 100
    assert printed[-1]["remaining_seconds"] == 0.0
    assert printed[0]["remaining_seconds"] is None


def test_json_lines_come_at_most_once_a_second() -> None:
    out = io.StringIO()
    shown = JsonLines(out)
    shown.start("export", 100)
    for _ in range(1000):
        shown.add(1, 1)
    assert len(lines(out)) == 1


def test_a_new_phase_counts_from_zero() -> None:
    out = io.StringIO()
    shown = JsonLines(out)
    shown.start("export", 100)
    shown.add(100, 5)
    shown.start("seal", 0)
    last = lines(out)[-1]
    assert (last["phase"], last["done_bytes"], last["files"], last["remaining_seconds"]) == (
        "seal",
        0,
        0,
        None,
    )


def test_where_there_is_no_terminal_only_plain_lines_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal() as shown:
        shown.add(1, 1)
        shown.start("export", 100)
        shown.add(50, 1)
        shown.say("[bold]not markup[/] 12")
        shown.start("seal", 0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "[bold]not markup[/] 12\n"


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Quiet() as shown:
        shown.start("export", 100)
        shown.add(1, 1)
        shown.say("hello")
    assert capsys.readouterr() == ("", "")


class Slow(int):
    """A number whose addition lets the other threads run."""

    def __radd__(self, other: int) -> int:
        time.sleep(0.0001)
        return int(other) + int(self)


class Sums:
    """A queue that adds up what is put."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, int]] = []

    def put(self, report: tuple[int, int]) -> None:
        self.reports.append(report)


def add_from_threads(shown: Progress) -> None:
    def work() -> None:
        for _ in range(50):
            shown.add(Slow(1), Slow(1))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_nothing_that_threads_add_at_once_is_lost() -> None:
    watched = _WatchedProgress()
    watched.start("export", 400)
    add_from_threads(watched)
    assert (watched.now().bytes_done, watched.now().files_done) == (400, 400)
    sums = Sums()
    reports = _Reports(sums)
    add_from_threads(reports)
    reports.pass_on()
    assert [sum(counts) for counts in zip(*sums.reports, strict=True)] == [400, 400]


def test_progress_that_cannot_be_written_stops_no_work() -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with JsonLines(Full()) as shown:
        shown.start("export", 100)
        shown.add(1, 1)


def test_what_is_said_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal() as shown:
        shown.say("gone: \x1b[2Jp/r\nnext")
    assert capsys.readouterr().err == "gone: \\x1b[2Jp/r\\nnext\n"

"""Progress as JSON lines and in a terminal."""

from __future__ import annotations

import io
import json

import pytest

from pachvault import progress
from pachvault.progress import JsonLines, Quiet, Terminal


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
    said = lines(out)
    assert [(line["type"], line["phase"], line["bytes"], line["files"]) for line in said] == [
        ("progress", "export", 0, 0),
        ("progress", "export", 40, 1),
        ("progress", "export", 100, 3),
    ]
    assert said[0]["bytes_total"] == 100
    assert said[-1]["seconds_left"] == 0.0
    assert said[0]["seconds_left"] is None


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
    assert (last["phase"], last["bytes"], last["files"], last["seconds_left"]) == ("seal", 0, 0, None)


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

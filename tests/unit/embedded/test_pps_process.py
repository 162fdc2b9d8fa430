"""User code as a process: its end, its output, its children, and what a killed server leaves."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pps_cluster import gone

from embedded_pachyderm.pps.worker import sandbox
from embedded_pachyderm.pps.worker.process import OWNER_VARIABLE, kill_orphans, run
from embedded_pachyderm.pps.worker.sandbox import Command


def shell(script: str, stdin: str = "") -> Command:
    return Command(arguments=("sh", "-c", script), stdin=stdin, environment={})


def go(
    command: Command,
    *,
    stopped: Callable[[], bool] = lambda: False,
    environment: dict[str, str] | None = None,
) -> tuple[str | None, list[str]]:
    lines: list[str] = []
    problem = run(
        command,
        environment={"PATH": os.environ["PATH"], **(environment or {})},
        say=lines.append,
        stopped=stopped,
    )
    return problem, lines


def test_gives_both_streams_line_by_line_and_the_environment_it_was_given() -> None:
    problem, lines = go(shell("echo out; echo err >&2; echo $MINE"), environment={"MINE": "yes"})
    assert problem is None
    assert sorted(lines) == ["err", "out", "yes"]


@pytest.mark.parametrize(
    ("script", "problem"), [("exit 3", "exit status 3"), ("kill -TERM $$", "signal: SIGTERM")]
)
def test_says_how_it_ended(script: str, problem: str) -> None:
    assert go(shell(script))[0] == problem


def test_says_that_there_is_no_such_program() -> None:
    command = Command(arguments=("no-such-program",), stdin="", environment={})
    problem, _ = go(command)
    assert problem == "cannot start no-such-program: No such file or directory"


def test_feeds_standard_input_and_does_not_mind_who_leaves_it_unread() -> None:
    assert go(shell("cat", stdin="a\nb\n"))[1] == ["a", "b"]
    assert go(shell("exit 0", stdin="x" * 1_000_000)) == (None, [])


def test_is_ended_with_its_children_when_told_to_stop() -> None:
    until = time.monotonic() + 0.3
    problem, lines = go(shell("sleep 600 & echo $!; wait"), stopped=lambda: time.monotonic() > until)
    assert problem == "stopped"
    deadline = time.monotonic() + 5
    while not gone(int(lines[0])):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_children_do_not_outlive_a_command_that_ends_well() -> None:
    began = time.monotonic()
    problem, lines = go(shell("sleep 600 & echo $!"))
    assert problem is None
    assert time.monotonic() - began < 5
    deadline = time.monotonic() + 5
    while not gone(int(lines[0])):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_orphans_are_known_by_the_folder_of_their_server(tmp_path: Path) -> None:
    mine = subprocess.Popen(["sleep", "600"], env={**os.environ, OWNER_VARIABLE: str(tmp_path / "mine")})
    other = subprocess.Popen(["sleep", "600"], env={**os.environ, OWNER_VARIABLE: str(tmp_path / "other")})
    try:
        assert kill_orphans(tmp_path / "mine") == 1
        assert mine.wait(5) < 0
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
        mine.wait()


def test_without_mount_namespaces_the_command_is_pointed_at_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "namespace_command", lambda: None)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_text("content\n")
    (tmp_path / "out").mkdir()
    command = sandbox.command(
        ["sh"], ["cat /pfs/data/a", "cp /pfs/data/a /pfs/out/", "echo $PACHVAULT_PFS"],
        scratch=tmp_path, mounts={},
    )  # fmt: skip
    problem, lines = go(command)
    assert problem is None
    assert lines == ["content", str(tmp_path)]
    assert (tmp_path / "out" / "a").read_text() == "content\n"
    assert sandbox.seen("/pfs/data/a", tmp_path) == str(tmp_path / "data" / "a")


@pytest.mark.parametrize("name", ["a file", "ünïcode"])
def test_lines_of_any_bytes_are_told(name: str) -> None:
    assert go(shell(f"echo '{name}'; printf '\\377\\n'"))[1] == [name, "\ufffd"]

"""The edges of a command: names that steer terminals, output that is full, closed or not read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from made import Repo, back_up, new_vault
from pachvault.cli.main import run
from pachvault.format.ids import RepoName
from pachvault.maintenance import pins

NAME = "\x1b]0;owned\x07\u202e"
EVIL = f"{NAME}\nNEWEST  fake"


@pytest.fixture
def vault(tmp_path: Path) -> str:
    filled = new_vault(tmp_path)
    repo = Repo(RepoName("p", "evil"), description=EVIL)
    repo.commit({f"/{EVIL}": b"x"}, branch="b")
    other = Repo(RepoName("p", "r"))
    other.commit({f"/{EVIL}": b"y", "/a": b"x"})
    snapshot = back_up(filled, repo, other)
    other.commit({"/a": b"x"})
    back_up(filled, other)
    pins.pin(filled, snapshot.name.id, EVIL)
    return str(tmp_path / "vault")


SHOWING = [
    ["snapshots"],
    ["show", "SNAP"],
    ["show", "SNAP", "p/evil"],
    ["ls", "SNAP", "p/evil@b"],
    ["ls", "SNAP", f"p/evil@none{EVIL}"],
    ["cat", "SNAP", f"p/evil@b:/none{EVIL}"],
    ["diff", "SNAP", "latest"],
    ["verify"],
    ["status"],
    ["forget", "--keep-last", "1", "--dry-run"],
    ["restore", EVIL],
    [EVIL],
]


@pytest.mark.parametrize("arguments", SHOWING, ids=lambda arguments: " ".join(arguments)[:20].encode().hex())
def test_nothing_that_steers_a_terminal_is_shown(
    vault: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(["--vault", vault, "snapshots", "--json"])
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (first,) = [str(shown["id"]) for shown in objects if shown["pinned"]]
    run(["--vault", vault, *(first if argument == "SNAP" else argument for argument in arguments)])
    out, err = capsys.readouterr()
    for line in (out + err).splitlines():
        assert line.isprintable(), repr(line)
    assert not any(line.startswith("NEWEST") for line in out.splitlines()), "a name made a line of its own"


def test_json_says_names_exactly(vault: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(["--vault", vault, "snapshots", "--json"])
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (pinned,) = [shown for shown in objects if shown["pinned"]]
    assert pinned["pin_reason"] == EVIL
    run(["--vault", vault, "ls", pinned["id"], "p/r@master", "--json"])
    paths = [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()]
    assert paths == [f"/{EVIL}", "/a"]


def shell(command: str, vault: str, *, is_unbuffered: bool = False) -> tuple[int, list[str]]:
    """A command line's exit code, and the lines on standard error; `p` is pachvault."""
    program = "from pachvault.cli.main import main; main()"
    command = f"p() {{ {sys.executable} -c '{program}' --vault {vault} \"$@\"; }}; {command}"
    environment = dict(os.environ) | ({"PYTHONUNBUFFERED": "1"} if is_unbuffered else {})
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("is_unbuffered", [False, True], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    "command",
    ["snapshots", "snapshots --json", "status", "verify --json", "--help", "cat latest p/r@master:/a"],
)
@pytest.mark.parametrize(
    ("to", "reason"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
def test_output_that_cannot_be_written_is_one_line_and_exit_code_1(
    vault: str, command: str, to: str, reason: str, is_unbuffered: bool
) -> None:
    code, lines = shell(f"p {command} {to}", vault, is_unbuffered=is_unbuffered)
    assert code == 1, lines
    (line,) = lines
    assert line.startswith("pachvault: ")
    assert line.endswith(reason)


@pytest.mark.parametrize("is_unbuffered", [False, True], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("to", [">/dev/full", ">&-"])
def test_an_error_is_told_on_standard_error_where_json_cannot_be_written(
    tmp_path: Path, to: str, is_unbuffered: bool
) -> None:
    code, lines = shell(f"p status --json {to}", str(tmp_path / "none"), is_unbuffered=is_unbuffered)
    assert code == 10
    (line,) = lines
    assert "no such place" in line


@pytest.mark.parametrize("to", ["2>/dev/full", "2>&-", "2>/dev/full >/dev/full", "<&- 2>&-"])
def test_talk_that_nobody_hears_changes_nothing(tmp_path: Path, vault: str, to: str) -> None:
    assert shell(f"p snapshots {to}", vault)[0] == (1 if " >/dev" in to else 0)
    assert shell(f"p status {to}", str(tmp_path / "none"))[0] == 10


def test_a_reader_that_goes_away_stops_no_work_and_is_not_spoken_of(tmp_path: Path) -> None:
    opened = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"x"})
    back_up(opened, repo)
    command = f"p extract latest {tmp_path}/out --json | true; exit ${{PIPESTATUS[0]}}"
    code, lines = shell(command, str(tmp_path / "vault"))
    assert (code, lines) == (1, [])
    assert (tmp_path / "out/p/r/master/a").read_bytes() == b"x"

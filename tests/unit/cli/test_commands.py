"""The command line's contract: help for every command, exit codes, one line or one JSON object an error."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import EntryPoints
from pathlib import Path

import click
import numpy as np
import pytest

import json_output
import pachvault
from made import Repo, back_up, flip, new_vault
from pachvault.cli import main
from pachvault.cli.main import cli, run
from pachvault.errors import PachvaultError
from pachvault.format import layout
from pachvault.format.ids import RepoName, digest
from pachvault.vault.snapshots import Snapshot


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PACHVAULT_VAULT", "PACHD_ADDRESS", "PACH_TOKEN", "PACHVAULT_DEBUG", "PACH_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def snapshots(tmp_path: Path) -> list[Snapshot]:
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"), description="for tests")
    repo.commit({"/a": b"one\n", "/deep/b": b"two\n", "/empty": b""})
    first = back_up(vault, repo)
    repo.commit({"/a": b"uno\n", "/deep/c": b"three\n", "/empty": b""})
    repo.commit({"/x": b"x"}, branch="broken", error="it broke")
    return [first, back_up(vault, repo)]


class Ran:
    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> None:
        self.code = run(["--vault", str(folder / "vault"), *arguments])
        captured = capsys.readouterr()
        self.out, self.err = captured.out, captured.err

    @property
    def objects(self) -> list[dict[str, object]]:
        return json_output.checked(self.out)


def all_commands() -> list[tuple[str, click.Command]]:
    context = click.Context(cli)
    named = [(name, cli.get_command(context, name)) for name in cli.list_commands(context)]
    for name, command in list(named):
        if isinstance(command, click.Group):
            named += [(f"{name} {sub}", command_below) for sub, command_below in command.commands.items()]
    return [(name, command) for name, command in named if command is not None]


COMMANDS = cli.list_commands(click.Context(cli))


def test_every_command_can_be_loaded() -> None:
    assert [name for name, _ in all_commands() if " " not in name] == COMMANDS
    assert COMMANDS[-2:] == ["demo", "local"]


def test_commands_of_the_embedded_server_say_what_they_need_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "entry_points", lambda **_: EntryPoints())
    assert run(["demo"]) == 2
    assert "pip install 'pachvault[demo]'" in capsys.readouterr().err
    assert run(["nonsense"]) == 2
    assert "No such command" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name, _ in all_commands()])
def test_every_command_has_help_that_opens_with_a_sentence(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = dict(all_commands())[name]
    first = (command.help or "").strip().partition("\n\n")[0]
    assert first.endswith("."), first
    assert run([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: pachvault {name}")
    assert [
        option.name for option in command.params if isinstance(option, click.Option) and not option.help
    ] == []


def test_every_command_is_named_in_the_help_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in shown
    assert "Exit codes:" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    assert re.search(rf"`{name}[ `]", readme)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("local", "demo", "stage")])
def test_common_options_may_stand_before_or_after_the_command(name: str) -> None:
    options = {option.name for option in dict(all_commands())[name].params}
    assert {"vault", "pachd", "as_json", "quiet"} <= options


@pytest.mark.parametrize(
    "arguments",
    [
        ["nosuch"],
        ["ls"],
        ["ls", "latest"],
        ["verify", "--level", "deep"],
        ["snapshots", "--colour"],
        ["extract", "latest", "out", "--workers", "0"],
        ["snapshots"],
        ["backup", "--history", "all"],
        ["--vault", "sftp://b/k", "snapshots"],
        ["--pachd", "nowhere:port", "--vault", "x", "backup", "--source", "a/b"],
        ["--vault", "x", "backup", "--source", "bad"],
        ["--vault", "x", "backup", "--source", "a/b", "--policy", "p.yaml"],
        ["--vault", "x", "backup", "--policy", "/does/not/exist.yaml"],
        ["stage", "freeze"],
        ["stage", "other"],
    ],
    ids=" ".join,
)
def test_bad_input_is_code_2_and_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "backup" in arguments:
        assert run(["--vault", "x", "init", "--quiet"]) == 0
        capsys.readouterr()
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("pachvault: ")

    assert run([*arguments, "--json"]) == 2
    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    error = json.loads(line)
    assert (error["type"], error["exit_code"]) == ("error", 2)
    assert error["message"]
    assert captured.err == ""


def test_without_a_command_the_help_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Usage: pachvault")
    assert len(shown.splitlines()) > 10


def test_no_vault_there_is_code_10(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ran = Ran(capsys, tmp_path, "snapshots")
    assert ran.code == 10
    assert "no such place" in ran.err
    ran = Ran(capsys, tmp_path, "snapshots", "--json")
    assert [result["exit_code"] for result in ran.objects] == [10]


def test_init_makes_a_vault_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ran = Ran(capsys, tmp_path, "init", "--json")
    assert ran.code == 0
    assert ran.objects[0]["vault"] == (tmp_path / "vault").as_uri()
    assert Ran(capsys, tmp_path, "init").code == 2
    assert Ran(capsys, tmp_path, "snapshots").code == 0


def test_an_unreachable_cluster_is_code_1_and_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert Ran(capsys, tmp_path, "init").code == 0
    ran = Ran(capsys, tmp_path, "--pachd", "127.0.0.1:1", "--quiet", "backup", "--source", "a/b")
    assert ran.code == 1
    assert "127.0.0.1:1" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_an_interruption_is_code_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    assert run(["snapshots"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_bug_is_one_line_that_says_how_to_see_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(cli, "main", broken)
    assert run(["snapshots"]) == 1
    shown = capsys.readouterr().err
    assert shown == "pachvault: RuntimeError: two lines (a bug; PACHVAULT_DEBUG=1 shows where)\n"


def test_every_error_has_its_own_documented_exit_code() -> None:
    def tree(kind: type[PachvaultError]) -> list[type[PachvaultError]]:
        return [kind, *(subclass for below in kind.__subclasses__() for subclass in tree(below))]

    codes = {kind.exit_code for kind in tree(PachvaultError)}
    assert codes == {1, 2, 10, 11, 12, 13}
    assert str(PachvaultError("what", where="where", hint="hint")) == "where: what (hint)"


def test_starting_up_loads_neither_arrow_nor_grpc() -> None:
    script = (
        "import sys, pachvault.cli.main as m; code = m.run(['--version']); "
        "sys.stderr.write(','.join(sorted({name.partition('.')[0] for name in sys.modules}))); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"pachvault, version {pachvault.__version__}\n"
    assert not {"pyarrow", "grpc", "numpy", "python_pachyderm", "pydantic", "rich"} & set(
        done.stderr.split(",")
    )


def test_snapshots_are_listed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    ran = Ran(capsys, tmp_path, "snapshots")
    assert [line.split()[0] for line in ran.out.splitlines()] == [
        "ID",
        *(snapshot.short_id for snapshot in snapshots),
    ]
    ran = Ran(capsys, tmp_path, "snapshots", "--json")
    assert [line_object["id"] for line_object in ran.objects] == [
        line_object.name.id for line_object in snapshots
    ]
    assert {result["type"] for result in ran.objects} == {"snapshot"}


def test_a_damaged_snapshot_is_listed_as_damaged(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    flip(tmp_path / "vault" / snapshots[0].name.path, 20)
    ran = Ran(capsys, tmp_path, "snapshots")
    assert ran.code == 13
    assert [line.split()[3] for line in ran.out.splitlines()[1:]] == ["damaged", "sealed"]
    assert Ran(capsys, tmp_path, "snapshots", "--json").objects[0]["damaged"]


def test_show_tells_branches_and_commits(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    ran = Ran(capsys, tmp_path, "show", "latest")
    assert ran.code == 0
    assert "p/r@master" in ran.out
    ran = Ran(capsys, tmp_path, "show", snapshots[1].short_id, "p/r")
    assert [line.split()[-3:][0] for line in ran.out.splitlines()[1:]] == ["ok", "ok", "failed"]
    ran = Ran(capsys, tmp_path, "show", "latest", "p/r", "--json")
    assert [result["error"] for result in ran.objects] == ["", "", "it broke"]
    assert Ran(capsys, tmp_path, "show", "latest", "p/none").code == 2
    assert Ran(capsys, tmp_path, "show", "0000").code == 2


def test_files_are_listed_by_folder_pattern_and_commit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    first = snapshots[0].short_id
    assert Ran(capsys, tmp_path, "ls", first, "p/r@master").out == "4  /a\n4  /deep/b\n0  /empty\n"
    assert Ran(capsys, tmp_path, "ls", first, "p/r@master:/deep").out == "4  /deep/b\n"
    assert Ran(capsys, tmp_path, "ls", first, "p/r@master:/*e*").out == "4  /deep/b\n0  /empty\n"
    (entry,) = Ran(capsys, tmp_path, "ls", first, "p/r@master:/a", "--json").objects
    assert entry == {"type": "file", "path": "/a", "size_bytes": 4, "digest": digest(b"one\n").hex()}
    for place in ("p/r@master:/none", "p/r@none", "p/none@master", "p/r", "p/r@"):
        assert Ran(capsys, tmp_path, "ls", first, place).code == 2


def test_a_file_is_written_as_it_was(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    vault = str(tmp_path / "vault")
    assert run(["--vault", vault, "cat", snapshots[0].short_id, "p/r@master:/a"]) == 0
    assert capfdbinary.readouterr().out == b"one\n"
    assert run(["--vault", vault, "cat", "latest", "p/r@master:/empty"]) == 0
    assert capfdbinary.readouterr().out == b""
    assert run(["--vault", vault, "cat", "latest", "p/r@master:/none"]) == 2


def test_differences_between_snapshots(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    pair = [snapshot.short_id for snapshot in snapshots]
    changes = ["M p/r@master:/a", "- p/r@master:/deep/b", "+ p/r@master:/deep/c"]
    assert Ran(capsys, tmp_path, "diff", *pair).out.splitlines() == changes
    assert Ran(capsys, tmp_path, "diff", *pair, "p/r@master:/deep").out.splitlines() == changes[1:]
    assert Ran(capsys, tmp_path, "diff", pair[0], pair[0]).out == ""
    file_changes = Ran(capsys, tmp_path, "diff", *pair, "--json").objects
    assert [(change["change"], change["old_bytes"], change["new_bytes"]) for change in file_changes] == [
        ("M", 4, 4),
        ("-", 4, None),
        ("+", None, 6),
    ]
    assert Ran(capsys, tmp_path, "diff", *pair, "p/none@x").code == 2


def test_verify_says_13_where_there_is_damage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    assert Ran(capsys, tmp_path, "verify", "--level", "data", "--quiet").code == 0
    pack = next(iter(snapshots[0].vault.store.list(layout.PACKS)))
    flip(tmp_path / "vault" / pack.name, 12)
    ran = Ran(capsys, tmp_path, "verify", "--level", "packs", "--quiet")
    assert ran.code == 13
    assert f"\nframe-damaged: {pack.name}: " in ran.out
    assert "  file p/r@" in ran.out
    ran = Ran(capsys, tmp_path, "verify", "--level", "packs", "--json")
    kinds = [result["type"] for result in ran.objects if result["type"] != "progress"]
    assert kinds == ["finding", "verify_summary"]


def test_extract_says_what_it_did_and_13_where_a_file_is_damaged(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    first = snapshots[0].short_id
    ran = Ran(capsys, tmp_path, "extract", first, str(tmp_path / "out"), "--quiet")
    assert ran.code == 0
    assert (tmp_path / "out/p/r/master/deep/b").read_bytes() == b"two\n"
    assert Ran(capsys, tmp_path, "extract", first, str(tmp_path / "out")).code == 2
    assert Ran(capsys, tmp_path, "extract", first, str(tmp_path / "out"), "--overwrite", "--quiet").code == 0
    for info in snapshots[0].vault.store.list(layout.PACKS):
        path = tmp_path / "vault" / info.name
        path.write_bytes(path.read_bytes().replace(b"one\n", b"0ne\n"))
    ran = Ran(capsys, tmp_path, "extract", first, str(tmp_path / "two"), "--json")
    assert ran.code == 13
    finding, summary = (result for result in ran.objects if result["type"] != "progress")
    assert "p/r@master:/a" in str(finding["message"])
    assert (summary["files"], summary["failed"]) == (2, 1)


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/large": np.random.default_rng(1).bytes(2**21)})
    back_up(vault, repo)
    script = "from pachvault.cli.main import main; main()"
    command = [
        sys.executable,
        "-c",
        script,
        "--vault",
        str(tmp_path / "vault"),
        "cat",
        "latest",
        "p/r@master:/large",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


def two_repos(folder: Path) -> Snapshot:
    """p/a, which is whole, and p/b, of which the record is gone."""
    vault = new_vault(folder)
    one, other = Repo(RepoName("p", "a")), Repo(RepoName("p", "b"))
    one.commit({"/x": b"1"})
    other.commit({"/y": b"2"})
    snapshot = back_up(vault, one, other)
    [lost] = [entry.record for entry in snapshot.manifest.repos if entry.repo == "b"]
    vault.delete(layout.record_path(lost))
    return snapshot


def test_a_repo_whose_record_is_gone_takes_no_other_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two_repos(tmp_path)
    only = Ran(capsys, tmp_path, "--quiet", "extract", "latest", str(tmp_path / "only"), "--source", "p/a")
    assert only.code == 0, only.err
    assert (tmp_path / "only/p/a/master/x").read_bytes() == b"1"
    every = Ran(capsys, tmp_path, "--quiet", "extract", "latest", str(tmp_path / "every"))
    assert every.code == 13
    assert "p/b" in every.err
    assert (tmp_path / "every/p/a/master/x").read_bytes() == b"1"
    lost = Ran(
        capsys, tmp_path, "--quiet", "extract", "latest", str(tmp_path / "lost"), "--source", "p/b@master"
    )
    assert (lost.code, "p/b" in lost.err, "no such object" in lost.err) == (13, True, True)


def test_show_shows_what_is_whole_and_names_what_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = two_repos(tmp_path)
    shown = Ran(capsys, tmp_path, "show", "latest")
    assert shown.code == 13
    assert "p/a@master" in shown.out
    assert re.search(r"damaged +p/b: .*no such object", shown.out)
    snapshot.vault.delete(layout.record_path(snapshot.manifest.pipelines))
    assert re.search(r"pipelines +damaged", Ran(capsys, tmp_path, "show", "latest").out)
    [snapshot_line] = Ran(capsys, tmp_path, "--json", "show", "latest").objects
    assert len(snapshot_line["damaged"]) == 2  # type: ignore[arg-type]
    assert Ran(capsys, tmp_path, "show", "latest", "p/a").code == 0
    assert Ran(capsys, tmp_path, "show", "latest", "p/b").code == 13


def test_paths_that_no_folder_can_have_take_no_other_file_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    deep = "/" + "d/" * 1000 + "f"
    odd = {"/nul\0": b"1", "/../up": b"2", "/" + "x" * 300: b"3", "/dir": b"4", "/dir/in": b"5"}
    repo.commit({"/a": b"good", deep: b"deep", **odd})
    back_up(vault, repo)
    ran = Ran(capsys, tmp_path, "--quiet", "extract", "latest", str(tmp_path / "out"))
    assert ran.code == 13
    root = tmp_path / "out/p/r/master"
    assert (root / "a").read_bytes() == b"good"
    assert Path(f"{root}{deep}").read_bytes() == b"deep"
    assert "extracted 3 files" in ran.err
    assert len(ran.err.splitlines()) == 5
    subprocess.run(["rm", "-rf", tmp_path / "out"], check=True)  # it is too deep for Python
    assert not (tmp_path / "up").exists()

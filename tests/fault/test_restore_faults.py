"""Restores that are killed, interrupted, refused or disturbed; and vaults that are damaged."""

from __future__ import annotations

import os
import random
import re
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.backup import Backup
from e2e.cli import Outcome, ended, meanwhile, pachvault, started
from e2e.cluster import Cluster, Project
from e2e.restored import OldRepo, assert_restored, new_ids, nothing_left, remember, restore
from fault.driven import calls, was_killed
from made import Repo, back_up, new_vault
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.pach.target import NewCommit, Target
from pachvault.restore.apply import branch_heads
from pachvault.restore.plan import fetch_shares

DRIVER = Path(__file__).with_name("restore_driver.py")
PART_BYTES = 600_000


@pytest.fixture
def told(backup: Backup) -> dict[str, OldRepo]:
    """Two repos with a commit set, appends, a failed commit, a second line, and a file of several blobs."""
    project, noise = backup.project, random.Random(3)
    for repo in ("one", "two"):
        project.repo(repo, f"about {repo}")
    first = project.commit("one", {"/log": b"1\n", "/gone": b"x", "/large": noise.randbytes(1_500_000)})
    wanted = [NewCommit(project.name, repo, "master", None, "together") for repo in ("one", "two")]
    for repo, commit in zip(("one", "two"), project.cluster.target.start_together(wanted), strict=True):
        project.change(repo, commit, append={"/log": b"2\n"}, delete=["/gone"] if repo == "one" else [])
        project.finish(repo, commit)
    project.commit("one", {"/never": b"!"}, error="it failed")
    project.commit("one", append={"/log": b"3\n"})
    project.commit("one", append={"/log": b"side\n"}, branch="side", parent=first)
    backup.run()
    return remember(project)


def command(backup: Backup, cluster: Cluster, *arguments: str) -> list[str]:
    where = ["--vault", backup.vault.url, "--pachd", cluster.address, "--quiet"]
    return [*where, "restore", backup.project.everything(), *arguments]


def drive(nth: int, how: str, arguments: list[str], part_bytes: int = PART_BYTES) -> Outcome:
    """A restore that is killed at the n-th write; 0: never."""
    line = [sys.executable, str(DRIVER), str(nth), how, str(part_bytes), "--", *arguments]
    ran = subprocess.run(line, capture_output=True, timeout=120, check=False)
    return Outcome(ran.returncode, ran.stdout, ran.stderr.decode())


@pytest.mark.slow
@pytest.mark.parametrize("third", [0, 1, 2])
def test_killed_at_every_write_it_goes_on_and_nothing_is_there_twice(
    backup: Backup, told: dict[str, OldRepo], other: Cluster, third: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after a write, that is: to the cluster it is the same as before the next one."""
    monkeypatch.setattr(fetch_shares, "PART_BYTES", PART_BYTES)
    again = Project(other, backup.project.name)
    arguments = command(backup, other, "--history", "all", "--workers", "1")
    other.target.ensure_project(again.name)  # it is there for every run but the first, else
    total = calls(drive(0, "after", arguments))
    assert_restored(again, told)
    assert total >= 40
    for nth in range(1 + third, total + 1, 3):
        for repo in told:
            again.delete_repo(repo)
        assert was_killed(drive(nth, "after", arguments)), f"{nth} of {total}"
        outcome = pachvault(*arguments)
        assert outcome.code == 0, f"{nth}: {outcome.err}"
        assert_restored(again, told)
        nothing_left(other, again)


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])
def test_killed_while_something_differs_no_head_has_moved(
    backup: Backup, told: dict[str, OldRepo], other: Cluster, half: int
) -> None:
    """And the runs after it come to the whole, with what differed made anew."""
    again = Project(other, backup.project.name)
    arguments = command(backup, other, "--history", "all")
    other.target.ensure_project(again.name)
    outcome = drive(0, "spoilt", arguments)
    assert outcome.code == 13, outcome.err
    (total,) = (int(number) for number in re.findall(r"^calls (\d+)$", outcome.err, re.MULTILINE))
    assert total >= 30
    for nth in range(1 + half, total + 1, 2):
        for repo in told:
            again.delete_repo(repo)
        assert drive(nth, "spoilt", arguments).code == -signal.SIGKILL, f"{nth} of {total}"
        for repo in again.repos():
            assert not again.heads(repo).keys() & told[repo].heads.keys(), f"{nth} of {total}"
        code = pachvault(*arguments).code
        if code == 13:  # what was made wrongly before was found, and is given up
            code = pachvault(*arguments).code
        assert code == 0, f"{nth} of {total}"
        for repo, was in told.items():
            for branch, head in was.heads.items():
                assert again.tree(repo, again.heads(repo)[branch]) == was.commits[head].tree
        nothing_left(other, again)


@pytest.mark.slow
@pytest.mark.parametrize("paths", [[], ["--path", "/lo*"]])
def test_killed_while_appending_it_appends_once(
    backup: Backup, told: dict[str, OldRepo], paths: list[str]
) -> None:
    project = backup.project
    was = told["one"].commits[told["one"].heads["side"]].tree
    nth, total = 0, 0
    while nth <= total:
        repo = project.repo(f"one-{nth}")
        late = project.commit(repo, {"/log": b"another\n", "/late": b"late"}, branch="side")
        arguments = ["--vault", backup.vault.url, "--pachd", project.cluster.address, "--quiet", "restore",
                     f"{project.name}/one@side", "--to", f"{project.name}/{repo}", "--exists", "append",
                     *paths]  # fmt: skip
        outcome = drive(nth, "after", arguments)
        if nth == 0:
            total = calls(outcome)
        else:
            assert was_killed(outcome)
            assert pachvault(*arguments).code == 0
        head = project.heads(repo)["side"]
        assert project.cluster.source.commit(project.ref(repo, head)).parent == late
        expected = {"/late": b"late", "/log": was["/log"]} if paths else was
        assert project.tree(repo, head) == expected
        nothing_left(project.cluster, project)
        nth += 1
    assert total >= 8


@pytest.mark.slow
def test_killed_while_replacing_the_old_head_is_kept_once(backup: Backup, told: dict[str, OldRepo]) -> None:
    project = backup.project
    late = project.commit("one", {"/late": b""}, branch="side")
    for origin in ("auto", "vault"):
        arguments = ["--vault", backup.vault.url, "--pachd", project.cluster.address, "--quiet", "restore",
                     f"{project.name}/one@side", "--exists", "replace", "--from", origin]  # fmt: skip
        total = calls(drive(0, "after", arguments))
        for nth in range(total - 6, total + 1):
            for name in set(project.heads("one")) - {"master", "side"}:
                project.delete_branch("one", name)
            project.branch("one", "side", late)
            if nth > 0:
                drive(nth, "after", arguments)
            assert pachvault(*arguments).code == 0
            kept = project.heads("one").keys() - {"master", "side"}
            assert [project.heads("one")[name] for name in kept] == [late], f"{origin} {nth}"


WRITES = [
    "CreateProject", "CreateRepo", "StartCommit", "BatchTransaction", "CreateFileSet", "AddFileSet",
    "FinishCommit", "CreateBranch", "DeleteBranch", "DeleteRepo", "GetFileSet", "ModifyFile",
]  # fmt: skip
READS = ["ListRepo", "ListBranch", "ListCommit", "InspectCommit", "DiffFile", "GetFileTAR"]


@pytest.mark.parametrize("method", WRITES + READS)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_call_that_fails_once_in_passing_costs_nothing(
    backup: Backup, told: dict[str, OldRepo], other: Cluster, method: str, nth: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(fetch_shares, "PART_BYTES", PART_BYTES)
    with other.faults({"method": method, "nth": nth, "code": "UNAVAILABLE", "message": "try later"}):
        outcome = restore(backup, other, "--history", "all")
    assert outcome.code == 0, outcome.err
    again = Project(other, backup.project.name)
    assert_restored(again, told)
    nothing_left(other, again)


def test_a_target_that_refuses_to_the_end_is_one_line_and_the_next_run_completes(
    backup: Backup, told: dict[str, OldRepo], other: Cluster
) -> None:
    rule = {"method": "AddFileSet", "nth": 3, "times": 99, "code": "RESOURCE_EXHAUSTED"}
    with other.faults({**rule, "message": "no space left on device"}):
        assert "no space left on device" in restore(backup, other, "--history", "all", "--quiet").says(1)
    assert restore(backup, other, "--history", "all").code == 0
    again = Project(other, backup.project.name)
    assert_restored(again, told)
    nothing_left(other, again)


def test_an_interrupted_restore_says_so_and_the_next_completes(
    backup: Backup, told: dict[str, OldRepo], other: Cluster
) -> None:
    with other.faults({"method": "AddFileSet", "nth": 2, "delay_seconds": 5}):
        again = Project(other, backup.project.name)
        with started(*command(backup, other, "--history", "all")) as process:
            meanwhile(process, "a commit", lambda: "one" in again.repos() and bool(new_ids(again, "one")))
            os.killpg(process.pid, signal.SIGINT)
            assert "interrupted" in ended(process).says(130)
    assert restore(backup, other, "--history", "all").code == 0
    assert_restored(Project(other, backup.project.name), told)


def test_an_open_commit_on_the_branch_is_not_trampled_on(backup: Backup, told: dict[str, OldRepo]) -> None:
    project = backup.project
    opened = project.start("one", "side")
    for exists in ("append", "replace"):
        outcome = restore(
            backup, project.cluster, "--exists", exists, "--quiet", what=f"{project.name}/one@side"
        )
        assert "has an open commit" in outcome.says(11)
    assert project.heads("one")["side"] == opened
    project.finish("one", opened)
    assert restore(backup, project.cluster, "--exists", "replace", what=f"{project.name}/one@side").code == 0


@pytest.mark.parametrize("exists", ["append", "replace"])
def test_a_commit_made_meanwhile_is_not_lost(
    backup: Backup, told: dict[str, OldRepo], exists: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes between the plan and the moving of the head."""
    project = backup.project
    project.commit("one", {"/late": b"1"}, branch="side")
    moves = branch_heads.HeadMover.moves
    commits: list[str] = []

    def late(*arguments: object) -> object:
        commits.append(project.commit("one", {"/late": b"2"}, branch="side"))
        monkeypatch.setattr(branch_heads.HeadMover, "moves", moves)
        return moves(*arguments)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(branch_heads.HeadMover, "moves", late)
    arguments = ["--exists", exists, "--quiet"]
    what = f"{project.name}/one@side"
    assert "was moved while" in restore(backup, project.cluster, *arguments, what=what).says(11)
    assert project.heads("one")["side"] == commits[0]
    assert restore(backup, project.cluster, *arguments, what=what).code == 0
    head = project.heads("one")["side"]
    if exists == "append":
        assert project.cluster.source.commit(project.ref("one", head)).parent == commits[0]
    else:
        assert commits[0] in project.heads("one").values()
    nothing_left(project.cluster, project)


def test_two_restores_at_once_into_different_places(
    backup: Backup, told: dict[str, OldRepo], other: Cluster
) -> None:
    name = backup.project.name
    where = ["--vault", backup.vault.url, "--pachd", other.address, "--quiet", "restore", f"{name}/one"]
    everything = [*where, "--history", "all"]
    with started(*everything, "--to", f"{name}/a") as one, started(*everything, "--to", f"{name}/b") as two:
        for outcome in (ended(one), ended(two)):
            assert outcome.code == 0, outcome.err
    again = Project(other, name)
    for repo in ("a", "b"):
        assert new_ids(again, repo).keys() == told["one"].commits.keys()
    nothing_left(other, again)


def test_of_two_of_the_same_at_once_one_is_told_and_nothing_is_there_twice(
    backup: Backup, told: dict[str, OldRepo], other: Cluster
) -> None:
    arguments = command(backup, other, "--history", "all")
    with started(*arguments) as one, started(*arguments) as two:
        outcomes = [ended(one), ended(two)]
    codes = [outcome.code for outcome in outcomes]
    assert codes in ([0, 11], [11, 0], [0, 0]), [outcome.err for outcome in outcomes]
    again = Project(other, backup.project.name)
    assert_restored(again, told)
    nothing_left(other, again)


@pytest.fixture
def damaged(backup: Backup) -> Backup:
    """Two commits, each in a pack of its own; a bit of the first pack is flipped, in /hit."""
    project, noise = backup.project, random.Random(4)
    project.repo("data")
    project.commit("data", {"/hit": noise.randbytes(3_000_000), "/small": b"small"})
    backup.run()
    (pack,) = backup.vault.files("packs")
    project.commit("data", {"/later": noise.randbytes(1000)}, append={"/log": b"1"})
    project.commit("data", append={"/log": b"2"}, delete=["/hit"])
    backup.run()
    path = backup.vault.folder / pack
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    return backup


@pytest.mark.parametrize("part_bytes", [PART_BYTES, 10**9])
def test_nothing_of_a_damaged_commit_is_committed(
    damaged: Backup, other: Cluster, part_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_shares, "PART_BYTES", part_bytes)
    again = Project(other, damaged.project.name)
    assert "damaged" in restore(damaged, other, "--history", "all", "--quiet").says(13)
    repos = again.repos()
    assert not any(new_ids(again, repo) for repo in repos)
    for commit in other.source.commits(RepoName(again.name, "data")) if repos else []:
        assert again.tree("data", commit.id) == {} if not commit.error else True


@pytest.mark.parametrize("part_bytes", [PART_BYTES, 10**9])
def test_what_is_intact_is_restored_and_the_rest_is_named(
    damaged: Backup, other: Cluster, part_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_shares, "PART_BYTES", part_bytes)
    old = remember(damaged.project)["data"]
    again = Project(other, damaged.project.name)
    for _ in range(2):  # a second time it still says that something is not there
        outcome = restore(damaged, other, "--history", "all", "--keep-going")
        assert outcome.code == 3, outcome.err
        ids = new_ids(again, "data")
        assert ids.keys() == old.commits.keys()
        for commit, was in old.commits.items():
            kept = {path: data for path, data in was.tree.items() if path != "/hit"}
            assert again.tree("data", ids[commit]) == kept
        assert again.heads("data") == {"master": ids[old.heads["master"]]}
        nothing_left(other, again)
        assert re.search(r"not restored: .*(/hit: .*damaged|1 damaged files)", outcome.err), outcome.err


@pytest.mark.parametrize("part_bytes", [PART_BYTES, 10**9])
@pytest.mark.parametrize("bad", ["/../etc/passwd", "/a\0b", "/a//b", "/a/"])
def test_a_path_that_no_writer_makes_stops_no_other_file(
    bad: str, part_bytes: int, other: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_shares, "PART_BYTES", part_bytes)
    vault = new_vault(tmp_path)
    forged = Repo(RepoName(f"forged-{secrets.token_hex(4)}", "data"))
    files = {f"/{number}": bytes([number]) * PART_BYTES for number in range(4)}
    forged.commit({**files, bad: b"evil"})
    forged.commit(files)
    back_up(vault, forged)
    arguments = ["--vault", vault.store.url, "--pachd", other.address, "restore", str(forged.name)]
    refused = pachvault(*arguments, "--history", "all", "--quiet")
    assert refused.code == 13
    assert "a path that no writer makes" in refused.err
    outcome = pachvault(*arguments, "--history", "all", "--keep-going")
    assert outcome.code == 3, outcome.err
    assert "a path that no writer makes" in outcome.err or "1 damaged files" in outcome.err
    again = Project(other, forged.name.project)
    assert again.tree("data", again.heads("data")["master"]) == files


@pytest.mark.parametrize("folder", [layout.PACKS, layout.TABLES])
def test_what_is_missing_is_named(backup: Backup, other: Cluster, folder: str) -> None:
    project = backup.project
    for repo in ("lost", "whole"):
        project.repo(repo)
        project.commit(repo, {f"/{repo}": repo.encode() * 1000})
        before = backup.vault.files(folder)
        backup.run(source=f"{project.name}/{repo}")
        if repo == "lost":
            gone = [name for name in backup.vault.files(folder) if name not in before]
    backup.run()
    for name in gone:
        (backup.vault.folder / name).unlink()
    assert restore(backup, other, "--quiet").code == 13
    outcome = restore(backup, other, "--keep-going")
    assert outcome.code == 3, outcome.err
    assert f"not restored: {project.name}/lost" in outcome.err
    again = Project(other, project.name)
    assert again.tree("whole", again.heads("whole")["master"]) == {"/whole": b"whole" * 1000}


def test_a_finished_restore_fetches_nothing_again(
    backup: Backup, told: dict[str, OldRepo], other: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_shares, "PART_BYTES", PART_BYTES)
    assert restore(backup, other, "--history", "all").code == 0
    monkeypatch.delattr(Target, "make_file_set")
    assert restore(backup, other, "--history", "all").code == 0
    assert_restored(Project(other, backup.project.name), told)

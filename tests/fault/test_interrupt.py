"""Ctrl-C, and two runs at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from e2e.backup import Backup
from e2e.cli import ended, meanwhile, started
from e2e.cluster import eventually
from e2e.oracle import heads_in, heads_now

MIB = 1024 * 1024


def test_an_interrupted_backup_says_so_and_the_next_completes(backup: Backup) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {f"/{number}": random.Random(number).randbytes(MIB) for number in range(8)})
    policy = backup.vault.folder.with_name("slow.yaml")
    policy.write_text(
        f"version: 1\ntarget: {backup.vault.url}\nsources: ['{project.everything()}']\n"
        "limits: {bandwidth: 500KB}\n"
    )
    address = project.cluster.address
    with started("--pachd", address, "--quiet", "backup", "--policy", str(policy)) as process:
        meanwhile(process, "the announcement", lambda: bool(backup.vault.files("runs")))
        os.killpg(process.pid, signal.SIGINT)
        line = ended(process).says(130)
    assert "interrupted" in line
    assert backup.vault.snapshots() == []
    backup.run()
    backup.assert_restorable()


@pytest.fixture
def slow(backup: Backup) -> list[str]:
    """The command of a backup in two processes that takes its time."""
    project = backup.project
    project.repo("data")
    for number in range(201):
        commit = project.start("data")
        project.change("data", commit, put={f"/{number % 5}": random.Random(number).randbytes(20_000)})
        project.cluster.target.finish(project.ref("data", commit))
    project.cluster.source.commit(project.ref("data", commit), wait=True)
    policy = backup.vault.folder.with_name("slow.yaml")
    policy.write_text(
        f"version: 1\ntarget: {backup.vault.url}\nsources: ['{project.everything()}']\n"
        "limits: {bandwidth: 50KB}\n"
    )
    address = project.cluster.address
    return ["--pachd", address, "--quiet", "backup", "--workers", "2", "--policy", str(policy)]


def test_an_interrupted_backup_leaves_no_process(backup: Backup, slow: list[str]) -> None:
    with started(*slow) as process:
        left = workers_of(process)
        os.killpg(process.pid, signal.SIGINT)
        began = time.monotonic()
        assert "interrupted" in ended(process).says(130)
    assert time.monotonic() - began < 10
    eventually("the end of the children", lambda: not any(map(alive, left)), seconds=10)
    snapshot = backup.run("--workers", "2")
    assert heads_in(snapshot, backup.project) == heads_now(backup.project)
    assert backup.command("--quiet", "verify", "--level", "data").code == 0


def test_a_worker_process_that_is_killed_ends_the_run(backup: Backup, slow: list[str]) -> None:
    with started(*slow) as process:
        left = workers_of(process)
        os.kill(max(left, key=threads), signal.SIGKILL)
        assert "a worker process ended before its time" in ended(process).says(1)
    eventually("the end of the children", lambda: not any(map(alive, left)), seconds=10)
    assert backup.vault.snapshots() == []


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes that a backup with two workers started, once both of these are at work."""
    # one more child, of one thread, is the interpreter's own
    meanwhile(process, "two workers", lambda: sum(threads(pid) > 4 for pid in children(process.pid)) == 2)
    return children(process.pid)


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").glob("*")))


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    processes = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        processes += [int(child) for child in task.read_text().split()]
    return processes


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_two_backups_at_once(backup: Backup) -> None:
    project = backup.project
    for repo in ("one", "two"):
        project.repo(repo)
        project.commit(repo, {f"/{number}": random.Random(number).randbytes(50_000) for number in range(20)})
        project.commit(repo, append={"/log": b"line\n"}, delete=["/3"])
    for _ in range(2):
        before = backup.vault.snapshots()
        with started(*backup.arguments("--quiet")) as one, started(*backup.arguments("--quiet")) as two:
            for outcome in (ended(one), ended(two)):
                assert outcome.code == 0, outcome.err
        new_ids = [listed_id for listed_id in backup.vault.snapshots() if listed_id not in before]
        assert len(new_ids) == 2
        for snapshot_id in new_ids:
            backup.assert_restorable(backup.vault.snapshot(snapshot_id))
        for repo in ("one", "two"):
            project.commit(repo, {"/new": random.Random(repo).randbytes(90_000)}, append={"/log": b"more\n"})
    backup.run()
    backup.assert_restorable()

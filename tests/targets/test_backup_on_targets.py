"""A whole life of a vault on every kind of target, from the shell."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cli import pachvault
from e2e.cluster import Cluster, Project
from pachvault.store.open_store import open_store
from targets.servers import Server

pytestmark = [pytest.mark.targets, pytest.mark.e2e]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("pachyderm"))
    yield running
    running.close()


@pytest.fixture
def project(cluster: Cluster) -> Project:
    return cluster.project()


def test_a_vault_from_init_to_prune(url: str, project: Project, tmp_path: Path) -> None:
    project.repo("data")
    project.commit("data", {"/a": b"one" * 100_000, "/d/b": b"two"})
    where = ("--quiet", "--vault", url)
    source = ("--pachd", project.cluster.address)
    init = pachvault(*where, "init")
    assert init.code == 0, init.err
    assert pachvault(*where, "init").code != 0
    backup = ("backup", "--source", f"{project.name}/data", "--workers", "2")
    for number in range(3):
        project.commit("data", {"/a": b"%d" % number * 200_000})
        outcome = pachvault(*where, *source, *backup)
        assert outcome.code == 0, outcome.err
    verified = pachvault(*where, "verify", "--level", "data")
    assert verified.code == 0, verified.err + verified.out
    extracted = pachvault(*where, "extract", "latest", str(tmp_path / "out"))
    assert extracted.code == 0, extracted.err
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {"a": b"2" * 200_000, "b": b"two"}
    restored = pachvault(
        *where,
        *source,
        "restore",
        f"{project.name}/data",
        "--to",
        f"{project.name}/again",
        "--history",
        "all",
    )
    assert restored.code == 0, restored.err
    assert project.heads("again").keys() == {"master"}
    forgotten = pachvault(*where, "forget", "--keep-last", "1")
    assert forgotten.code == 0, forgotten.err
    pruned = pachvault(*where, "prune")
    assert pruned.code == 0, pruned.err
    assert pachvault(*where, "verify", "--level", "data").code == 0


def test_a_killed_backup_leaves_nothing_that_the_next_one_does_not_use_or_remove(
    url: str, project: Project
) -> None:
    project.repo("data")
    for number in range(8):
        project.commit("data", {f"/{number}": b"%d" % number * 3_000_000})
    assert pachvault("--quiet", "--vault", url, "init").code == 0
    arguments = ("--vault", url, "--pachd", project.cluster.address)
    command = [*arguments, "backup", "--source", f"{project.name}/data", "--workers", "1"]
    program = str(Path(sys.executable).with_name("pachvault"))
    with subprocess.Popen([program, *command], stderr=subprocess.DEVNULL) as process:
        store = open_store(url)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if any(True for _ in store.list("packs")):
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.02)
    outcome = pachvault("--quiet", *command)
    assert outcome.code == 0, outcome.err
    assert pachvault("--vault", url, "verify", "--level", "data").code == 0


def test_a_target_that_stops_answering_fails_the_backup_and_the_next_run_goes_on(
    remote: Server, url: str, project: Project
) -> None:
    project.repo("data")
    project.commit("data", {"/a": b"a" * 1_000_000})
    assert pachvault("--quiet", "--vault", url, "init").code == 0
    wrong = url.replace("://vaults/", "://no-such-bucket/")
    arguments = ("--quiet", "--pachd", project.cluster.address, "--vault")
    backup = ("backup", "--source", f"{project.name}/data", "--workers", "1")
    assert "no such bucket" in pachvault(*arguments, wrong, *backup).err
    assert pachvault(*arguments, url, *backup).code == 0


def test_messages_hold_no_secret(
    remote: Server, url: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.repo("data")
    project.commit("data", {"/a": b"a"})
    assert pachvault("--vault", url, "init").code == 0
    arguments = ("--verbose", "--pachd", project.cluster.address, "--vault", url)
    outcomes = [pachvault(*arguments, "backup", "--source", f"{project.name}/data", "--workers", "1")]
    store = open_store(url)
    stored = b"".join(store.get(info.name) for info in store.list(""))
    for name in remote.environment:
        if name != "AWS_ACCESS_KEY_ID":
            monkeypatch.setenv(name, "d3Jvbmd3cm9uZ3dyb25nd3Jvbmd3cm9uZw==")
    outcomes.append(pachvault(*arguments, "backup", "--source", f"{project.name}/data", "--workers", "1"))
    assert [outcome.code for outcome in outcomes] == [0, 1]
    for secret in (*remote.secrets, "d3Jvbmd3cm9uZ3dyb25nd3Jvbmd3cm9uZw=="):
        assert secret.encode() not in stored
        assert all(secret not in outcome.err + outcome.out for outcome in outcomes)

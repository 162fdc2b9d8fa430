"""A cluster that is not there, not what it should be, or fails in passing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from python_pachyderm.proto.v2.version.versionpb import version_pb2, version_pb2_grpc

from e2e.backup import Backup
from e2e.cli import pachvault


def attempt(backup: Backup, address: str) -> Any:
    """A backup of a cluster at this address."""
    arguments = ["--vault", backup.vault.url, "--pachd", address, "--quiet", "backup", "--source", "a/b"]
    return pachvault(*arguments)


def test_nothing_listens(backup: Backup) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"grpc://127.0.0.1:{taken.getsockname()[1]}"
        assert f"Pachyderm at {address}" in attempt(backup, address).says(1)
    assert backup.vault.snapshots() == []


def test_something_else_listens(backup: Backup) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server, ThreadPoolExecutor(1) as pool:

        def answer() -> None:
            for _ in range(3):
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()

        pool.submit(answer)
        message = attempt(backup, f"127.0.0.1:{server.getsockname()[1]}").says(1)
        server.shutdown(socket.SHUT_RDWR)
    assert "Pachyderm at grpc://127.0.0.1" in message


@pytest.mark.parametrize(
    "address", ["gopher://x:1", "grpc://", "grpc://:1", "not an address", "://", "/folder"]
)
def test_an_address_that_is_none(backup: Backup, address: str) -> None:
    assert "not a Pachyderm address" in attempt(backup, address).says(2)


class _Old(version_pb2_grpc.APIServicer):
    """Pachyderm 2.6, as far as one can ask."""

    def GetVersion(self, _request: Any, _context: Any) -> Any:  # noqa: N802  (gRPC's name)
        return version_pb2.Version(major=2, minor=6, micro=9)


@pytest.fixture
def old() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    version_pb2_grpc.add_APIServicer_to_server(_Old(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"grpc://127.0.0.1:{port}"
    server.stop(0).wait()


def test_a_pachyderm_too_old(backup: Backup, old: str) -> None:
    message = attempt(backup, old).says(1)
    assert "Pachyderm 2.6 is too old" in message
    assert "2.7 or later" in message


READS = [
    "ListProject",
    "ListRepo",
    "ListBranch",
    "ListCommit",
    "InspectCommit",
    "GetFileSet",
    "ShardFileSet",
    "DiffFile",
    "InspectFile",
    "GetFileTAR",
]
WRITES = ["CreateProject", "CreateRepo", "StartCommit", "AddFileSet", "FinishCommit", "DeleteBranch"]


@pytest.mark.parametrize("method", READS + WRITES)
def test_a_call_that_fails_once_in_passing_costs_nothing(backup: Backup, method: str) -> None:
    project = backup.project
    repo = project.repo("data")
    first = project.commit(repo, {"/a": b"1" * 1000, "/log": b"x"})
    backup.run()
    project.branch(repo, "master", first)
    project.commit(repo, {"/b": b"2"}, append={"/log": b"y"})
    with project.cluster.faults({"method": method, "code": "UNAVAILABLE", "message": "try later"}):
        snapshot = backup.run()
    assert not snapshot.manifest.partial, snapshot.manifest.problems
    backup.assert_restorable(snapshot)


@pytest.mark.parametrize("nth", range(1, 7))
def test_any_diff_may_fail_once(backup: Backup, nth: int) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/a": b"1", "/b": b"2"})
    backup.run()
    for number in range(3):
        project.commit(repo, {f"/{number}": b"new"}, delete=["/a"] if number == 1 else [])
    fault = {"method": "DiffFile", "nth": nth, "cut_after_bytes": 40}
    with project.cluster.faults(fault):
        snapshot = backup.run()
    assert not snapshot.manifest.partial, snapshot.manifest.problems
    backup.assert_restorable(snapshot)


def test_a_cluster_that_refuses_the_listing_fails_the_run(backup: Backup) -> None:
    backup.project.repo("data")
    backup.project.commit("data", {"/a": b"1"})
    refusal = {"method": "ListRepo", "code": "PERMISSION_DENIED", "message": "you may not", "times": 99}
    before = backup.vault.files()
    with backup.project.cluster.faults(refusal):
        assert "you may not" in backup.attempt("--quiet").says(1)
    assert backup.vault.files() == before


def test_the_commits_of_one_repo_that_may_not_be_listed(backup: Backup) -> None:
    project = backup.project
    for repo in ("open", "closed"):
        project.repo(repo)
        project.commit(repo, {"/a": repo.encode()})
    refusal = {
        "method": "ListCommit", "times": 99, "code": "PERMISSION_DENIED", "message": "not this one",
        "match": 'name: "closed"',
    }  # fmt: skip
    with project.cluster.faults(refusal):
        outcome = backup.attempt("--quiet")
    assert outcome.code in (1, 3)
    assert "not this one" in outcome.err
    backup.run()
    backup.assert_restorable()


def test_a_cluster_that_is_down_for_good_fails_the_run_and_the_next_completes(backup: Backup) -> None:
    backup.project.repo("data")
    backup.project.commit("data", {"/a": b"1" * 5000})
    down = {"method": "ListCommit", "code": "UNAVAILABLE", "message": "gone fishing", "times": 99}
    with backup.project.cluster.faults(down):
        assert "gone fishing" in backup.attempt("--quiet").says(1)
    assert backup.vault.snapshots() == []
    backup.run()
    backup.assert_restorable()


def test_a_vault_in_no_place_is_told_before_the_cluster_is_asked(backup: Backup, tmp_path: Path) -> None:
    outcome = pachvault(
        "--vault", str(tmp_path / "none"), "--pachd", "127.0.0.1:1", "backup", "--source", "a/b"
    )
    assert "no such place" in outcome.says(10)

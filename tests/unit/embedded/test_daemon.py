"""The server process: started once a folder, found again, stopped, and what it says when it cannot start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pps_cluster import connected, gone, lasting_project, running_server
from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm import daemon
from pachvault.errors import PachvaultError, UsageError


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "embedded_pachyderm", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_starting_twice_gives_the_same_server_and_stopping_ends_it(tmp_path: Path) -> None:
    assert daemon.status(tmp_path) is None
    try:
        first = daemon.start(tmp_path)
        assert first.address.startswith("grpc://127.0.0.1:")
        assert daemon.start(tmp_path) == first
        assert daemon.status(tmp_path) == first
    finally:
        assert daemon.stop(tmp_path)
    assert daemon.status(tmp_path) is None
    assert not daemon.stop(tmp_path)


def test_two_starters_at_once_get_one_server(tmp_path: Path) -> None:
    servers: list[daemon.Running] = []
    starters = [threading.Thread(target=lambda: servers.append(daemon.start(tmp_path))) for _ in range(3)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    try:
        assert len(servers) == 3
        assert len(set(servers)) == 1
    finally:
        daemon.stop(tmp_path)
    time.sleep(2)  # as long as a late server would need to come up
    assert daemon.status(tmp_path) is None


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            PachvaultError, match=f"did not start: .*port {port} on 127.0.0.1 is taken"
        ) as caught:
            daemon.start(tmp_path, port=port)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write the state folder") as caught:
        daemon.start(tmp_path / "file" / "state")
    assert str(tmp_path) in str(caught.value)


def test_a_dead_servers_ready_file_is_not_believed(tmp_path: Path) -> None:
    running = daemon.start(tmp_path)
    os.kill(running.pid, signal.SIGKILL)
    os.waitpid(running.pid, 0)
    assert (tmp_path / daemon.READY_NAME).exists()
    assert daemon.status(tmp_path) is None
    assert not daemon.stop(tmp_path)
    with running_server(tmp_path) as address:
        assert address.startswith("grpc://")


def test_only_loopback_is_served(tmp_path: Path) -> None:
    done = command("--state", str(tmp_path), "--host", "0.0.0.0")  # noqa: S104 - what is refused
    assert done.returncode == UsageError.exit_code
    assert done.stderr == "the embedded Pachyderm listens on loopback only, not on 0.0.0.0\n"


def test_a_second_server_of_a_folder_gives_way(tmp_path: Path) -> None:
    with running_server(tmp_path):
        done = command("--state", str(tmp_path))
    assert done.returncode != 0
    assert "another server uses this state folder" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_cut_off_is_done_again_by_the_next_server(tmp_path: Path, how: signal.Signals) -> None:
    marker = tmp_path / "marker"
    state = tmp_path / "state"
    running = daemon.start(state)
    with lasting_project(running.address) as project:
        script = f"echo $$ >> {marker}; test -e {marker}.go || sleep 600; cp /pfs/data/* /pfs/out/"
        project.create("copy", project.input("data"), script)
        commit_id = project.put("data", {"/a": b"1"})
        while not marker.exists() or not marker.read_text():
            time.sleep(0.02)
    os.kill(running.pid, how)
    os.waitpid(running.pid, 0)
    marker.with_name("marker.go").touch()
    with running_server(state) as address, connected(address, project.name) as project:
        job = project.wait("copy", commit_id)
        assert job.state == pps_pb2.JOB_SUCCESS
        assert project.files("copy", commit_id) == {"/a": b"1"}
    workers = [int(line) for line in marker.read_text().split()]
    assert len(workers) == 2
    assert all(gone(worker) for worker in workers)


def test_pipelines_logs_and_finished_jobs_survive_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path) as address, lasting_project(address) as project:
        project.create("copy", project.input("data"), "echo said; cp /pfs/data/* /pfs/out/")
        commit_id = project.put("data", {"/a": b"1"})
        project.wait("copy", commit_id)
    with running_server(tmp_path) as address, connected(address, project.name) as project:
        assert project.wait("copy", commit_id).state == pps_pb2.JOB_SUCCESS
        assert project.user_log("copy", commit_id) == ["said"]
        job = project.wait("copy", project.put("data", {"/b": b"2"}))
        assert (job.data_processed, job.data_skipped) == (1, 1)


def test_ticks_missed_while_no_server_ran_are_caught_up(tmp_path: Path) -> None:
    with running_server(tmp_path) as address, lasting_project(address) as project:
        project.create("plan", project.cron("tick", "@every 1s"))
        time.sleep(1.5)
    stopped_at = time.time()
    time.sleep(3)
    with running_server(tmp_path) as address, connected(address, project.name) as project:
        deadline = time.monotonic() + 10
        missed: set[str] = set()
        while len(missed) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
            missed = {
                path for path in project.files("plan_tick") if _between(path, stopped_at, stopped_at + 3)
            }


def _between(path: str, after: float, before: float) -> bool:
    moment = time.mktime(time.strptime(path, "/%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    return after < moment < before

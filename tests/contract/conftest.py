"""The server under test, a project of its own for each test, and the recorded answers.

`pytest tests/contract --record` rewrites `recorded/` from a real Pachyderm; it is refused without
`PACHD_ADDRESS`, and there is no such option where this folder is not named.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty
from python_pachyderm import Client

from . import pipelines
from .pach import Message, Pach
from .projects import Project
from .recording import Recording

RECORDED = Path(__file__).parent / "recorded"
BASE = "2.11.6"
"""The version whose answers are all recorded. Of others only those that differ are."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="rewrite the recorded answers (real server only)")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record", default=False) and "PACHD_ADDRESS" not in os.environ:
        raise pytest.UsageError("--record needs PACHD_ADDRESS: only a real Pachyderm's answers are recorded")
    config.addinivalue_line("markers", "since(version, feature): skipped where the server is older")


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real Pachyderm that PACHD_ADDRESS names, else an embedded one for this worker process."""
    if "PACHD_ADDRESS" in os.environ:
        yield os.environ["PACHD_ADDRESS"]
        return
    from embedded_pachyderm import daemon  # noqa: PLC0415 (not needed when a real one is tested)

    state = tmp_path_factory.mktemp("pachyderm")
    yield daemon.start(state).address
    daemon.stop(state)


@pytest.fixture(scope="session")
def pach(address: str) -> Iterator[Pach]:
    server = Pach(address)
    yield server
    server.channel.close()


@pytest.fixture(scope="session")
def server_version(pach: Pach) -> str:
    answer = pach.version.GetVersion(Empty())
    return f"{answer.major}.{answer.minor}.{answer.micro}{answer.additional}"


@pytest.fixture(autouse=True)
def _has_feature(request: pytest.FixtureRequest, server_version: str) -> None:
    """Skips a test marked `since` on a server that is older."""
    for marker in request.node.iter_markers("since"):
        version, feature = marker.args
        if _numbers(server_version) < _numbers(version):
            pytest.skip(f"Pachyderm {server_version} has no {feature}: since {version}")


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


@pytest.fixture(scope="session")
def client(address: str) -> Client:
    return Client.new_from_pachd_address(address)


@pytest.fixture(scope="session")
def worker_python(pach: Pach) -> str:
    """A Python for user code that speaks to its sidecar; without one the tests are skipped."""
    if "PACHD_ADDRESS" not in os.environ:
        return sys.executable  # its workers are processes of this machine
    python = pipelines.worker_python(pach)
    if not python:
        pytest.skip(
            "no Python with gRPC and python-pachyderm in the workers' file system: put the tests' virtual "
            "environment where workers see it, or name one in CONTRACT_WORKER_PYTHON"
        )
    return python


@pytest.fixture
def project(pach: Pach) -> Iterator[Project]:
    new_project = Project.create(pach)
    yield new_project
    new_project.delete()


@pytest.fixture(scope="module")
def shared_project(pach: Pach) -> Iterator[Project]:
    """One project for all tests of a module: for what takes long to make."""
    new_project = Project.create(pach)
    yield new_project
    new_project.delete()


@pytest.fixture
def repo(project: Project) -> Message:
    return project.repo("data")


@pytest.fixture
def recorded(request: pytest.FixtureRequest, server_version: str) -> Recording:
    name = f"{request.node.path.stem.removeprefix('test_')}-{request.node.name.removeprefix('test_')}"
    return Recording(
        RECORDED / server_version / f"{name}.json",
        base=RECORDED / BASE / f"{name}.json",
        writes=request.config.getoption("--record", default=False),
    )

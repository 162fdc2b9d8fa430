"""A server of each kind for the session, a place in it for each test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from pachvault.store.open_store import open_store
from pachvault.store.store import Store
from targets.servers import SERVERS, Server

_VARIABLES = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AZURE_STORAGE_ACCOUNT_NAME")


@pytest.fixture(scope="session", params=SERVERS)
def any_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def server(any_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server, with its credentials in this process's environment."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in any_server.environment.items():
        monkeypatch.setenv(name, value)
    return any_server


@pytest.fixture
def remote(server: Server) -> Server:
    """A server that is not a local folder."""
    if not server.environment:
        pytest.skip("a folder has no server")
    return server


@pytest.fixture
def url(server: Server) -> str:
    return server.at(f"test {secrets.token_hex(4)}".replace(" ", "%20"))


@pytest.fixture
def store(url: str) -> Store:
    """A place of the test's own."""
    opened = open_store(url)
    opened.create()
    return opened

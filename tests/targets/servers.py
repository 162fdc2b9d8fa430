"""Servers of object-store protocols on loopback, each with one bucket, started by the tests.

`make servers` installs them into build/servers. A server that is not there is skipped with that reason.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("PACHVAULT_SERVERS", Path(__file__).parents[2] / "build" / "servers"))
BUCKET = "vaults"
AZURE_ACCOUNT = "devstoreaccount1"
# the key of every Azure emulator: it is published, and no secret
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
S3_KEY, S3_SECRET = "test-user", "a-secret-of-the-test"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    url: str
    """Of the bucket; `at` gives that of a place in it."""
    environment: dict[str, str]
    """The credentials, as the services' users keep them."""
    options: dict[str, str]
    pid: int = 0
    secrets: tuple[str, ...] = field(default=())
    """What no message may show."""

    def at(self, place: str, **options: str) -> str:
        """The URL of a place in the bucket."""
        query = "&".join(f"{name}={value}" for name, value in {**self.options, **options}.items())
        return f"{self.url}/{place}?{query}" if query else f"{self.url}/{place}"

    def pause(self) -> None:
        """Let it answer nothing more, until `go_on`."""
        os.killpg(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)


@contextlib.contextmanager
def folder(tmp_path: Path) -> Iterator[Server]:
    """A local folder: the same contract without a server."""
    (tmp_path / "root").mkdir()
    yield Server((tmp_path / "root").as_uri(), {}, {})


@contextlib.contextmanager
def versitygw(tmp_path: Path) -> Iterator[Server]:
    """S3, by a gateway to a folder."""
    (tmp_path / "root" / BUCKET).mkdir(parents=True)
    (tmp_path / "sidecar").mkdir()
    port = free_port()
    command = [
        *(str(_program("versitygw")), "--port", f"127.0.0.1:{port}", "--region", "us-east-1"),
        *("posix", "--sidecar", str(tmp_path / "sidecar"), str(tmp_path / "root")),
    ]
    keys = {"ROOT_ACCESS_KEY": S3_KEY, "ROOT_SECRET_KEY": S3_SECRET}
    with _running(command, keys, port, tmp_path / "log") as pid:
        environment = {"AWS_ACCESS_KEY_ID": S3_KEY, "AWS_SECRET_ACCESS_KEY": S3_SECRET}
        options = {"endpoint": f"http://127.0.0.1:{port}"}
        yield Server(f"s3://{BUCKET}", environment, options, pid, (S3_SECRET,))


@contextlib.contextmanager
def azurite(tmp_path: Path) -> Iterator[Server]:
    """Azure Blob Storage, by Microsoft's emulator."""
    port = free_port()
    command = [
        *(str(_program("node_modules/.bin/azurite-blob")), "--inMemoryPersistence", "--disableTelemetry"),
        *("--skipApiVersionCheck", "--silent", "--blobHost", "127.0.0.1", "--blobPort", str(port)),
    ]
    with _running(command, {}, port, tmp_path / "log", tmp_path) as pid:
        endpoint = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
        _make_container(endpoint, BUCKET)
        environment = {"AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY}
        options = {"account": AZURE_ACCOUNT, "endpoint": endpoint}
        yield Server(f"az://{BUCKET}", environment, options, pid, (AZURE_KEY,))


SERVERS = {"folder": folder, "versitygw": versitygw, "azurite": azurite}


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _program(name: str) -> Path:
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not installed: `make servers` does, where Go and npm are there")
    return path


@contextlib.contextmanager
def _running(
    command: list[str], environment: dict[str, str], port: int, log: Path, cwd: Path | None = None
) -> Iterator[int]:
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | environment,
            stdout=output,
            stderr=output,
            cwd=cwd,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"no answer at port {port}: {log.read_text()}"
            time.sleep(0.1)
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _make_container(endpoint: str, name: str) -> None:
    """Create a container; azurite has no other way. By the service's `Shared Key` authorisation."""
    version, date = "2021-08-06", formatdate(usegmt=True)
    resource = f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{name}\nrestype:container"
    text = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{version}\n{resource}"
    mac = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
    request = urllib.request.Request(  # noqa: S310
        f"{endpoint}/{name}?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": version,
            "Authorization": f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(mac).decode()}",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert answer.status == 201

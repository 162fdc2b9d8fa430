"""How pachd is reached: TLS, proxies, IPv6, pachctl's context; one clear line where it is not."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from e2e.authenticated import authentication
from e2e.backup import Backup
from e2e.cli import Outcome, ended, pachvault, started
from e2e.cluster import Cluster, Project
from e2e.relay import relay

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return file


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("PACHD_ADDRESS", "PACHD_CA", "PACHD_SERVER_NAME", "PACH_TOKEN", "PACH_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PACH_CONFIG", str(tmp_path / "no-config.json"))
    return


def of(cluster: Cluster) -> str:
    return cluster.address.removeprefix("grpc://")


def serving(cert: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    cert.configure_cert(context)
    return context


def backed_up(backup: Backup, *address: str) -> Outcome:
    """Back up through an address."""
    where = ["--vault", backup.vault.url, *(["--pachd", *address] if address else [])]
    source = backup.project.everything()
    return pachvault(*where, "--quiet", "backup", "--source", source, "--workers", "2")


@pytest.fixture
def backup(project: Project, tmp_path: Path) -> Backup:
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    return Backup.of(project, tmp_path / "vault")


def test_a_backup_goes_through_tls_with_a_private_ca(
    cluster: Cluster, backup: Backup, ca: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with relay(of(cluster), tls=serving(ca.issue_cert("127.0.0.1"))) as front:
        address = f"grpcs://127.0.0.1:{front.port}"
        assert backed_up(backup, f"{address}?ca={ca_file}").code == 0
        monkeypatch.setenv("PACHD_CA", str(ca_file))
        assert backed_up(backup, address).code == 0


def test_the_name_of_the_server_can_be_given(
    cluster: Cluster, backup: Backup, ca: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with relay(of(cluster), tls=serving(ca.issue_cert("pachd.example"))) as front:
        address = f"grpcs://127.0.0.1:{front.port}?ca={ca_file}"
        assert "the server's certificate is for another name" in backed_up(backup, address).says(1)
        assert backed_up(backup, f"{address}&server_name=pachd.example").code == 0
        monkeypatch.setenv("PACHD_SERVER_NAME", "pachd.example")
        assert backed_up(backup, address).code == 0


def test_an_unknown_ca_and_an_expired_certificate_are_one_line(
    cluster: Cluster, backup: Backup, ca: trustme.CA, ca_file: Path
) -> None:
    with relay(of(cluster), tls=serving(trustme.CA().issue_cert("127.0.0.1"))) as front:
        line = backed_up(backup, f"grpcs://127.0.0.1:{front.port}?ca={ca_file}").says(1)
        assert "no CA that is known here has signed the server's certificate" in line
        assert "PACHD_CA" in line
    past = ca.issue_cert(
        "127.0.0.1", not_before=datetime(2019, 1, 1, tzinfo=UTC), not_after=datetime(2020, 1, 1, tzinfo=UTC)
    )
    with relay(of(cluster), tls=serving(past)) as front:
        line = backed_up(backup, f"grpcs://127.0.0.1:{front.port}?ca={ca_file}").says(1)
        assert "has expired" in line


def test_the_process_writes_no_other_line_than_that(
    cluster: Cluster, backup: Backup, ca: trustme.CA, ca_file: Path
) -> None:
    with relay(of(cluster), tls=serving(trustme.CA().issue_cert("127.0.0.1"))) as front:
        address = f"grpcs://127.0.0.1:{front.port}?ca={ca_file}"
        with started("--pachd", address, "--vault", backup.vault.url, "backup", "--source", "*/*") as process:
            assert "PACHD_CA" in ended(process).says(1)


def test_tls_where_there_is_none_and_the_other_way_are_one_line(
    cluster: Cluster, backup: Backup, ca: trustme.CA
) -> None:
    assert "is it grpc://" in backed_up(backup, f"grpcs://{of(cluster)}").says(1)
    with relay(of(cluster), tls=serving(ca.issue_cert("127.0.0.1"))) as front:
        assert "is it grpcs://" in backed_up(backup, f"grpc://127.0.0.1:{front.port}").says(1)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_is_none_is_one_line(backup: Backup, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "bad.pem"
    if content is not None:
        file.write_text(content)
    assert f"{file}: the CA file cannot be used" in backed_up(backup, f"grpcs://127.0.0.1:1?ca={file}").says(
        2
    )


def test_a_proxy_of_the_environment_is_used_for_other_machines_alone(
    cluster: Cluster, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    with relay(of(cluster), is_proxy=True) as proxy:
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert backed_up(backup, "grpc://pachd.invalid:30650").code == 0
        assert set(proxy.connected_to) == {"pachd.invalid:30650"}
        assert backed_up(backup, cluster.address).code == 0
        assert set(proxy.connected_to) == {"pachd.invalid:30650"}


def test_an_address_of_ipv6_works(cluster: Cluster, backup: Backup) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        with relay(of(cluster), host="::1") as front:
            assert backed_up(backup, f"grpc://[::1]:{front.port}").code == 0
    except OSError:
        pytest.skip("this machine has no ::1")


def test_without_an_address_pachctls_active_context_counts(
    cluster: Cluster, backup: Backup, ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        authentication(cluster, monkeypatch) as root,
        relay(of(cluster), tls=serving(ca.issue_cert("127.0.0.1"))) as front,
    ):
        root.command_as(None)
        fields = {
            "pachd_address": f"grpcs://127.0.0.1:{front.port}",
            "server_cas": base64.b64encode(ca.cert_pem.bytes()).decode(),
            "session_token": root.robot("reader"),
        }
        config = tmp_path / "config.json"
        document = {"v2": {"active_context": "here", "contexts": {"here": fields, "there": {}}}}
        config.write_text(json.dumps(document))
        monkeypatch.setenv("PACH_CONFIG", str(config))
        assert "robot:reader lacks" in backed_up(backup).says(2)
        # a token of the context is for its own address
        assert "no authentication token" in backed_up(backup, cluster.address).says(1)
        config.write_text("{")
        assert f"{config}: not a configuration of pachctl" in backed_up(backup).says(2)


def test_a_token_that_goes_unencrypted_to_another_machine_is_warned_of_once(
    cluster: Cluster, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACH_TOKEN", "x")
    with relay(of(cluster), is_proxy=True) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        outcome = backed_up(backup, "grpc://pachd.invalid:30650")
    assert outcome.code == 0
    assert outcome.err.count("the auth token goes to grpc://pachd.invalid:30650 unencrypted") == 1
    assert "unencrypted" not in backed_up(backup, cluster.address).err

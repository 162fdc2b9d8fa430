"""A worker's environment and its folders."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pachvault.errors import UsageError
from pachvault.worker import Worker


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    for name, value in {
        "PACH_JOB_ID": "job",
        "PACHVAULT_PFS": str(tmp_path),
        "PACHD_PEER_SERVICE_HOST": "pachd",
        "PACHD_PEER_SERVICE_PORT": "1653",
        "PEER_PORT": "1657",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PACH_TOKEN", raising=False)
    return Worker.from_environment()


def test_data_goes_through_the_sidecar_and_control_to_pachd(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (worker.sidecar, worker.pachd, worker.token) == (
        "grpc://127.0.0.1:1657",
        "grpc://pachd:1653",
        None,
    )
    monkeypatch.delenv("PEER_PORT")
    assert Worker.from_environment().sidecar == "grpc://pachd:1653"


def test_outside_a_worker_a_stage_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACH_JOB_ID", raising=False)
    with pytest.raises(UsageError, match="inside a pipeline's worker only"):
        Worker.from_environment()


def test_inputs_are_files_by_name_and_outputs_are_written_below_out(worker: Worker, tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "folder/c.json"):
        path = tmp_path / "freeze" / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")
    assert [path.name for path in worker.inputs("freeze", "work/*")] == ["a.json", "b.json"]
    assert list(worker.inputs("nothing", "*")) == []
    worker.write("receipts/0000.json", b"{}")
    assert (tmp_path / "out/receipts/0000.json").read_bytes() == b"{}"


def test_the_newest_tick_counts_and_other_files_do_not(worker: Worker, tmp_path: Path) -> None:
    assert worker.tick("tick") is None
    (tmp_path / "tick").mkdir()
    (tmp_path / "tick" / "not a time").touch()
    assert worker.tick("tick") is None
    for name in ("2026-01-01T00:00:00Z", "2026-01-01T03:00:00.5+02:00"):
        (tmp_path / "tick" / name).touch()
    assert worker.tick("tick") == datetime(2026, 1, 1, 1, 0, 0, 500_000, tzinfo=UTC)


def test_a_policy_is_text_and_there(worker: Worker, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pachvault/policy: no policy\.yaml on branch master"):
        worker.policy_text()
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy/policy.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"policy\.yaml: not a text file"):
        worker.policy_text()
    (tmp_path / "policy/policy.yaml").write_text("version: 1\n")
    assert worker.policy_text() == "version: 1\n"

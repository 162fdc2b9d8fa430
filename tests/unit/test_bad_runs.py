"""The verdict on a result: which ones fail the datum, and what the error says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pachvault.bad_runs import BadRunError
from pachvault.errors import CorruptError
from pachvault.messages import Outcome
from pachvault.stages import backup_verdict, restore_verdict
from pachvault.worker import Worker


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    for stage in ("seal", "restore_replay"):
        monkeypatch.setenv(f"{stage}_COMMIT", "job")
    return Worker(tmp_path, "job", sidecar="", pachd="", token=None)


def result(worker: Worker, name: str, **fields: Any) -> None:
    path = worker.pfs / name
    path.parent.mkdir(parents=True)
    path.write_bytes(Outcome(**{"status": "partial", "summary": "one is missing", **fields}).encode())


def test_a_bad_result_fails_with_what_happened_where_and_what_to_do(worker: Worker) -> None:
    result(worker, "seal/snapshot.json", exit_code=3, job="job", next_step="wait for the next run")
    with pytest.raises(BadRunError) as failed:
        backup_verdict.run(worker)
    assert str(failed.value) == ("seal@job:/snapshot.json: partial: one is missing (wait for the next run)")


@pytest.mark.parametrize(
    "fields", [{"exit_code": 0}, {"exit_code": None}, {"exit_code": 3, "is_signalled": False}]
)
def test_a_good_an_older_and_a_silenced_result_pass(worker: Worker, fields: dict[str, Any]) -> None:
    result(worker, "seal/snapshot.json", **fields)
    assert "partial: one is missing" in backup_verdict.run(worker)


def test_a_bad_restore_fails_the_job_that_wrote_it_only(worker: Worker) -> None:
    result(worker, "restore_replay/mine-12/report.json", exit_code=2, job="earlier")
    assert "job earlier has failed for it" in restore_verdict.run(worker)


def test_what_is_no_result_is_not_good(worker: Worker) -> None:
    (worker.pfs / "seal").mkdir()
    (worker.pfs / "seal/snapshot.json").write_bytes(b"{")
    with pytest.raises(CorruptError, match="not a valid outcome"):
        backup_verdict.run(worker)

"""The Python interface, as a caller uses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.cluster import Project, eventually
from e2e.oracle import Vaulted, assert_restorable
from pachvault import create_backup_task
from pachvault.errors import BusyError, NoVaultError, PachydermError, UsageError


def test_execute_backs_up(project: Project, tmp_path: Path) -> None:
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    vaulted = Vaulted(tmp_path / "vault")
    task = create_backup_task(
        vaulted.url, sources=[project.everything()], create=True, pachd=project.cluster.address
    )
    assert not task.is_running()
    assert task.monitor().phase == "idle"
    snapshot = task.execute()
    assert not task.is_running()
    assert_restorable(vaulted, project, snapshot)
    status = task.monitor()
    assert (status.phase, status.error, status.is_running) == ("done", None, False)
    assert task.verify("data") == []
    project.commit("data", {"/b": b"2"})
    assert_restorable(vaulted, project, task.execute())


def test_a_running_task_shows_where_it_stands_and_refuses_a_second_run(
    project: Project, tmp_path: Path
) -> None:
    project.repo("data")
    project.commit("data", {"/a": b"12345"})
    task = create_backup_task(
        str(tmp_path / "vault"), sources=[project.everything()], create=True, pachd=project.cluster.address
    )
    with project.cluster.faults({"method": "GetFileTAR", "delay_seconds": 1.0}):
        run = task.start()
        assert task.is_running()
        eventually("the export", lambda: task.monitor().phase == "export")
        assert task.monitor().is_running
        assert task.monitor().bytes_total == 5
        with pytest.raises(BusyError, match="runs already"):
            task.execute()
        assert not run.result().manifest.partial


def test_a_failed_run_is_told_and_can_be_tried_again(project: Project, tmp_path: Path) -> None:
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    vaulted = Vaulted(tmp_path / "vault")
    task = create_backup_task(
        vaulted.url, sources=[project.everything()], create=True, pachd=project.cluster.address
    )
    with (
        project.cluster.faults({"method": "ListRepo", "code": "PERMISSION_DENIED", "message": "no, you"}),
        pytest.raises(PachydermError, match="no, you"),
    ):
        task.execute()
    assert task.monitor().phase == "failed"
    assert "no, you" in (task.monitor().error or "")
    assert_restorable(vaulted, project, task.execute())


def test_no_vault_is_made_unasked(project: Project, tmp_path: Path) -> None:
    task = create_backup_task(str(tmp_path / "mount"), pachd=project.cluster.address)
    with pytest.raises(NoVaultError, match="is it mounted"):
        task.execute()
    assert not (tmp_path / "mount").exists()


def test_bad_input_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gopher"):
        create_backup_task("gopher://elsewhere/vault")
    with pytest.raises(UsageError, match="pattern"):
        create_backup_task(str(tmp_path), sources=["no-slash"])


def test_verify_names_damage(project: Project, tmp_path: Path) -> None:
    project.repo("data")
    project.commit("data", {"/a": b"1" * 1000})
    vaulted = Vaulted(tmp_path / "vault")
    task = create_backup_task(
        vaulted.url, sources=[project.everything()], create=True, pachd=project.cluster.address
    )
    task.execute()
    (pack,) = vaulted.files("packs")
    (vaulted.folder / pack).unlink()
    assert [(each.kind, each.object) for each in task.verify()] == [("pack-missing", pack)]

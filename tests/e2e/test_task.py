"""The Python interface, as a caller uses it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import Project, eventually
from e2e.oracle import Vaulted, assert_restorable
from pachvault import create_backup_task
from pachvault.errors import BusyError, DamageError, NoVaultError, PachydermError, UsageError
from pachvault.pach.target import Target


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
    with pytest.raises(UsageError, match="not a source: 'no-slash'"):
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
    assert [(finding.kind, finding.object) for finding in task.verify()] == [("pack-missing", pack)]


def test_recover_brings_back_what_was_backed_up(project: Project, tmp_path: Path) -> None:
    project.repo("data")
    first = project.commit("data", {"/a": b"1", "/d/b": b"2"})
    url = str(tmp_path / "vault")
    task = create_backup_task(url, sources=[project.everything()], create=True, pachd=project.cluster.address)
    snapshot = task.execute()
    late = project.commit("data", {"/late": b"late"})
    task.execute()
    what = f"{project.name}/data@master"
    report = task.recover(what, to=f"{project.name}/copy@v1", paths=["/d/*"], source="vault")
    assert (report.is_settled, report.lost, report.differences) == (True, [], [])
    copied = report.ids[f"{project.name}/copy"][late]
    assert project.heads("copy") == {"v1": copied}
    assert project.tree("copy", copied) == {"/d/b": b"2"}
    status = task.monitor()
    assert (status.phase, status.is_running, status.error) == ("done", False, None)
    for when in (snapshot.name.id, snapshot.short_id, snapshot.manifest.frozen_at):
        task.recover(what, snapshot=when, to=f"{project.name}/old", exists="replace", history="all")
        assert project.tree("old", project.heads("old")["master"]).keys() == {"/a", "/d/b"}
    assert task.recover(what, snapshot=snapshot.name.id, exists="replace").is_settled
    assert project.heads("data")["master"] == first


def test_recover_refuses_what_cannot_be_done(project: Project, tmp_path: Path) -> None:
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    vaulted = Vaulted(tmp_path / "vault")
    task = create_backup_task(
        vaulted.url, sources=[project.everything()], create=True, pachd=project.cluster.address
    )
    task.execute()
    what = f"{project.name}/data"
    with pytest.raises(UsageError, match="exists"):
        task.recover(what, source="vault")
    assert task.monitor().phase == "failed"
    with pytest.raises(UsageError, match="matches 'none/none'"):
        task.recover("none/none")
    for bad in ({"exists": "perhaps"}, {"to": "/"}, {"history": "some"}, {"snapshot": "xyz"}, {"verify": ""}):
        with pytest.raises(UsageError):
            task.recover(what, **bad)
    with pytest.raises(UsageError, match="what"):
        task.recover()
    for pack in vaulted.files("packs"):
        (vaulted.folder / pack).unlink()
    with pytest.raises(DamageError):
        task.recover(what, to=f"{project.name}/copy", source="vault")
    report = task.recover(what, to=f"{project.name}/copy", source="vault", keep_going=True)
    assert report.lost


def test_a_recovery_shows_where_it_stands_and_refuses_a_second_run(project: Project, tmp_path: Path) -> None:
    project.repo("data")
    project.commit("data", {"/a": b"12345"})
    url = str(tmp_path / "vault")
    task = create_backup_task(url, sources=[project.everything()], create=True, pachd=project.cluster.address)
    task.execute()
    going_on = threading.Event()
    make = Target.make_file_set

    def waiting(target: Target, *given: Any) -> str:
        going_on.wait(60)
        return make(target, *given)

    with (
        pytest.MonkeyPatch.context() as patch,
        ThreadPoolExecutor(1) as pool,
    ):
        patch.setattr(Target, "make_file_set", waiting)
        what, to = f"{project.name}/data", f"{project.name}/copy"
        run = pool.submit(task.recover, what, to=to, source="vault")
        eventually("the replay", lambda: task.monitor().phase == "replay")
        status = task.monitor()
        assert (status.is_running, status.bytes_total) == (True, 5)
        for second in (task.execute, lambda: task.recover(what, to=to)):
            with pytest.raises(BusyError, match="runs already"):
                second()
        going_on.set()
        assert run.result().is_settled
    assert not task.is_running()

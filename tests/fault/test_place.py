"""The vault's place: missing, no vault, read-only, full, of another format."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from e2e.backup import Backup
from e2e.cli import pachvault
from e2e.cluster import Project

MIB = 1024 * 1024


@contextmanager
def mounted(folder: Path, *how: str) -> Iterator[Path]:
    """A file system mounted on a folder, for as long as it lasts."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", *how, str(folder)], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def data(project: Project) -> None:
    project.repo("data")
    project.commit("data", {"/a": b"1" * 1000})


def test_no_vault_given(project: Project) -> None:
    assert "no vault given" in pachvault("backup", "--source", "a/b").says(2)
    assert "no vault given" in pachvault("snapshots").says(2)


@pytest.mark.parametrize(
    "command", [["snapshots"], ["show", "latest"], ["verify"], ["backup", "--source", "a/b"]]
)
def test_a_place_that_is_missing_or_holds_no_vault(tmp_path: Path, command: list[str]) -> None:
    missing = (tmp_path / "missing").as_uri()
    assert "no such place" in pachvault("--vault", missing, *command).says(10)
    assert "no vault here" in pachvault("--vault", tmp_path.as_uri(), *command).says(10)
    (tmp_path / "file").write_text("a file")
    assert "no such place" in pachvault("--vault", str(tmp_path / "file"), *command).says(10)
    (tmp_path / "vault.json").write_text("{}")
    assert "not a pachvault vault" in pachvault("--vault", str(tmp_path), *command).says(10)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "vault.json"}


def test_a_vault_of_a_newer_format_or_seal(backup: Backup) -> None:
    path = backup.vault.folder / "vault.json"
    config = json.loads(path.read_text())
    del config["checksum"]
    path.write_text(json.dumps(config | {"format": 99}))
    assert "format 99" in backup.command("snapshots").says(10)
    assert "format 99" in backup.attempt("--quiet").says(10)
    path.write_text(json.dumps(config | {"seal": "age"}))
    assert "encrypted with 'age'" in backup.command("snapshots").says(12)


def test_a_read_only_vault_takes_no_backup_but_can_be_read(backup: Backup) -> None:
    data(backup.project)
    backup.run()
    backup.project.commit("data", {"/b": b"2"})
    folder = backup.vault.folder
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        assert "permission to read or write is missing" in backup.attempt("--quiet").says(1)
        assert len(backup.json("snapshots")) == 1
        assert backup.command("--quiet", "verify", "--level", "data").code == 0
    backup.run()
    backup.assert_restorable()


def test_init_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    assert "cannot create the folder" in pachvault("--vault", str(tmp_path / "file/vault"), "init").says(2)


def test_a_target_that_runs_full_and_gets_room_again(project: Project, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=6m", "tmpfs") as place:
        backup = Backup.of(project, place / "vault")
        project.repo("data")
        project.commit("data", {"/small": b"fits"})
        backup.run()
        project.commit("data", {f"/{number}": Random(number).randbytes(MIB) for number in range(9)})
        message = backup.attempt("--quiet").says(1)
        assert "the target is full" in message
        assert len(backup.vault.snapshots()) == 1
        assert backup.command("--quiet", "verify", "--level", "data").code == 0
        assert not list(backup.vault.folder.rglob(".*")), "a half-written file was left"
        subprocess.run(["mount", "-o", "remount,size=40m", str(place)], check=True)
        backup.run()
        backup.assert_restorable()


def test_a_target_that_is_not_mounted_is_left_alone(project: Project, tmp_path: Path) -> None:
    with mounted(tmp_path / "away", "-t", "tmpfs", "tmpfs") as place:
        backup = Backup.of(project, place)
        data(project)
        backup.run()
    assert "no vault here" in backup.attempt("--quiet").says(10)
    assert list(place.iterdir()) == []

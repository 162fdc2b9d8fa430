"""A disk that is full to the last byte: what writes says so in one line and loses nothing."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from disk import fill, small_disk
from made import Repo, age_all, back_up, new_vault
from pachvault.cli.main import run
from pachvault.errors import FullError
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.maintenance import reserve
from pachvault.maintenance.verify.findings import Severity
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.runtime.progress import Quiet
from pachvault.vault import snapshots
from pachvault.vault.snapshots import Snapshot


def test_extract_stops_with_one_line_and_goes_on_when_there_is_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = np.random.default_rng(1).bytes(5_000 * 300)
    tree = {f"/{number}": data[number * 5000 : number * 5000 + 5000] for number in range(300)}
    repo = Repo(RepoName("p", "r"))
    repo.commit(tree)
    back_up(new_vault(tmp_path), repo)
    with small_disk(tmp_path / "disk", 4 * 2**20) as disk:
        filler = fill(disk, leave=2**20)
        command = ["--vault", str(tmp_path / "vault"), "--quiet", "extract", "latest", str(disk / "out")]
        assert run(command) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"pachvault: {disk}/out: the disk is full (make room and run the same command")
        there = len(list((disk / "out/p/r/master").iterdir()))
        assert 50 < there < 300
        filler.unlink()
        assert run(command) == 0
        assert f"300 files, 1.4 MiB, to {disk}/out, {there} of them there before" in capsys.readouterr().err
        out = {f"/{path.name}": path.read_bytes() for path in (disk / "out/p/r/master").iterdir()}
        assert out == tree
        assert [path.name for path in (disk / "out").iterdir()] == ["p"]


class Full:
    """A vault with two snapshots of 3 MiB each, on a disk that it has filled to the last byte."""

    def __init__(self, disk: Path, *, with_reserve: bool = True) -> None:
        self.disk = disk
        self.vault = new_vault(disk)
        if with_reserve:
            assert reserve.fill(self.vault)
        self.snapshots = [self.back_up(number) for number in (1, 2)]
        age_all(self.vault, timedelta(hours=1))
        fill(disk)

    def back_up(self, number: int, size: int = 3 * 2**20) -> Snapshot:
        repo = Repo(RepoName("p", f"r{number}"))
        repo.commit({"/data": np.random.default_rng(number).bytes(size)})
        return back_up(self.vault, repo, number=number)

    def command(self, *arguments: str) -> int:
        return run(["--vault", str(self.disk / "vault"), "--quiet", *arguments])

    def free(self) -> int:
        return shutil.disk_usage(self.disk).free


def test_a_full_vault_is_made_less_full_at_once_by_whoever_vouches_that_nothing_else_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", 20 * 2**20) as disk:
        full = Full(disk)
        with pytest.raises(FullError, match="the target is full"):
            full.back_up(3)
        age_all(full.vault, timedelta(hours=1))
        fill(disk)
        first, second = full.snapshots
        assert full.command("forget", first.short_id) == 0
        assert full.free() < 2**20, "the reserve was not made again"
        assert full.command("prune") == 0
        assert "1 unneeded objects, 3.0 MiB: a prune after" in capsys.readouterr().err
        age_all(full.vault, timedelta(days=4))
        assert full.command("prune") == 0
        assert "MiB: a prune after" in capsys.readouterr().err
        assert full.free() < 2**20
        assert full.command("prune", "--now") == 2
        assert "--nothing-else-runs" in capsys.readouterr().err
        assert full.command("prune", "--now", "--nothing-else-runs") == 0
        assert full.free() > 3 * 2**20
        assert len(list(full.vault.store.list(layout.RESERVE))) == reserve.PARTS
        findings = verify(full.vault, Level.DATA, Quiet())
        assert {finding.severity for finding in findings} <= {Severity.NOTE}
        assert [name.id for name in snapshots.names(full.vault)] == [second.name.id]
        assert list(full.vault.store.list(layout.FORGOTTEN)) == []
        full.back_up(4, size=2**20)


def test_a_full_vault_without_a_reserve_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", 12 * 2**20) as disk:
        full = Full(disk, with_reserve=False)
        assert full.command("forget", full.snapshots[0].short_id) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "the target is full (the vault has no reserve left; `pachvault prune --now --dry-run`" in line
        assert full.command("prune", "--now", "--dry-run") == 0


def test_a_full_vault_is_repaired_by_way_of_the_reserve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", 20 * 2**20) as disk:
        full = Full(disk)
        for info in full.vault.store.list(layout.INDEX):
            full.vault.store.delete(info.name)
        fill(disk)
        assert full.command("repair") == 0
        assert "nothing is lost" in capsys.readouterr().err
        assert verify(full.vault, Level.DATA, Quiet()) == []
        assert len(list(full.vault.store.list(layout.RESERVE))) >= reserve.PARTS - 1


def test_files_are_erased_from_a_full_vault_by_way_of_the_reserve(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 20 * 2**20) as disk:
        full = Full(disk)
        assert full.command("erase", "--repo", "p/r1", "--path", "/data", "--yes") == 0
        assert full.free() > 2 * 2**20
        assert verify(full.vault, Level.DATA, Quiet()) == []
        assert len(snapshots.names(full.vault)) == 2
        assert len(list(full.vault.store.list(layout.RESERVE))) == reserve.PARTS
        assert full.command("erase", "--repo", "p/r1", "--path", "/data", "--yes") == 0


def test_a_full_vault_without_a_reserve_is_neither_repaired_nor_erased_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", 12 * 2**20) as disk:
        full = Full(disk, with_reserve=False)
        assert full.command("erase", "--repo", "p/r1", "--path", "/data", "--yes") == 1
        assert "the vault has no reserve left" in capsys.readouterr().err
        (index, *_) = full.vault.store.list(layout.INDEX)
        (disk / "vault" / index.name).write_bytes(b"")
        fill(disk)
        assert full.command("repair") == 1
        assert "the vault has no reserve left" in capsys.readouterr().err

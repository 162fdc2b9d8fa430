"""kill -9 at every write, to the vault and to Pachyderm: the next run completes, and nothing dangles."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from e2e.backup import Backup
from e2e.cluster import Cluster
from fault.driven import calls, drive, times, was_killed


def history(backup: Backup) -> None:
    """A sealed snapshot, and then new commits in two repos."""
    project = backup.project
    noise = random.Random(5)
    for repo in ("one", "two"):
        project.repo(repo)
        project.commit(repo, {f"/{number}": noise.randbytes(3000) for number in range(20)})
    backup.run()
    change(backup, noise)


def change(backup: Backup, noise: random.Random) -> None:
    """New commits in both repos."""
    for repo in ("one", "two"):
        for number in range(2):
            backup.project.commit(
                repo, {f"/new{number}": noise.randbytes(300_000)}, append={"/3": b"+"}, delete=[f"/{number}"]
            )


def assert_nothing_dangles(backup: Backup) -> None:
    outcome = backup.command("--quiet", "verify", "--level", "data")
    assert outcome.code == 0, outcome.out


@pytest.mark.parametrize("how", ["before", "after"])
def test_killed_at_every_write_to_the_vault(backup: Backup, how: str) -> None:
    history(backup)
    nth, killed = 1, 0
    while was_killed(drive(backup, "put", nth, how)):
        killed += 1
        assert_nothing_dangles(backup)
        written = times(backup, "packs")
        if nth % 3 == 0:  # some runs are completed, so that later ones die in other places
            backup.run()
            assert times(backup, "packs").items() >= written.items(), "a pack was uploaded twice"
            backup.assert_restorable()
            change(backup, random.Random(nth))
        nth += 1
    assert killed >= 6
    backup.assert_restorable()


def test_packs_of_a_killed_run_are_used_and_not_uploaded_again(backup: Backup) -> None:
    history(backup)
    before = times(backup, "packs")
    # announcement, pack, index, table: the table is never written
    assert was_killed(drive(backup, "put", 4, "before"))
    left = times(backup, "packs")
    assert len(left) == len(before) + 1
    snapshot = backup.run()
    assert times(backup, "packs") == left
    assert snapshot.manifest.totals.bytes_stored == 0
    backup.assert_restorable()


def test_a_share_that_a_killed_run_finished_is_not_read_again(backup: Backup) -> None:
    history(backup)
    total = calls(drive(backup, "put"))
    change(backup, random.Random(9))
    # the last write is the manifest: all shares are done by then
    assert was_killed(drive(backup, "put", total, "before"))
    assert len(backup.vault.snapshots()) == 2
    snapshot = backup.run()
    assert snapshot.manifest.totals.shares_reused == 1
    backup.assert_restorable()


def test_killed_in_the_middle_of_every_file(backup: Backup) -> None:
    history(backup)
    nth, killed = 1, 0
    while was_killed(drive(backup, "write", nth)):
        killed += 1
        assert_nothing_dangles(backup)
        nth += 1
    assert killed >= 4  # fewer each time: what is whole is not written again
    backup.assert_restorable()


@pytest.mark.parametrize("how", ["before", "after"])
def test_killed_at_every_write_to_pachyderm(cluster: Cluster, tmp_path: Path, how: str) -> None:
    nth, total = 0, 0
    while nth <= total:
        backup = Backup.of(cluster.project(), tmp_path / f"vault{nth}")
        project = backup.project
        project.repo("data")
        project.commit("data", {"/a": b"1", "/log": b"x"})
        if nth % 2:
            backup.run()
        project.commit("data", {"/b": b"2"}, append={"/log": b"y"}, delete=["/a"])
        outcome = drive(backup, "target", nth, how)
        if nth == 0:
            total = calls(outcome)
            assert total >= 5  # project, repo, start, add, finish
        elif not was_killed(outcome):
            break
        else:
            backup.run()
        backup.assert_restorable()
        project.commit("data", {"/c": b"3"}, append={"/log": b"z"})
        backup.run()
        backup.assert_restorable()
        nth += 1
    assert nth > 5

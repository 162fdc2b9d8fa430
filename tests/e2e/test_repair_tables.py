"""File tables that are lost, and that `repair` makes again from the cluster or from later tables."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from e2e.backup import Backup
from e2e.cli import Outcome, pachvault
from made import flip
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.mirror import BACKUP_REPO
from pachvault.policy import HOME_PROJECT
from pachvault.vault.snapshots import Snapshot

NOISE = random.Random(7)
LARGE = NOISE.randbytes(5_000_000)


def files(number: int, count: int = 5) -> dict[str, bytes]:
    return {f"/{number}/{name}": NOISE.randbytes(700) for name in range(count)}


def repair(backup: Backup, *arguments: str) -> Outcome:
    address = backup.project.cluster.address
    return pachvault("--vault", backup.vault.url, "--pachd", address, "--quiet", "repair", *arguments)


def table_of(backup: Backup, snapshot: Snapshot, commit: str, repo: str = "data") -> Path:
    """The only file table of a commit."""
    history = snapshot.repo(RepoName(backup.project.name, repo))
    (name,) = history.commit(commit)["tables"]  # type: ignore[misc,attr-defined]
    return backup.vault.folder / layout.table_path(name)


def assert_extracts(backup: Backup, out: Path, *snapshots: Snapshot) -> None:
    for snapshot in snapshots:
        assert backup.command("--quiet", "extract", snapshot.short_id, str(out / snapshot.short_id)).code == 0


def drop_mirror(backup: Backup) -> None:
    backup.project.cluster.target.delete_repo(HOME_PROJECT, BACKUP_REPO)


@pytest.mark.parametrize("harm", ["missing", "corrupt"])
def test_a_lost_table_is_made_again_under_its_name(backup: Backup, tmp_path: Path, harm: str) -> None:
    """It holds a full commit with a large file, and deltas of every kind, of two repos."""
    project = backup.project
    for name in ("data", "more"):
        project.repo(name)
        project.commit(name, {"/large": LARGE, "/empty": b"", **files(1), **files(2)})
        project.commit(name, files(3), append={"/1/1": b"longer"}, delete=["/1/2"])
        project.commit(name, {"/moved": LARGE, "/1/3": b"other"}, delete=["/large"])
    first = backup.run()
    table = table_of(backup, first, project.heads("data")["master"])
    assert table == table_of(backup, first, project.heads("more")["master"], "more")
    content = table.read_bytes()
    if harm == "missing":
        table.unlink()
    else:
        flip(table, 100)
    project.commit("data", files(4))
    second = backup.run()
    assert_extracts(backup, tmp_path, second)
    assert backup.command("--quiet", "extract", first.short_id, str(tmp_path / "broken")).code == 13

    before = backup.vault.files()
    dry = repair(backup, "--dry-run", "--json")
    assert dry.code == 13
    (plan,) = dry.objects
    name = str(table.relative_to(backup.vault.folder))
    assert [*plan["rebuilt"], *plan["exported_again"]] == [name]
    assert backup.vault.files() == before
    done = repair(backup)
    assert done.code == 0, done.err
    assert f"rebuilt: {name}" in done.err
    assert table.read_bytes() == content
    assert_extracts(backup, tmp_path / "after", first, second)
    assert backup.command("--quiet", "verify", "--level", "data").code == 0
    assert repair(backup, "--dry-run").code == 0


def test_a_delta_whose_base_is_in_another_table(backup: Backup, tmp_path: Path) -> None:
    project = backup.project
    project.repo("data")
    base = project.commit("data", {"/large": LARGE, **files(1)})
    backup.run()
    project.commit("data", {**files(2), "/copy": LARGE}, append={"/1/1": b"longer"}, delete=["/1/2"])
    project.commit("data", files(3))
    second = backup.run()
    table = table_of(backup, second, project.heads("data")["master"])
    assert table != table_of(backup, second, base)
    content = table.read_bytes()
    table.unlink()
    drop_mirror(backup)
    dry = repair(backup, "--dry-run")
    assert dry.code == 13
    assert "export commits again" in dry.out
    assert repair(backup).code == 0
    assert table.read_bytes() == content
    backup.assert_restorable(second)


def test_content_that_only_the_lost_table_named_is_looked_for_too(backup: Backup) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {"/large": LARGE, **files(1)})
    snapshot = backup.run()
    for folder in ("packs", "index"):
        for name in backup.vault.files(folder):
            (backup.vault.folder / name).unlink()
    table_of(backup, snapshot, project.heads("data")["master"]).unlink()
    outcome = repair(backup, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.only("repair_summary")["healed"] > 5
    backup.assert_restorable(snapshot)


def test_commits_that_the_cluster_lost_stay_lost_and_are_named(backup: Backup) -> None:
    project = backup.project
    project.repo("data")
    commit = project.commit("data", files(1))
    snapshot = backup.run()
    table = table_of(backup, snapshot, commit)
    table.unlink()
    project.delete_repo("data")
    drop_mirror(backup)
    outcome = repair(backup)
    assert outcome.code == 13
    name = str(table.relative_to(backup.vault.folder))
    assert f"cannot be rebuilt: {name}: " in outcome.out
    assert f"{project.name}/data@{commit}: 5 files" in outcome.out
    assert "export commits again" not in repair(backup, "--dry-run").out


def test_what_a_later_backup_stored_again_needs_no_cluster(backup: Backup, tmp_path: Path) -> None:
    project = backup.project
    project.repo("data")
    commit = project.commit("data", files(1))
    project.commit("data", files(2), delete=["/1/2"])
    first = backup.run()
    table = table_of(backup, first, commit)
    table.unlink()
    project.commit("data", files(3))
    second = backup.run()
    project.delete_repo("data")
    drop_mirror(backup)
    outcome = pachvault("--vault", backup.vault.url, "--pachd", "grpc://127.0.0.1:1", "--quiet", "repair")
    assert outcome.code == 0, outcome.out
    assert table.exists()
    assert_extracts(backup, tmp_path, first, second)

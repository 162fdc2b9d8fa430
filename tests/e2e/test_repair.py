"""Repair with a cluster at hand: lost content comes back from the commit, its mirror, or a branch's head."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from e2e.backup import Backup
from e2e.cli import Outcome, pachvault
from pachvault.mirror import BACKUP_REPO
from pachvault.policy import HOME_PROJECT

NOISE = random.Random(11)
LARGE, SMALL = NOISE.randbytes(5_000_000), {f"/a/{number}": NOISE.randbytes(900) for number in range(40)}


@pytest.fixture
def lost(backup: Backup) -> Backup:
    """A snapshot of two commits, and no pack left."""
    project = backup.project
    project.repo("data")
    project.commit("data", {"/large": LARGE, "/e,m|pty \\": b"", **SMALL})
    project.commit("data", {"/b/later": NOISE.randbytes(500)}, append={"/a/3": b"more"}, delete=["/a/4"])
    backup.run()
    for name in backup.vault.files("packs"):
        (backup.vault.folder / name).unlink()
    assert backup.command("--quiet", "verify").code == 13
    return backup


def repair(backup: Backup, *arguments: str, address: str | None = None) -> Outcome:
    where = ["--vault", backup.vault.url, "--pachd", address or backup.project.cluster.address, "--quiet"]
    return pachvault(*where, "repair", *arguments)


def drop_mirror(backup: Backup) -> None:
    target = backup.project.cluster.target
    target.delete_repo(HOME_PROJECT, BACKUP_REPO)


def test_everything_comes_back_from_the_source(lost: Backup) -> None:
    drop_mirror(lost)
    before = lost.vault.files()
    dry = repair(lost, "--json", "--dry-run")
    assert dry.code == 13
    (plan,) = dry.objects
    assert len(plan["readable_again"]) == 43  # the large one, the small ones, the later one, the longer one
    assert plan["lost"] == []
    assert lost.vault.files() == before
    done = repair(lost, "--json")
    assert done.code == 0, done.err
    assert done.only("repair_summary")["healed"] > 43
    lost.assert_restorable()
    assert repair(lost, "--dry-run").code == 0
    lost.project.commit("data", append={"/a/5": b"!"})
    lost.run()
    lost.assert_restorable()


def test_what_the_source_lost_comes_back_from_the_mirror(lost: Backup, tmp_path: Path) -> None:
    lost.project.delete_repo("data")
    outcome = repair(lost)
    # the mirror holds the head, and of the first commit what the head still has
    assert outcome.code == 13
    assert "/a/4" in outcome.out
    assert "/large" not in outcome.out
    assert "2 losses" in outcome.err  # and the first /a/3
    assert lost.command("extract", "latest", str(tmp_path / "out")).code == 0
    root = tmp_path / "out" / lost.project.name / "data/master"
    assert (root / "large").read_bytes() == LARGE
    assert (root / "a/3").read_bytes() == SMALL["/a/3"] + b"more"
    assert not (root / "a/4").exists()


def test_what_was_squashed_comes_back_from_the_branch(lost: Backup) -> None:
    drop_mirror(lost)
    first = lost.project.cluster.source.commit(
        lost.project.ref("data", lost.project.heads("data")["master"])
    ).parent
    assert first
    lost.project.squash(first)
    outcome = repair(lost, "--json")
    assert outcome.code == 13
    assert [lost_file["file"].partition(":")[2] for lost_file in outcome.kind("lost_file")] == [
        "/a/3",
        "/a/4",
    ]
    head = lost.project.heads("data")["master"]
    place = f"{lost.project.name}/data@{head}"
    assert lost.command("cat", "latest", f"{place}:/large").raw == LARGE


def test_content_that_has_changed_in_the_cluster_is_not_taken_for_the_lost_one(lost: Backup) -> None:
    drop_mirror(lost)
    name = lost.project.name
    lost.project.delete_repo("data")
    lost.project.repo("data")
    lost.project.commit("data", {"/large": bytes(len(LARGE)), **{path: bytes(900) for path in SMALL}})
    outcome = repair(lost, "--json")
    assert outcome.code == 13
    assert outcome.only("repair_summary")["healed"] == 0
    lost_files = {lost_file["file"].partition(":")[2] for lost_file in outcome.kind("lost_file")}
    assert lost_files == {"/large", "/b/later", *SMALL}
    assert all(lost_file["file"].startswith(f"{name}/data@") for lost_file in outcome.kind("lost_file"))


def test_without_a_cluster_the_vault_is_repaired_as_far_as_that_goes(backup: Backup) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {"/first": b"1" * 5000})
    backup.run()
    (first,) = backup.vault.files("packs")
    project.commit("data", {"/second": b"2" * 5000})
    backup.run()
    (backup.vault.folder / first).unlink()
    index = backup.vault.files("index")
    (backup.vault.folder / "vault.json").unlink()
    for name in index:
        (backup.vault.folder / name).unlink()
    assert backup.command("snapshots").code == 10
    dry = repair(backup, "--dry-run", address="grpc://127.0.0.1:1")
    assert dry.code == 13
    assert "write vault.json" in dry.out
    assert "Pachyderm may have it, but: " in dry.out
    assert not (backup.vault.folder / "vault.json").exists()
    done = repair(backup, address="grpc://127.0.0.1:1")
    assert done.code == 13
    assert "/first" in done.out
    assert f"vault.json: vault {backup.vault.vault.config.vault_id[:12]}" in done.err
    assert "grace period 7 days\n" in done.err
    place = f"{project.name}/data@master"
    assert backup.command("cat", "latest", f"{place}:/second").raw == b"2" * 5000
    assert repair(backup).code == 0
    backup.assert_restorable()


def test_no_vault_is_no_damage(tmp_path: Path) -> None:
    assert "no such place" in pachvault("--vault", str(tmp_path / "none"), "repair").says(10)
    assert "the vault's id cannot be determined" in pachvault("--vault", str(tmp_path), "repair").says(10)

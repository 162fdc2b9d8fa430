"""`erase` as users call it: asked first, then gone, said by `show`; backups and restores go on."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from e2e.backup import Backup
from e2e.cli import pachvault
from pachvault.format.ids import RepoName

NOISE = random.Random(12)
SECRET, PUBLIC, LARGE = (NOISE.randbytes(size) for size in (2000, 2000, 3_000_000))


@pytest.fixture
def crm(backup: Backup) -> Backup:
    """Two snapshots; a file comes and grows, and is deleted in the head."""
    project = backup.project
    project.repo("crm")
    project.commit("crm", {"/people/42/a": SECRET, "/people/7": PUBLIC, "/people/42/large": LARGE})
    backup.run()
    project.commit("crm", {"/people/8": b"8"}, append={"/people/42/a": b"more"})
    project.commit("crm", {"/people/9": b"9"}, delete=["/people/42/a", "/people/42/large"])
    backup.run()
    return backup


def erase(backup: Backup, *arguments: str, code: int = 0) -> list[dict[str, object]]:
    what = ["--repo", f"{backup.project.name}/crm", "--path", "/people/42/**"]
    outcome = backup.command("--json", "--quiet", "erase", *what, *arguments)
    assert outcome.code == code, outcome.err
    return outcome.objects


def vault_bytes(backup: Backup) -> bytes:
    return b"".join(path.read_bytes() for path in backup.vault.folder.rglob("*") if path.is_file())


def test_a_dry_run_changes_nothing(crm: Backup) -> None:
    before = crm.vault.files()
    (plan,) = erase(crm, "--dry-run")
    assert (plan["files"], plan["commits"]) == (3, 2)
    assert [snapshot["id"] for snapshot in plan["snapshots"]] == crm.vault.snapshots()
    assert crm.vault.files() == before
    text = crm.command(
        "--quiet", "erase", "--repo", f"{crm.project.name}/*", "--path", "*/large", "--dry-run"
    )
    assert "1 files in 1 commits, 2.9 MiB" in text.out


def test_nobody_is_erased_unasked(crm: Backup) -> None:
    before = crm.vault.files()
    (_, error) = erase(crm, code=2)
    assert "--yes" in str(error["message"])
    assert crm.vault.files() == before
    assert "no repo was named" in crm.command("erase", "--path", "/people/**", "--yes").says(2)
    assert crm.vault.files() == before


class Somebody(io.StringIO):
    """At a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["n", "", "y"])
def test_who_is_asked_can_say_no(crm: Backup, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr("sys.stdin", Somebody(f"{answer}\n"))
    before = crm.vault.files()
    erase(crm)
    assert (crm.vault.files() == before) == (answer != "y")
    assert (SECRET[:500] in vault_bytes(crm)) == (answer != "y")


def test_the_files_are_gone_and_show_says_so(crm: Backup, tmp_path: Path) -> None:
    assert SECRET[:500] in vault_bytes(crm)
    first, second = crm.vault.snapshots()
    _, summary = erase(crm, "--yes")
    renamed = summary["snapshots"]
    assert isinstance(renamed, dict)
    assert crm.vault.snapshots() == [renamed[first], renamed[second]]
    assert SECRET[:500] not in vault_bytes(crm)
    assert LARGE[1_000_000:1_000_100] not in vault_bytes(crm)
    assert PUBLIC[:500] in vault_bytes(crm)
    shown = crm.command("show", renamed[first])
    assert "erased" in shown.out
    assert "/people/42/** in" in shown.out
    assert "2 files" in shown.out
    assert crm.json("show", renamed[second])[0]["erased"][0]["files"] == 3
    listed = crm.json("ls", renamed[first], f"{crm.project.name}/crm@master")
    assert [entry["path"] for entry in listed] == ["/people/7"]
    assert crm.command("--quiet", "verify", "--level", "data").code == 0
    assert crm.command("--quiet", "extract", renamed[first], str(tmp_path / "out")).code == 0
    for what in (["--repo", "no/such"], ["--repo", f"{crm.project.name}/crm", "--path", "people/none"]):
        assert "nothing in the vault matches '" in crm.command("--quiet", "erase", *what, "--yes").says(2)
    (again,) = erase(crm, "--yes")
    assert again["files"] == 0


def test_backup_and_restore_go_on(crm: Backup) -> None:
    erase(crm, "--yes")
    name = crm.project.name
    crm.project.commit("crm", {"/people/10": b"10"})
    snapshot = crm.run()
    assert not snapshot.manifest.partial
    assert crm.command("--quiet", "verify", "--level", "data").code == 0
    head = crm.project.heads("crm")["master"]
    tree = crm.vault.tree(snapshot, RepoName(name, "crm"), head)
    assert tree == crm.project.tree("crm", head)
    outcome = pachvault(
        "--vault", crm.vault.url, "--pachd", crm.project.cluster.address, "--quiet",
        "restore", f"{name}/crm@master", "--to", f"{name}/again", "--history", "all", "--from", "vault",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert crm.project.tree("again", crm.project.heads("again")["master"]) == tree


def test_what_the_source_still_has_comes_back_with_its_next_commit(backup: Backup) -> None:
    project = backup.project
    project.repo("crm")
    project.commit("crm", {"/people/42/a": SECRET, "/people/7": PUBLIC})
    backup.run()
    erase(backup, "--yes")
    project.commit("crm", {"/people/8": b"8"})
    snapshot = backup.run()
    assert not snapshot.manifest.partial
    head = project.heads("crm")["master"]
    assert backup.vault.tree(snapshot, RepoName(project.name, "crm"), head) == project.tree("crm", head)
    assert SECRET[:500] in vault_bytes(backup)


@pytest.mark.parametrize("is_backed_up_again", [False, True])
def test_what_was_erased_is_no_damage_of_the_source_and_a_rollback_keeps_it_there(
    crm: Backup, *, is_backed_up_again: bool
) -> None:
    """The source still has the files, in the very commit that the snapshot has without them."""
    project = crm.project
    head = project.commit("crm", {"/people/42/new": SECRET})
    crm.run()
    erase(crm, "--yes")
    if is_backed_up_again:
        crm.run()
    where = ["--pachd", project.cluster.address, "--quiet"]
    outcome = crm.command(*where, "--json", "verify", "--level", "source")
    assert outcome.code == 0, outcome.err
    finding = outcome.only("finding")
    assert (finding["kind"], finding["severity"]) == ("erased-here", "change")
    assert [file.partition(":")[2] for file in finding["files"]] == ["/people/42/new"]
    tree = project.tree("crm", head)
    place = f"{project.name}/crm@master"
    assert crm.command(*where, "rollback", place, "--to", "latest").code == 0
    assert project.heads("crm") == {"master": head}
    project.commit("crm", {"/late": b"late"})
    assert crm.command(*where, "rollback", place, "--to", "latest").code == 0
    assert project.heads("crm")["master"] == head
    assert project.tree("crm", head) == tree


def test_nobody_is_asked_without_being_told_of_prune_and_repair(
    crm: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Somebody("n\n"))
    what = ["--repo", f"{crm.project.name}/crm", "--path", "/people/42/**"]
    assert "No prune and no repair of this vault may run meanwhile" in crm.command("erase", *what).err

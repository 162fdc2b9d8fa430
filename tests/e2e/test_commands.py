"""The commands on a vault with a history: what they print, and how they end."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.backup import Backup
from e2e.cli import pachvault


@pytest.fixture
def filled(backup: Backup) -> Backup:
    """Two snapshots: a change, an addition and a deletion between them."""
    project = backup.project
    project.repo("data", "readings")
    project.commit("data", {"/keep": b"kept", "/d/x.txt": b"x1", "/d/y.csv": b"y", "/drop": b"d"}, text="one")
    backup.run()
    project.commit("data", {"/d/x.txt": b"x22", "/new": b""}, delete=["/drop"], text="two")
    project.commit("data", {"/only": b"side"}, branch="side")
    backup.run()
    return backup


def test_init_makes_one_vault_and_no_second(tmp_path: Path) -> None:
    url = (tmp_path / "a b%").as_uri()
    summary = pachvault("--json", "--vault", url, "init").only("init_summary")
    assert summary["vault"] == url
    assert "a vault exists already" in pachvault("--vault", url, "init").says(2)
    shown = pachvault("--vault", url, "snapshots")
    assert (shown.code, len(shown.out.splitlines())) == (0, 1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    assert "not empty" in pachvault("--vault", str(tmp_path / "full"), "init").says(2)


def test_backup_reports_one_summary(backup: Backup) -> None:
    backup.project.repo("data")
    backup.project.commit("data", {"/a": b"12345"})
    outcome = pachvault("--json", *backup.arguments())
    assert outcome.code == 0
    assert {line_object["type"] for line_object in outcome.objects} == {"progress", "backup_summary"}
    summary = outcome.only("backup_summary")
    assert summary["snapshot"] == backup.vault.snapshot().name.id
    assert summary["totals"]["read_bytes"] == 5
    assert (summary["partial"], summary["problems"], summary["repos"]) == (False, [], 1)
    attempted = backup.attempt()
    assert "0 new commits" in attempted.err.splitlines()[-1]
    assert attempted.raw == b""


def test_snapshots_are_listed_oldest_first(filled: Backup) -> None:
    listed = filled.json("snapshots")
    assert [entry["id"] for entry in listed] == filled.vault.snapshots()
    assert [entry["frozen_at"] for entry in listed] == sorted(entry["frozen_at"] for entry in listed)
    assert listed[1]["size_bytes"] == len(b"keptx22y") + len(b"side")
    table = filled.command("snapshots").out.splitlines()
    assert [line.split()[0] for line in table[1:]] == [entry["id"][:12] for entry in listed]


def test_show_names_branches_and_commits(filled: Backup) -> None:
    name = filled.project.name
    text = filled.command("show", "latest").out
    assert f"{name}/data@master" in text
    assert f"{name}/data@side" in text
    (manifest,) = filled.json("show", "latest")
    named = {(project_info["name"], project_info["description"]) for project_info in manifest["projects"]}
    assert (name, "") in named  # pipelines bring theirs, too
    commits = filled.json("show", "latest", f"{name}/data")
    assert [commit["description"] for commit in commits][:2] == ["one", "two"]
    assert [commit["branches"] for commit in commits] == [[], ["master"], ["side"]]
    assert [commit["metadata"] for commit in commits] == [{}, {}, {}]
    assert "/nope' (no other snapshot has it)" in filled.command("show", "latest", f"{name}/nope").says(2)


def test_ls_and_cat_by_branch_commit_folder_and_pattern(filled: Backup) -> None:
    name = filled.project.name
    place = f"{name}/data@master"

    def paths(where: str, snap: str = "latest") -> list[str]:
        return [entry["path"] for entry in filled.json("ls", snap, where)]

    assert paths(place) == ["/d/x.txt", "/d/y.csv", "/keep", "/new"]
    assert paths(f"{place}:/d") == ["/d/x.txt", "/d/y.csv"]
    assert paths(f"{place}:/d/*.csv") == ["/d/y.csv"]
    assert paths(place, filled.vault.snapshots()[0]) == ["/d/x.txt", "/d/y.csv", "/drop", "/keep"]
    first = filled.json("show", "latest", f"{name}/data")[0]["commit"]
    assert filled.command("cat", "latest", f"{name}/data@{first[:8]}:/d/x.txt").raw == b"x1"
    assert filled.command("cat", "latest", f"{place}:/d/x.txt").raw == b"x22"
    assert filled.command("cat", "latest", f"{place}:/new").raw == b""
    assert "no file" in filled.command("cat", "latest", f"{place}:/drop").says(2)
    assert "no file" in filled.command("ls", "latest", f"{place}:/nothing*").says(2)
    assert "branches: master, side" in filled.command("ls", "latest", f"{name}/data@trunk").says(2)
    assert "no snapshot" in filled.command("ls", "feedbeef", place).says(2)


@pytest.mark.parametrize("path", ["d", "/d", "/d/", "d/*", "**/d", "/d/**"])
def test_a_path_means_the_same_everywhere(filled: Backup, tmp_path: Path, path: str) -> None:
    name, files = filled.project.name, ["/d/x.txt", "/d/y.csv"]
    place = f"{name}/data@master"
    assert [entry["path"] for entry in filled.json("ls", "latest", f"{place}:{path}")] == files
    out = tmp_path / "out"
    chosen = ["--source", place, "--include", path]
    assert filled.command("--quiet", "extract", "latest", str(out), *chosen).code == 0
    root = out / name / "data/master"
    assert (
        sorted(f"/{path_below.relative_to(root)}" for path_below in root.rglob("*") if path_below.is_file())
        == files
    )
    old, new = filled.vault.snapshots()
    assert [change["path"] for change in filled.json("diff", old, new, f"{place}:{path}")] == ["/d/x.txt"]
    erase = ["--json", "erase", "--repo", f"{name}/data", "--path", path, "--dry-run"]
    assert filled.command(*erase).only("erase_plan")["files"] == 3
    address = ["--pachd", filled.project.cluster.address]
    restore = ["restore", place, "--path", path, "--exists", "append", "--dry-run"]
    plan = filled.command("--json", *address, *restore).only("restore_plan")
    assert plan["size_bytes"] == 4
    assert plan["repos"][0]["branches"][0]["action"] == "append"


def test_what_matches_nothing_is_refused_and_named_everywhere(filled: Backup, tmp_path: Path) -> None:
    place = f"{filled.project.name}/data@master"
    old, new = filled.vault.snapshots()
    out = str(tmp_path / "none")
    for command in (
        ["ls", "latest", f"{place}:nope"],
        ["cat", "latest", f"{place}:nope"],
        ["diff", old, new, f"{place}:nope"],
        ["extract", "latest", out, "--source", place, "--include", "d", "--include", "nope"],
        ["extract", "latest", out, "--source", place, "--exclude", "nope"],
        ["erase", "--repo", f"{filled.project.name}/data", "--path", "d", "--path", "nope", "--dry-run"],
    ):
        assert "matches '/nope'" in filled.command("--quiet", *command).says(2), command
    assert not Path(out).exists()
    assert "is a folder or a pattern" in filled.command("cat", "latest", f"{place}:d").says(2)


@pytest.mark.parametrize(
    ("snap", "message"),
    [
        ("ab", "'ab' is too short for the id of a snapshot"),
        ("2026-11-20", "2026-11-20 is a day without an hour"),
        ("2001-01-01 00:00", "no snapshot was frozen at or before 2001-01-01 00:00:00 UTC (the oldest is of"),
        ("20240101", "no snapshot '20240101'"),
        ("nope", "not a snapshot: 'nope'"),
    ],
)
def test_a_snapshot_is_refused_with_the_same_words_everywhere(
    filled: Backup, tmp_path: Path, snap: str, message: str
) -> None:
    place = f"{filled.project.name}/data@master"
    address = ["--pachd", filled.project.cluster.address]
    for command in (
        ["show", snap],
        ["ls", snap, place],
        ["cat", snap, f"{place}:/keep"],
        ["diff", "latest", snap],
        ["extract", snap, str(tmp_path / "out")],
        ["verify", snap],
        ["snapshots", "pin", snap],
        ["snapshots", "unpin", snap],
        [*address, "restore", place, "--snapshot", snap],
        [*address, "rollback", place, "--to", snap],
    ):
        assert message in filled.command("--quiet", *command).says(2), command


def test_a_snapshot_may_be_named_by_a_time(filled: Backup) -> None:
    place = f"{filled.project.name}/data@master"
    first = filled.vault.snapshot(filled.vault.snapshots()[0])
    at = first.manifest.frozen_at.isoformat()
    assert filled.command("ls", at, place).out == filled.command("ls", first.name.id, place).out
    assert filled.command("ls", "2100-01-01 00:00", place).out == filled.command("ls", "latest", place).out


def test_diff_shows_additions_removals_and_changes(filled: Backup) -> None:
    name = filled.project.name
    old, new = filled.vault.snapshots()
    lines = filled.command("diff", old, new, f"{name}/data@master").out.splitlines()
    place = f"{name}/data@master"
    assert lines == [f"M {place}:/d/x.txt", f"- {place}:/drop", f"+ {place}:/new"]
    changes = filled.json("diff", old, new, f"{name}/data@master:/d")
    assert [
        (change["path"], change["change"], change["old_bytes"], change["new_bytes"]) for change in changes
    ] == [("/d/x.txt", "M", 2, 3)]
    everything = filled.command("diff", new, old).out.splitlines()
    assert f"- {name}/data@side:/only" in everything
    assert f"+ {place}:/drop" in everything
    assert filled.command("diff", new, new).out == ""
    assert "neither snapshot has" in filled.command("diff", old, new, f"{name}/none@master").says(2)


def test_extract_writes_the_snapshot_to_a_folder(filled: Backup, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = filled.command("--json", "extract", "latest", str(out))
    assert outcome.code == 0
    root = out / filled.project.name / "data"
    contents = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    master = {"d/x.txt": b"x22", "d/y.csv": b"y", "keep": b"kept", "new": b""}
    side = {"side/only": b"side"}
    expected = {f"master/{path}": data for path, data in master.items()} | side
    missing = {key: value for key, value in expected.items() if contents.get(key) != value}
    assert not missing
    summary = outcome.only("extract_summary")
    assert (summary["files"], summary["failed"]) == (len(contents), 0)
    assert summary["size_bytes"] == sum(map(len, contents.values()))
    assert "is not empty" in filled.command("extract", "latest", str(out)).says(2)
    (root / "master/keep").write_bytes(b"damaged by hand")
    assert filled.command("--quiet", "extract", "latest", str(out), "--overwrite").code == 0
    assert (root / "master/keep").read_bytes() == b"kept"


def test_extract_takes_only_what_was_asked_for(filled: Backup, tmp_path: Path) -> None:
    name = filled.project.name
    chosen = ["--source", f"{name}/data@master", "--include", "/d/*", "--exclude", "*.csv"]
    assert filled.command("--quiet", "extract", "latest", str(tmp_path / "out"), *chosen).code == 0
    files = [str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert files == [f"out/{name}/data/master/d/x.txt"]
    wrong = filled.command("extract", "latest", str(tmp_path / "none"), "--source", "a/b")
    assert "matches 'a/b'" in wrong.says(2)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("level", ["structure", "packs", "data"])
def test_verify_finds_nothing_in_a_whole_vault(filled: Backup, level: str) -> None:
    outcome = filled.command("--json", "verify", "--level", level)
    assert outcome.code == 0
    assert outcome.kind("finding") == []
    summary = outcome.only("verify_summary")
    assert (summary["level"], summary["findings"], summary["severities"]) == (level, 0, {})
    assert (summary["packs"] > 0) == (summary["read_bytes"] > 0) == (level != "structure")


def test_an_empty_vault_has_no_latest(backup: Backup) -> None:
    assert "no snapshot yet" in backup.command("show", "latest").says(2)
    outcome = backup.command("--json", "show", "latest")
    assert outcome.objects[0]["type"] == "error"
    assert outcome.objects[0]["exit_code"] == outcome.code == 2

"""Commits of more rows than a table holds, and of more blobs than an index object holds."""

from __future__ import annotations

import pytest

from e2e.backup import Backup
from pachvault.backup.export import row_builder, table_writer
from pachvault.format import index
from pachvault.format.ids import RepoName
from pachvault.vault import pack_writer
from pachvault.vault.snapshots import Snapshot

TABLE_ROWS = 100


@pytest.fixture(autouse=True)
def small_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred rows are as many as hundreds of thousands."""
    for module in (row_builder, table_writer):
        monkeypatch.setattr(module, "TABLE_ROWS", TABLE_ROWS)
    monkeypatch.setattr(row_builder, "_CHUNK_ROWS", TABLE_ROWS // 4)
    monkeypatch.setattr(index, "ROWS", 50)
    monkeypatch.setattr(pack_writer, "PACK_BYTES", 20_000)
    monkeypatch.setattr("pachvault.backup.export.export.PACK_BYTES", 20_000)
    monkeypatch.setattr("pachvault.backup.export.chunker.FRAME_BLOBS", 16)
    monkeypatch.setattr("pachvault.backup.export.frame_writer.FRAME_BLOBS", 16)
    monkeypatch.setattr("pachvault.backup.export.chunker._AHEAD_BYTES", 20_000)


def content(number: int) -> bytes:
    return b"%d" % number * 20


def tables_of(snapshot: Snapshot, backup: Backup, repo: str, commit: str) -> list[int]:
    """How many rows of the commit are in each of its tables."""
    history = snapshot.repo(RepoName(backup.project.name, repo))
    return [
        sum(row["commit"] == commit for row in snapshot.vault.file_table(name).to_pylist())
        for name in history.commit(commit)["tables"]
    ]


def test_a_large_commit_has_several_tables_and_small_ones_share_one(backup: Backup) -> None:
    project = backup.project
    project.repo("large")
    large = project.commit("large", {f"/{number:04}": content(number) for number in range(450)})
    small = [(project.repo(f"small-{number}"), number) for number in range(5)]
    heads = {
        repo: project.commit(repo, {f"/{file_number}": content(file_number) for file_number in range(number)})
        for repo, number in small
    }
    snapshot = backup.run()
    backup.assert_restorable(snapshot)
    assert tables_of(snapshot, backup, "large", large) == [100, 100, 100, 100, 50]
    assert tables_of(snapshot, backup, "small-0", heads["small-0"]) == []
    assert [len(tables_of(snapshot, backup, repo, heads[repo])) for repo, _ in small[1:]] == [1] * 4
    assert len(backup.vault.files("index")) > 1
    assert len(backup.vault.files("packs")) > 1
    assert backup.command("verify", "--level", "data").code == 0


def test_changes_on_a_commit_whose_rows_are_written_already(backup: Backup) -> None:
    """Renames and changes in one run with what they are based on: nothing is read twice, nothing mixed up."""
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {f"/{number:04}": content(number) for number in range(250)})
    project.commit(repo, {"/0007": b"newer"})
    project.commit(repo, {f"/{number:04}": b"+" + content(number) for number in range(100, 220)})
    project.commit(repo, {"/moved": b"newer", "/again": content(3)}, delete=["/0007", "/0003"])
    snapshot = backup.run()
    backup.assert_restorable(snapshot)
    assert snapshot.manifest.totals.files_known == 2


def test_a_commit_that_fails_half_way_leaves_no_rows_behind(backup: Backup) -> None:
    project = backup.project
    project.repo("bad")
    project.commit("bad", {f"/{number:04}": content(number) * 500 for number in range(450)})
    project.repo("good")
    project.commit("good", {"/a": b"a"})
    fault = {"method": "GetFileTAR", "code": "PERMISSION_DENIED", "cut_after_bytes": 9_000_000}
    with project.cluster.faults(fault):
        snapshot = backup.run(code=3)
    unread = [problem.repo for problem in snapshot.manifest.problems if problem.commit]
    assert unread == [f"{project.name}/bad"]
    assert len(backup.vault.files("tables")) > 4, "the fault came too early"
    rows_of_good = snapshot.repo(RepoName(project.name, "good")).commits["tables"].to_pylist()
    assert [len(snapshot.vault.file_table(name)) for names in rows_of_good for name in names] == [1]
    backup.run()
    backup.assert_restorable()

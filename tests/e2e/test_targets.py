"""Several targets of one cluster, and several clusters in one vault."""

from __future__ import annotations

from pathlib import Path

from e2e.backup import Backup
from e2e.cluster import Cluster, Project
from e2e.oracle import assert_restorable


def test_two_targets_at_different_points_both_hold_everything(backup: Backup, tmp_path: Path) -> None:
    project = backup.project
    other = Backup.of(project, tmp_path / "other")
    repo = project.repo("data")
    project.commit(repo, {"/a": b"1"})
    backup.run()
    for number in range(3):
        project.commit(repo, {"/a": f"{number}".encode()}, append={"/log": b"line\n"})
        backup.run()
    other.run()
    project.commit(repo, {"/z": b"z"}, delete=["/a"])
    other.run()
    backup.run()
    backup.assert_restorable()
    other.assert_restorable()
    assert len(backup.json("show", "latest", f"{project.name}/data")) == 5
    assert len(other.json("show", "latest", f"{project.name}/data")) == 5


def test_two_clusters_share_a_vault_and_its_blobs(backup: Backup, tmp_path: Path) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {"/a": b"of the first" * 1000, "/both": b"same" * 5000})
    first = backup.run()
    elsewhere = Cluster(tmp_path / "second")
    try:
        there = Project(elsewhere, project.name)  # the same names, another cluster
        elsewhere.target.ensure_project(project.name)
        there.repo("data")
        there.commit("data", {"/a": b"of the second" * 1000, "/both": b"same" * 5000})
        second = Backup(there, backup.vault)
        second_run = second.run()
        assert second_run.manifest.cluster.id != first.manifest.cluster.id
        assert second_run.manifest.totals.bytes_new == len(b"of the second") * 1000
        there.commit("data", {"/more": b"second"})
        project.commit("data", {"/more": b"first"}, delete=["/both"])
        latest = second.run()
        mine = backup.run()
        assert mine.manifest.totals.commits_new == latest.manifest.totals.commits_new == 1
        assert_restorable(backup.vault, there, latest)
        assert_restorable(backup.vault, project, mine)
    finally:
        elsewhere.close()

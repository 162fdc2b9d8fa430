"""A snapshot against the cluster: change is told from damage, and each damage has a side."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from e2e.backup import Backup
from e2e.cluster import Project
from pachvault.format import documents, layout, table
from pachvault.format.ids import RepoName, digest
from pachvault.format.manifest import Cluster, Manifest
from pachvault.format.records import Segment
from pachvault.maintenance.compare.compare import SourceComparison, compare
from pachvault.maintenance.verify.findings import Finding, Severity
from pachvault.mirror import mirrors
from pachvault.runtime.progress import Quiet
from pachvault.vault import snapshots

pytestmark = pytest.mark.e2e

NOISE = random.Random(5)
FILES = {"/a/small": b"small", "/b": NOISE.randbytes(3_000_000), "/c d": b"", "/z": NOISE.randbytes(70_000)}


@pytest.fixture
def saved(backup: Backup) -> Backup:
    backup.project.repo("data")
    backup.project.commit("data", FILES)
    backup.run()
    return backup


def compared(backup: Backup, snapshot: str = "latest", *, is_quick: bool = False) -> SourceComparison:
    vault = backup.vault.vault
    resolved = snapshots.resolve(vault, snapshot)
    return compare(backup.project.cluster.source, vault, resolved, Quiet(), is_quick=is_quick)


def kinds(done: SourceComparison) -> list[tuple[str, Severity]]:
    return [(finding.kind, finding.severity) for finding in done.findings]


def head(backup: Backup) -> str:
    return backup.project.heads("data")["master"]


def forge(backup: Backup, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Seal another snapshot, well formed, whose file table says what `edit` makes of the true rows."""
    vault = backup.vault.vault
    snapshot = snapshots.resolve(vault, "latest")
    history = snapshot.repo(RepoName(backup.project.name, "data"))
    rows = edit(history.tree(head(backup)).to_pylist())
    name = vault.put_table(table.encode_files(pa.Table.from_pylist(rows, table.FILES))).digest
    commits = history.commits.to_pylist()
    for commit in commits:
        if commit["commit"] == head(backup):
            commit |= {"base": None, "depth": 0, "rows": len(rows), "tables": [name]}
    listing = vault.put_table(table.encode_commits(pa.Table.from_pylist(commits, table.COMMITS))).digest
    record = history.record.model_copy(update={"segments": [Segment(table=listing, commits=len(commits))]})
    record_digest = digest(documents.encode(record))
    vault.put_record(record)
    entry = snapshot.manifest.repos[0].model_copy(update={"record": record_digest})
    for info in vault.store.list(layout.SNAPSHOTS):
        vault.store.delete(info.name)
    put(backup, snapshot.manifest.model_copy(update={"repos": [entry]}))


def put(backup: Backup, manifest: Manifest) -> None:
    data = documents.encode(manifest)
    name = layout.snapshot_path(manifest.frozen_at, manifest.sequence, digest(data))
    backup.vault.vault.store.put(name, [data], len(data))


@pytest.mark.parametrize("is_quick", [False, True])
def test_an_unchanged_source_gives_no_finding_and_the_mirror_is_compared_too(
    saved: Backup, *, is_quick: bool
) -> None:
    done = compared(saved, is_quick=is_quick)
    assert done.findings == []
    assert (done.branches, done.unchanged, done.commits) == (1, 1, 1)
    assert done.bytes == sum(map(len, FILES.values()))
    assert f"{saved.project.name}/data@{head(saved)}" in mirrors(saved.project.cluster.source)


def test_newer_commits_and_branches_of_other_histories_are_changes(saved: Backup) -> None:
    project, old = saved.project, head(saved)
    project.branch("data", "other", old)
    saved.run()
    for number in range(3):
        project.commit("data", {f"/{number}": b"new"})
    fresh = project.commit("data", {"/x": b"x"}, branch="fresh")
    project.branch("data", "other", fresh)
    done = compared(saved)
    by_branch = {finding.object.rpartition("@")[2]: finding for finding in done.findings}
    assert {name: finding.kind for name, finding in by_branch.items()} == {
        "master": "branch-moved-on",
        "other": "branch-rewritten",
    }
    assert "3 commits newer" in by_branch["master"].message
    assert fresh in by_branch["other"].message
    assert {finding.severity for finding in done.findings} == {Severity.CHANGE}
    assert done.unchanged == 0


def test_a_deleted_branch_is_a_change_and_its_commit_is_compared_all_the_same(saved: Backup) -> None:
    saved.project.branch("data", "kept", head(saved))
    saved.project.delete_branch("data", "master")
    done = compared(saved)
    assert kinds(done) == [("branch-deleted", Severity.CHANGE)]
    assert done.commits == 1


def test_a_squashed_head_is_a_change_and_the_mirror_is_compared_with_the_vault(saved: Backup) -> None:
    old = head(saved)
    saved.project.commit("data", {"/more": b"more"})
    saved.project.squash(old)
    done = compared(saved)
    assert kinds(done) == [("branch-rewritten", Severity.CHANGE)]
    assert "is gone" in done.findings[0].message
    assert done.commits == 1


def test_a_deleted_repo_is_a_change(saved: Backup) -> None:
    saved.project.delete_repo("data")
    assert kinds(compared(saved)) == [("repo-deleted", Severity.CHANGE)]


def only(done: SourceComparison, kind: str) -> Finding:
    (finding,) = [candidate for candidate in done.findings if candidate.kind == kind]
    assert finding.severity is Severity.DAMAGE
    return finding


def paths(finding: Finding) -> list[str]:
    return [file.partition(":")[2] for file in finding.files]


@pytest.mark.parametrize("is_quick", [False, True])
def test_one_id_with_another_content_is_damage_of_the_side_that_has_not_what_was_sealed(
    saved: Backup, *, is_quick: bool
) -> None:
    """The vault's table and blobs agree on a content that the cluster has not."""

    def swap(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        by_path = {row["path"]: row for row in rows}
        by_path["/z"] |= {key: by_path["/a/small"][key] for key in ("size", "digest", "blobs")}
        return list(by_path.values())

    forge(saved, swap)
    done = compared(saved, is_quick=is_quick)
    for kind in ("source-differs", "mirror-differs"):
        assert paths(only(done, kind)) == ["/z"]
        assert "the vault has what was sealed" in only(done, kind).message
    assert len(done.findings) == 2


def test_a_content_that_the_vault_cannot_show_is_the_vaults_damage(saved: Backup) -> None:
    def spoil(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row | ({"digest": digest(b"no such")} if row["path"] == "/a/small" else {}) for row in rows]

    forge(saved, spoil)
    findings = [finding for finding in compared(saved).findings if finding.kind == "vault-differs"]
    assert len(findings) == 2  # against the commit, and against its mirror
    assert paths(findings[0]) == ["/a/small"]
    assert "the vault has not what was sealed" in findings[0].message


def test_files_that_one_side_lacks_are_damage(saved: Backup) -> None:
    def rename(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row | ({"path": "/zz"} if row["path"] == "/z" else {}) for row in rows]

    forge(saved, rename)
    finding = only(compared(saved), "source-differs")
    assert paths(finding) == ["/z", "/zz"]
    assert "1 files are only in the vault, 1 files are only in the cluster" in finding.message


def test_a_file_that_the_vault_never_had_is_its_own_damage(saved: Backup) -> None:
    forge(saved, lambda rows: [row for row in rows if row["path"] != "/z"])
    findings = [finding for finding in compared(saved).findings if finding.kind == "vault-differs"]
    assert paths(findings[0]) == ["/z"]


@pytest.mark.parametrize("is_same_size", [False, True])
def test_a_mirror_that_restores_would_take_must_have_the_content(
    saved: Backup, *, is_same_size: bool
) -> None:
    """One of another size was given up when it was made, and nobody takes it."""
    home = Project(saved.project.cluster, "pachvault")
    description = {
        "source": f"{saved.project.name}/data",
        "branch": "master",
        "commit": head(saved),
        "run": "x",
    }
    size = sum(map(len, FILES.values())) if is_same_size else 10
    home.commit("backup", {"/b": bytes(size)}, branch=saved.project.name, text=json.dumps(description))
    done = compared(saved)
    if is_same_size:
        assert paths(only(done, "mirror-differs")) == sorted(FILES)
    assert kinds(done) == [("mirror-differs", Severity.DAMAGE)] * is_same_size


def test_a_snapshot_of_another_cluster_is_refused(saved: Backup) -> None:
    snapshot = snapshots.resolve(saved.vault.vault, "latest")
    other = Cluster(id="another", version="2.11.6")
    put(saved, snapshot.manifest.model_copy(update={"cluster": other}))
    ids = [snapshot_id for snapshot_id in saved.vault.snapshots() if snapshot_id != snapshot.name.id]
    where = ["--pachd", saved.project.cluster.address]
    outcome = saved.command(*where, "verify", ids[0], "--level", "source").says(2)
    assert "was taken from cluster another" in outcome


def test_a_read_that_fails_is_said_and_is_no_damage(saved: Backup) -> None:
    rule = {"method": "GetFileTAR", "code": "PERMISSION_DENIED", "times": 99, "match": "data"}
    with saved.project.cluster.faults(rule):
        done = compared(saved)
    assert ("source-unreadable", Severity.UNREADABLE) in kinds(done)
    assert Severity.DAMAGE not in {severity for _, severity in kinds(done)}


def test_the_command_says_what_it_compared(saved: Backup) -> None:
    where = ["--quiet", "--pachd", saved.project.cluster.address]
    verified = saved.command(*where, "verify", "--level", "source")
    assert verified.code == 0
    assert "1 of 1 branches unchanged, 1 commits compared" in verified.err
    saved.project.commit("data", {"/more": b"more"})
    outcome = saved.command(*where, "--json", "verify", "--level", "source", "--quick")
    assert outcome.code == 0  # change is no damage
    assert outcome.only("finding")["kind"] == "branch-moved-on"
    assert outcome.only("verify_source_summary")["severities"] == {"change": 1}
    saved.run()
    forge(saved, lambda rows: [row | {"digest": digest(b"x"), "blobs": None} for row in rows])
    assert saved.command(*where, "verify", "--level", "source").code == 13


def test_the_command_drills(saved: Backup) -> None:
    where = ["--quiet", "--pachd", saved.project.cluster.address]
    outcome = saved.command(*where, "--json", "verify", "--level", "drill")
    assert outcome.code == 0, outcome.err
    assert outcome.only("drill_summary")["is_good"] is True
    assert {drill["result"] for drill in outcome.kind("drill")} == {"ok"}

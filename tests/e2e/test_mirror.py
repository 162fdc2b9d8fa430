"""The backup repo: it holds the sources' commits as they are, and the backup can do without the sources."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest

from e2e.backup import Backup
from e2e.cluster import Project, Tree
from e2e.oracle import assert_equal
from pachvault import mirror
from pachvault.backup.backup import new_run_id
from pachvault.backup.export.export import export_share
from pachvault.backup.freeze.freeze import Frozen, freeze
from pachvault.backup.seal.seal import seal
from pachvault.format.ids import RepoName
from pachvault.pach.records import CommitInfo
from pachvault.policy import HOME_PROJECT, Policy
from pachvault.runtime.progress import Quiet
from pachvault.vault.snapshots import Snapshot


def mirrors(project: Project) -> dict[str, CommitInfo]:
    """The mirror commits of a project's commits that did not fail: source commit to mirror."""
    mirror_of = {}
    for info in project.cluster.source.commits(RepoName(HOME_PROJECT, "backup")):
        note = mirror.mirror_note(info)
        if note and note["source"].startswith(f"{project.name}/") and not info.error:
            mirror_of[note["commit"]] = info
    return mirror_of


def mirrored(project: Project, commit: str) -> Tree:
    """The tree of a commit's mirror."""
    return Project(project.cluster, HOME_PROJECT).tree("backup", mirrors(project)[commit].id)


def mirror_heads(project: Project) -> dict[str, str]:
    """The mirror's branches for a project."""
    heads = Project(project.cluster, HOME_PROJECT).heads("backup")
    return {name: head for name, head in heads.items() if name.startswith(f"{project.name}--")}


def frozen(backup: Backup) -> Frozen:
    """The freeze stage alone."""
    chosen = Policy(version=1, target=backup.vault.url, sources=[backup.project.everything()])
    cluster = backup.project.cluster
    vault = backup.vault.vault
    return freeze(cluster.source, cluster.target, vault, policy=chosen, run_id=new_run_id())


def shipped(backup: Backup, made: Frozen) -> Snapshot:
    """The export and seal stages."""
    vault = backup.vault.vault
    source = backup.project.cluster.source
    receipts = [export_share(source, vault, share, Quiet()) for share in made.shares]
    return seal(vault, made.plan, receipts)


def test_the_mirror_equals_its_sources_commit_by_commit(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    first = project.commit(repo, {"/a": b"1", "/d/b": b"2", "/log": b"x"})
    backup.run()
    later = [
        project.commit(repo, {"/a": b"over"}, append={"/log": b"y"}),
        project.commit(repo, delete=["/d/b"]),
        project.commit(repo, {"/c": b"side"}, branch="side", parent=first),
    ]
    backup.run()
    for commit in [first, *later]:
        assert_equal(mirrored(project, commit), project.tree(repo, commit), commit)
    assert len(mirror_heads(project)) == 2


def test_a_branch_that_cannot_be_mirrored_is_noted_and_logged(
    backup: Backup, caplog: pytest.LogCaptureFixture
) -> None:
    project = backup.project
    repo = project.repo("data")
    first = project.commit(repo, {"/a": b"1"})
    project.commit(repo, {"/b": b"2"}, branch="side", parent=first)
    refusal = {
        "method": "StartCommit",
        "match": f"{project.name}--data--side",
        "code": "PERMISSION_DENIED",
        "times": 9,
    }
    with caplog.at_level(logging.INFO, logger="pachvault"), project.cluster.faults(refusal):
        frozen_run = frozen(backup)
    (note,) = frozen_run.plan.problems
    assert (note.kind, note.repo, note.branch) == ("not-mirrored", f"{project.name}/data", "side")
    assert "not mirrored, read from the source" in note.message
    assert [record.message for record in caplog.records if note.message in record.message]
    assert shipped(backup, frozen_run).manifest.problems == [note]
    backup.assert_restorable()


def test_a_run_after_a_squash_mirrors_the_tree_that_is_left(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/a": b"1"})
    middle = project.commit(repo, {"/b": b"2"})
    project.commit(repo, {"/c": b"3"})
    backup.run()
    project.squash(middle)
    head = project.commit(repo, {"/d": b"4"}, append={"/a": b"+"})
    backup.run()
    assert_equal(mirrored(project, head), project.tree(repo, head), head)
    backup.assert_restorable()


def test_a_moved_head_is_mirrored_as_it_is_now(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    first = project.commit(repo, {"/a": b"1"})
    project.commit(repo, {"/b": b"2"})
    backup.run()
    project.branch(repo, "master", first)
    third = project.commit(repo, {"/c": b"3"}, delete=["/a"])
    backup.run()
    assert_equal(mirrored(project, third), {"/c": b"3"}, third)
    assert list(mirror_heads(project).values()) == [mirrors(project)[third].id]
    backup.assert_restorable()


def test_an_open_head_left_by_a_dead_run_is_left_alone_while_it_is_young(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/log": b"1"})
    backup.run()
    (branch,) = mirror_heads(project)
    home = Project(project.cluster, HOME_PROJECT)
    text = json.dumps({"source": f"{project.name}/data", "commit": "x", "run": "another"})
    opened = home.start("backup", branch, text=text)
    home.change("backup", opened, put={"/half": b"written"})
    head = project.commit(repo, append={"/log": b"2"})
    snapshot = backup.run()
    assert not snapshot.manifest.partial  # the source itself was read
    assert head not in mirrors(project)
    backup.assert_restorable()


def test_an_open_head_left_by_a_dead_run_is_cleared_once_it_is_old(backup: Backup, monkeypatch) -> None:

    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/log": b"1"})
    backup.run()
    (branch,) = mirror_heads(project)
    home = Project(project.cluster, HOME_PROJECT)
    text = json.dumps({"source": f"{project.name}/data", "commit": "x", "run": "another"})
    opened = home.start("backup", branch, text=text)
    home.change("backup", opened, put={"/half": b"written"})
    head = project.commit(repo, append={"/log": b"2"})
    monkeypatch.setattr(mirror, "_ABANDONED_AFTER", timedelta(0))
    backup.run()
    assert_equal(mirrored(project, head), {"/log": b"12"}, head)
    assert home.cluster.source.commit(home.ref("backup", opened)).error
    backup.assert_restorable()


def test_a_source_deleted_after_the_freeze_is_read_from_the_mirror(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/a": b"1" * 1000, "/d/b": b"2"})
    heads = {"data@master": project.heads(repo)["master"]}
    content = project.tree(repo, heads["data@master"])
    frozen_run = frozen(backup)
    project.delete_repo(repo)
    snapshot = shipped(backup, frozen_run)
    assert not snapshot.manifest.partial, snapshot.manifest.problems
    stored = backup.vault.tree(snapshot, RepoName(project.name, repo), heads["data@master"])
    assert_equal(stored, content, "the deleted repo")


def test_later_commits_deleted_after_the_freeze_are_read_from_the_mirror(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/a": b"1" * 1000, "/log": b"x"})
    backup.run()
    head = project.commit(repo, {"/b": b"2"}, append={"/log": b"y"}, delete=["/a"])
    content = project.tree(repo, head)
    frozen_run = frozen(backup)
    project.delete_repo(repo)
    snapshot = shipped(backup, frozen_run)
    assert not snapshot.manifest.partial, snapshot.manifest.problems
    stored = backup.vault.tree(snapshot, RepoName(project.name, repo), head)
    assert_equal(stored, content, "the deleted repo")

"""What a policy chooses is what the snapshot has, and nothing else."""

from __future__ import annotations

import json
import time

import pytest

from e2e.backup import Backup
from e2e.cli import pachvault
from e2e.cluster import Project
from e2e.oracle import heads_in, heads_now
from pachvault.format.ids import RepoName
from pachvault.pach.pipelines import Pipelines
from pachvault.vault.snapshots import Snapshot


def commits(backup: Backup, snapshot: Snapshot, repo: str = "data") -> list[str]:
    """The commits that a snapshot lists for a repo, oldest first."""
    rows = backup.json("show", snapshot.name.id, f"{backup.project.name}/{repo}")
    return [row["commit"] for row in rows]


def chain(backup: Backup, count: int, repo: str = "data", branch: str = "master") -> list[str]:
    """So many commits, each with a file of its own."""
    backup.project.repo(repo)
    return [
        backup.project.commit(repo, {f"/{branch}{number}": f"{number}".encode()}, branch=branch)
        for number in range(count)
    ]


def test_history_heads_takes_only_the_newest_of_each_branch(backup: Backup) -> None:
    ids = chain(backup, 4)
    backup.project.branch("data", "old", ids[1])
    snapshot = backup.run_policy(history="heads")
    assert set(commits(backup, snapshot)) == {ids[3], ids[1]}
    backup.assert_restorable(snapshot)
    newer = backup.project.commit("data", {"/newer": b"!"})
    snapshot = backup.run_policy(history="heads")
    assert set(commits(backup, snapshot)) == {newer, ids[1]}
    backup.assert_restorable(snapshot)


def test_history_last_takes_so_many_of_each_branch(backup: Backup) -> None:
    ids = chain(backup, 5)
    side = chain(backup, 1, branch="side")
    snapshot = backup.run_policy(history={"last": 2})
    assert set(commits(backup, snapshot)) == {*ids[-2:], *side}
    backup.assert_restorable(snapshot)


def test_history_since_takes_what_is_young_and_every_head(backup: Backup) -> None:
    ids = chain(backup, 2)
    chain(backup, 2, "idle")
    time.sleep(2.1)
    young = backup.project.commit("data", {"/young": b"1"})
    snapshot = backup.run_policy(history={"since": "2s"})
    assert commits(backup, snapshot) == [young]
    assert len(commits(backup, snapshot, "idle")) == 1
    backup.assert_restorable(snapshot)
    snapshot = backup.run_policy(history={"since": "1h"})
    assert commits(backup, snapshot) == [*ids, young]
    backup.assert_restorable(snapshot)


def test_history_all_after_heads_fills_in_what_was_left_out(backup: Backup) -> None:
    ids = chain(backup, 4)
    backup.run_policy(history="heads")
    snapshot = backup.run_policy(history="all")
    assert commits(backup, snapshot) == ids
    backup.assert_restorable(snapshot)


def test_branches_and_repos_that_no_pattern_means_are_left_out(backup: Backup) -> None:
    project = backup.project
    for repo in ("raw", "raw2", "other"):
        project.repo(repo)
        project.commit(repo, {"/a": repo.encode()})
        project.commit(repo, {"/b": b"dev"}, branch="dev")
    snapshot = backup.run_policy(
        sources=[f"{project.name}/raw*@master", f"{project.name}/other"], exclude=[f"{project.name}/*@dev"]
    )
    now = heads_now(project)
    wanted = {key: now[key] for key in ("raw@master", "raw2@master", "other@master")}
    backup.assert_restorable(snapshot, heads=wanted)


def test_a_source_that_matches_nothing_makes_a_snapshot_partial_and_none_at_all_is_an_error(
    backup: Backup,
) -> None:
    project = backup.project
    chain(backup, 1)
    snapshot = backup.run_policy(3, sources=[project.everything(), f"{project.name}/typo"])
    assert [(problem.kind, problem.repo) for problem in snapshot.manifest.problems] == [
        ("nothing-matched", f"{project.name}/typo")
    ]
    assert snapshot.manifest.partial
    before = backup.vault.files()
    assert f"{project.name}/typo" in backup.attempt("--quiet", source=f"{project.name}/typo").says(2)
    assert backup.vault.files() == before


@pytest.mark.parametrize("choice", ["include", "skip"])
def test_pipelines_and_their_outputs(backup: Backup, choice: str) -> None:
    project = backup.project
    project.repo("in")
    project.commit("in", {"/a": b"1"})
    spec = {
        "pipeline": {"name": "copy", "project": {"name": project.name}},
        "transform": {"cmd": ["sh"], "stdin": ["cp /pfs/in/a /pfs/out/b"]},
        "input": {"pfs": {"project": project.name, "repo": "in", "branch": "master", "glob": "/"}},
    }
    pipelines = Pipelines(project.cluster.connection)
    pipelines.create(json.dumps(spec), "test")
    head = project.heads("copy")["master"]
    pipelines.require(pipelines.wait(project.name, "copy", head))
    snapshot = backup.run_policy(outputs=choice, pipelines=choice)
    heads = heads_now(project)
    if choice == "skip":
        heads = {"in@master": heads["in@master"]}
    backup.assert_restorable(snapshot, heads=heads)
    saved = backup.vault.vault.pipelines_record(snapshot.manifest.pipelines).pipelines
    mine = [pipeline for pipeline in saved if pipeline.project == project.name]
    if choice == "skip":
        assert saved == []
        return
    assert [pipeline.name for pipeline in mine] == ["copy"]
    assert json.loads(mine[0].spec_json)["transform"] == spec["transform"]
    assert snapshot.repo(RepoName(project.name, "copy")).record.output_of == "copy"
    assert backup.command("cat", "latest", f"{project.name}/copy@master:/b").raw == b"1"


def test_the_backups_own_project_is_no_source_but_for_policy_and_requests(backup: Backup) -> None:
    home = Project(backup.project.cluster, "pachvault")
    chain(backup, 1)
    backup.run()  # makes project pachvault and its repo backup
    home.repo("policy")
    home.repo("requests")
    head = home.commit("policy", {"/policy.yaml": b"version: 1\n"})
    try:
        snapshot = backup.run("--quiet", source="pachvault/*")
        done = {"restored@master": home.heads("restored")["master"]} if "restored" in home.repos() else {}
        assert heads_in(snapshot, home) == {"policy@master": head} | done
        assert {entry.repo for entry in snapshot.manifest.repos} <= {"policy", "restored"}
    finally:
        home.delete_repo("policy")
        home.delete_repo("requests")


def test_the_policy_in_the_cluster_is_the_default(backup: Backup) -> None:
    chain(backup, 1)
    backup.run()
    home = Project(backup.project.cluster, "pachvault")
    address = ["--pachd", home.cluster.address]
    assert "no policy" in pachvault(*address, "backup").says(2)
    home.repo("policy")
    text = (
        f"version: 1\nname: nightly\ntarget: {backup.vault.url}\nsources: ['{backup.project.everything()}']\n"
    )
    home.commit("policy", {"/policy.yaml": text.encode()})
    try:
        assert pachvault(*address, "--quiet", "backup", "--workers", "1").code == 0
    finally:
        home.delete_repo("policy")
    assert backup.vault.snapshot().manifest.policy == "nightly"
    backup.assert_restorable()

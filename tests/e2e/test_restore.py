"""Restores from a shell: what a request may say, and what becomes of the cluster."""

from __future__ import annotations

import json
import random
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from python_pachyderm.proto.v2.pfs import pfs_pb2

from e2e.backup import Backup
from e2e.cli import Outcome, pachvault
from e2e.cluster import Cluster, Project
from e2e.restored import OldRepo, assert_restored, line_of, new_ids, nothing_left, remember, restore
from made import flip
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.pach.target import NewCommit, Target
from pachvault.restore.plan import fetch_shares
from pachvault.restore.stage import change_writer

pytestmark = pytest.mark.e2e


@pytest.fixture
def history(backup: Backup) -> list[str]:
    """Four commits on data@master, the third failed, backed up."""
    project = backup.project
    project.repo("data", "what it is")
    commits = [
        project.commit("data", {"/a": b"1", "/2026/x": b"x", "/2026/07/y": b"y", "/log": b"one\n"}),
        project.commit("data", append={"/log": b"two\n"}, delete=["/2026/x"], text="the second"),
        project.commit("data", {"/never": b"!"}, error="it failed"),
        project.commit("data", {"/a": b"one"}, append={"/log": b"three\n"}),
    ]
    backup.run()
    return commits


def here(backup: Backup, *arguments: str, what: str | None = None) -> Outcome:
    """Restore into the cluster that was backed up."""
    return restore(backup, backup.project.cluster, *arguments, what=what)


def ask(backup: Backup, cluster: Cluster, **fields: Any) -> Outcome:
    """Restore as a request file says."""
    file = backup.vault.folder.with_name("request.yaml")
    file.write_text(json.dumps({"version": 1, "what": [backup.project.everything()], **fields}))
    where = ["--vault", backup.vault.url, "--pachd", cluster.address]
    return pachvault(*where, "restore", "--request", str(file))


def done(outcome: Outcome) -> Outcome:
    assert outcome.code == 0, outcome.err
    return outcome


def tree_of(project: Project, repo: str, branch: str = "master") -> dict[str, bytes]:
    return project.tree(repo, project.heads(repo)[branch])


def test_the_source_may_be_gone(cluster: Cluster, other: Cluster, tmp_path: Path) -> None:
    source = Cluster(tmp_path / "source")
    backup = Backup.of(source.project(), tmp_path / "vault")
    project = backup.project
    for repo in ("one", "two"):
        project.repo(repo, f"about {repo}")
    wanted = [NewCommit(project.name, repo, "master", None, "together") for repo in ("one", "two")]
    for repo, commit in zip(("one", "two"), source.target.start_together(wanted), strict=True):
        project.change(repo, commit, put={"/f": repo.encode()})
        project.finish(repo, commit)
    backup.run()
    old = remember(project)
    source.close()
    done(restore(backup, other, "--history", "all"))
    assert_restored(Project(other, project.name), old)


def test_head_only_by_default(backup: Backup, history: list[str], other: Cluster) -> None:
    done(restore(backup, other))
    again = Project(other, backup.project.name)
    assert len(line_of(again, "data")) == 1
    assert tree_of(again, "data") == tree_of(backup.project, "data")


@pytest.mark.parametrize(
    ("extent", "kept"),
    [
        ("all", [0, 1, 2, 3]),
        ({"last": 2}, [2, 3]),
        ({"last": 99}, [0, 1, 2, 3]),
        ({"from": 1}, [1, 2, 3]),
        ({"to": 1}, [0, 1]),
        ({"from": 1, "to": 2}, [1, 2]),
    ],
)
def test_how_much_history(
    backup: Backup, history: list[str], other: Cluster, extent: Any, kept: list[int]
) -> None:
    if isinstance(extent, dict):
        extent = {name: history[value] if name in ("from", "to") else value for name, value in extent.items()}
    done(ask(backup, other, history=extent))
    again = Project(other, backup.project.name)
    ids = new_ids(again, "data")
    assert [ids[history[number]] for number in reversed(kept)] == line_of(again, "data")
    for index in kept:
        if index != 2:
            assert again.tree("data", ids[history[index]]) == backup.project.tree("data", history[index])


def test_an_extent_outside_of_the_line_is_refused(backup: Backup, history: list[str], other: Cluster) -> None:
    project = backup.project
    side = project.commit("data", {"/s": b"s"}, branch="side", parent=history[0])
    backup.run()
    what = [f"{project.name}/data@master"]
    assert "is no ancestor" in ask(backup, other, what=what, history={"from": side}).says(2)
    assert "is no ancestor" in ask(backup, other, what=what, history={"to": side}).says(2)
    assert "no commit 'ffff" in ask(backup, other, what=what, history={"from": "f" * 32}).says(2)


def test_snapshots_by_id_prefix_time_and_latest(backup: Backup, history: list[str], other: Cluster) -> None:
    project = backup.project
    first = backup.vault.snapshot()
    time.sleep(1.1)  # snapshots are told apart by the second
    between = datetime.now(UTC).isoformat()
    time.sleep(1.1)
    project.commit("data", {"/new": b"new"})
    backup.run()
    what = f"{project.name}/data@master"
    for number, arguments in enumerate(
        [["--snapshot", first.name.id], ["--snapshot", first.short_id[:6]], ["--at", between]]
    ):
        done(restore(backup, other, "--to", f"{project.name}/by{number}", *arguments, what=what))
        assert "/new" not in tree_of(Project(other, project.name), f"by{number}")
    done(restore(backup, other, "--to", f"{project.name}/latest", what=what))
    assert tree_of(Project(other, project.name), "latest")["/new"] == b"new"
    done(restore(backup, other, "--to", f"{project.name}/by-time", "--snapshot", between, what=what))
    assert "/new" not in tree_of(Project(other, project.name), "by-time")
    day = between[:10]
    for arguments in (["--at", day], ["--snapshot", day]):
        assert f"{day} is a day without an hour" in restore(backup, other, *arguments).says(2)
    assert "no snapshot" in restore(backup, other, "--snapshot", "0123456789ab").says(2)
    assert "no snapshot was frozen" in restore(backup, other, "--at", "2001-01-01 00:00").says(2)
    assert "exclude each other" in restore(backup, other, "--at", between, "--snapshot", "latest").says(2)


def test_one_commit_by_its_old_id(backup: Backup, history: list[str], other: Cluster) -> None:
    project = backup.project
    for reference in (history[1], history[1][:10]):
        place = f"{project.name}/at{len(reference)}@old"
        done(restore(backup, other, "--to", place, what=f"{project.name}/data@{reference}"))
        again = Project(other, project.name)
        assert again.heads(f"at{len(reference)}").keys() == {"old"}
        assert tree_of(again, f"at{len(reference)}", "old") == project.tree("data", history[1])
    assert "nothing in snapshot" in restore(backup, other, what=f"{project.name}/data@{'0' * 32}").says(2)


def test_only_some_paths(backup: Backup, history: list[str], other: Cluster) -> None:
    done(restore(backup, other, "--history", "all", "--path", "/2026/**", "--path", "/lo?"))
    again = Project(other, backup.project.name)
    ids = new_ids(again, "data")
    assert again.tree("data", ids[history[0]]).keys() == {"/2026/x", "/2026/07/y", "/log"}
    assert again.tree("data", ids[history[3]]) == {"/2026/07/y": b"y", "/log": b"one\ntwo\nthree\n"}


def test_patterns_and_several_places(backup: Backup, history: list[str], other: Cluster) -> None:
    project = backup.project
    for repo in ("data-2", "logs"):
        project.repo(repo)
        for branch in ("master", "dev", "v1"):
            project.commit(repo, {"/f": repo.encode()}, branch=branch)
    backup.run()
    done(ask(backup, other, what=[f"{project.name}/data*@[mv]*", f"{project.name}/logs@dev"]))
    again = Project(other, project.name)
    heads = {repo: sorted(again.heads(repo)) for repo in again.repos()}
    assert heads == {"data": ["master"], "data-2": ["master", "v1"], "logs": ["dev"]}
    missing = f"{project.name}/data@nothing-like-it"
    assert f"matches '{missing}'" in restore(backup, other, what=missing).says(2)
    together = {"what": [f"{project.name}/*"], "to": {"repo": "all"}}
    assert "several repos would be restored into one" in ask(backup, other, **together).says(2)


def test_into_another_project_repo_and_branch(backup: Backup, history: list[str], cluster: Cluster) -> None:
    project, new = backup.project, Project(cluster, f"{backup.project.name}-copy")
    done(here(backup, "--to", f"{new.name}/other@v1", "--from", "vault", what=f"{project.name}/data@master"))
    assert new.repos() == ["other"]
    assert new.heads("other").keys() == {"v1"}
    assert tree_of(new, "other", "v1") == tree_of(project, "data")
    assert line_of(project, "data") == history[::-1]


def test_a_branch_that_exists_is_left_alone(backup: Backup, history: list[str], other: Cluster) -> None:
    message = here(backup, "--from", "vault").says(2)
    assert "exists: append or replace" in message
    assert line_of(backup.project, "data") == history[::-1]


def test_replacing_keeps_the_old_head_under_a_dated_name(backup: Backup, history: list[str]) -> None:
    project = backup.project
    late = project.commit("data", {"/late": b"late"})
    done(here(backup, "--exists", "replace", "--from", "vault"))
    heads = project.heads("data")
    assert "/late" not in tree_of(project, "data")
    (kept,) = [name for name in heads if name != "master"]
    assert kept.startswith("master-before-2")
    assert heads[kept] == late
    again = here(backup, "--exists", "replace", "--from", "vault")  # it is there already: nothing moves
    assert again.code == 0
    assert project.heads("data") == heads


def test_appending_brings_the_old_tree_back_on_top(backup: Backup, history: list[str]) -> None:
    project = backup.project
    old = tree_of(project, "data")
    late = project.commit("data", {"/late": b"late"}, append={"/log": b"more"}, delete=["/a"])
    done(here(backup, "--exists", "append", "--history", "all"))
    top, *below = line_of(project, "data")
    assert tree_of(project, "data") == old
    assert below == [late, *history[::-1]]
    done(here(backup, "--exists", "append", "--history", "all"))
    assert line_of(project, "data") == [top, *below]
    nothing_left(project.cluster, project)


def test_appending_some_paths_leaves_the_others(backup: Backup, history: list[str]) -> None:
    project = backup.project
    project.commit("data", {"/2026/x": b"newer", "/late": b"late"}, append={"/log": b"more"}, delete=["/a"])
    done(here(backup, "--exists", "append", "--path", "/2026/**", "--path", "/a"))
    assert tree_of(project, "data") == {
        "/2026/07/y": b"y",  # and /2026/x goes: the snapshot has none
        "/a": b"one",
        "/late": b"late",
        "/log": b"one\ntwo\nthree\nmore",
    }


@pytest.mark.parametrize("path", ["/2026/**", "2026", "/2026/"])
def test_replacing_some_paths_leaves_the_others_and_keeps_the_old_head(
    backup: Backup, history: list[str], path: str
) -> None:
    project = backup.project
    late = project.commit("data", {"/2026/x": b"newer", "/late": b"late"}, append={"/log": b"more"})
    done(here(backup, "--exists", "replace", "--path", path, "--path", "/a"))
    tree = {"/2026/07/y": b"y", "/a": b"one", "/late": b"late", "/log": b"one\ntwo\nthree\nmore"}
    assert tree_of(project, "data") == tree
    assert line_of(project, "data")[1:] == [late, *history[::-1]]
    (kept,) = [name for name in project.heads("data") if name != "master"]
    assert kept.startswith("master-before-2")
    assert project.heads("data")[kept] == late
    heads = project.heads("data")
    done(here(backup, "--exists", "replace", "--path", path, "--path", "/a"))
    assert project.heads("data") == heads
    nothing_left(project.cluster, project)


@pytest.mark.parametrize("exists", ["fail", "append", "replace"])
def test_a_path_that_matches_nothing_is_named_and_the_branch_is_left_alone(
    backup: Backup, history: list[str], exists: str
) -> None:
    project = backup.project
    late = project.commit("data", {"/late": b"late"})
    for paths in (["/2027/**"], ["/a", "/2027/**"]):
        flags = [flag for path in paths for flag in ("--path", path)]
        to = ["--to", f"{project.name}/new"] if exists == "fail" else ["--exists", exists]
        message = here(backup, *to, *flags).says(2)
        assert "matches '/2027/**' (did you mean /2026?; no other snapshot has it)" in message
    assert project.heads("data") == {"master": late}
    assert project.repos() == ["data"]


def test_what_an_older_snapshot_has_is_said(backup: Backup, history: list[str], other: Cluster) -> None:
    project, first = backup.project, backup.vault.snapshot()
    project.commit("data", delete=["/2026/07/y"])
    backup.run()
    message = restore(backup, other, "--path", "2026").says(2)
    assert (
        f"snapshot {first.short_id} of {first.manifest.frozen_at:%Y-%m-%d %H:%M:%S} UTC is the newest"
        in message
    )
    place = f"{project.name}/data@master:2026/07/y"
    for command in ("ls", "cat"):
        assert f"snapshot {first.short_id} of" in backup.command(command, "latest", place).says(2)


def test_a_rollback_of_a_path_is_refused(backup: Backup, history: list[str]) -> None:
    place = f"{backup.project.name}/data@master:/a"
    address = backup.project.cluster.address
    message = pachvault(
        "--vault", backup.vault.url, "--pachd", address, "rollback", place, "--to", "latest"
    ).says(2)
    assert "--path /a --exists append" in message


def test_heads_move_back_where_the_repo_still_has_the_commits(backup: Backup, history: list[str]) -> None:
    project = backup.project
    project.commit("data", {"/late": b"late"})
    before = len(project.cluster.source.commits(RepoName(project.name, "data")))
    done(here(backup, "--exists", "replace"))
    assert project.heads("data")["master"] == history[3]
    assert len(project.cluster.source.commits(RepoName(project.name, "data"))) == before


def test_a_rollback_moves_the_head_whatever_the_size(backup: Backup, history: list[str]) -> None:
    project = backup.project
    late = project.commit("data", {"/big": random.Random(1).randbytes(3_000_000)})
    refused = [
        {
            "method": method,
            "code": "INTERNAL",
            "times": 99,
            "match": project.name if method == "StartCommit" else "",
        }
        for method in DATA_CALLS
    ]
    with project.cluster.faults(*refused):  # but for the commit that is the request's lock
        outcome = backup.command(
            "--pachd", project.cluster.address, "rollback", f"{project.name}/data@master", "--to", "latest"
        )
    done(outcome)
    heads = project.heads("data")
    assert heads.pop("master") == history[3]
    assert list(heads.values()) == [late]
    again = backup.command(
        "--pachd", project.cluster.address, "rollback", f"{project.name}/data@master", "--to", "latest"
    )
    done(again)
    assert project.heads("data") == heads | {"master": history[3]}


DATA_CALLS = ("GetFileTAR", "CreateFileSet", "AddFileSet", "StartCommit", "GetFileSet")


def test_a_rollback_to_a_time(backup: Backup, history: list[str]) -> None:
    project = backup.project
    time.sleep(1.1)
    then = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    time.sleep(1.1)
    project.commit("data", {"/late": b"late"})
    backup.run()
    where = ["--pachd", project.cluster.address, "rollback", f"{project.name}/data@master"]
    assert "no snapshot was frozen" in backup.command(*where, "--to", "2001-01-01 00:00").says(2)
    done(backup.command(*where, "--to", then))
    assert project.heads("data")["master"] == history[3]


def test_from_the_mirror_no_byte_is_read_from_the_vault(backup: Backup, history: list[str]) -> None:
    project = backup.project
    for pack in backup.vault.files("packs"):
        (backup.vault.folder / pack).unlink()
    done(here(backup, "--to", f"{project.name}/copy", "--verify", "full"))
    assert tree_of(project, "copy") == tree_of(project, "data")
    message = here(backup, "--to", f"{project.name}/copy2", "--from", "backup", "--history", "all").says(2)
    assert "the backup repo does not hold" in message
    assert here(backup, "--to", f"{project.name}/copy3", "--from", "vault").code == 13


@pytest.mark.parametrize("level", ["full", "hashes", "none"])
def test_how_much_is_compared(backup: Backup, history: list[str], other: Cluster, level: str) -> None:
    rule = {"method": "GetFileTAR", "code": "PERMISSION_DENIED", "times": 99}
    with other.faults(rule, {**rule, "method": "DiffFile"} if level == "none" else rule):
        code = restore(backup, other, "--verify", level).code
    assert code == (1 if level == "full" else 0)


def large_changes(backup: Backup) -> dict[str, OldRepo]:
    """Two commits of megabytes, backed up."""
    project = backup.project
    project.repo("data")
    noise = random.Random(7)
    project.commit(
        "data", {"/small": b"s", "/one": noise.randbytes(9_000_000), "/x": noise.randbytes(600_000)}
    )
    project.commit(
        "data",
        {f"/many/{number}": noise.randbytes(400_000) for number in range(6)},
        append={"/one": noise.randbytes(3_000_000)},
        delete=["/x"],
    )
    backup.run()
    return remember(project)


def test_a_large_change_is_written_in_lanes(
    backup: Backup, other: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, old = backup.project, large_changes(backup)
    monkeypatch.setattr(change_writer, "_LEAST_BYTES", 100_000)
    thread_names: list[str] = []
    make = Target.make_file_set
    monkeypatch.setattr(
        Target,
        "make_file_set",
        lambda *given: thread_names.append(threading.current_thread().name) or make(*given),
    )
    done(restore(backup, other, "--history", "all"))
    assert {"change_0", "change_1"} <= set(thread_names)
    again = Project(other, project.name)
    assert_restored(again, old)
    for name in backup.vault.files(layout.PACKS):
        pack = backup.vault.folder / name
        flip(pack, pack.stat().st_size // 2)
    again.delete_repo("data")
    outcome = restore(backup, other, "--history", "all")
    assert outcome.code == 13
    assert "is damaged" in outcome.err
    assert "data" not in again.repos() or not again.heads("data")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_large_change_is_staged_in_parts(
    backup: Backup, other: Cluster, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, old = backup.project, large_changes(backup)
    monkeypatch.setattr(fetch_shares, "PART_BYTES", 1_000_000)
    where = ["--vault", backup.vault.url, "--pachd", other.address, "--json", "restore"]
    dry = done(pachvault(*where, project.everything(), "--history", "all", "--dry-run"))
    assert dry.only("restore_plan")["shares"] >= 12
    done(restore(backup, other, "--history", "all", "--workers", workers))
    again = Project(other, project.name)
    assert_restored(again, old)
    nothing_left(other, again)


def test_chosen_paths_leave_the_branchs_own_trigger(backup: Backup) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {"/a": b"1", "/b": b"1"})
    project.branch(
        "data", "x", project.heads("data")["master"], trigger=pfs_pb2.Trigger(branch="master", commits=9)
    )
    backup.run()
    project.branch("data", "x", trigger=pfs_pb2.Trigger(branch="master", commits=7))
    project.commit("data", {"/a": b"2", "/b": b"2"}, branch="x")
    done(here(backup, "--exists", "append", "--path", "a", what=f"{project.name}/data@x"))
    assert tree_of(project, "data", "x") == {"/a": b"1", "/b": b"2"}
    (branch,) = [
        info for info in project.cluster.source.branches(RepoName(project.name, "data")) if info.trigger
    ]
    assert branch.trigger == {"branch": "master", "commits": 7}


def test_triggers_come_back(backup: Backup, other: Cluster) -> None:
    project = backup.project
    project.repo("data")
    for path in ("/root", "/a"):
        project.commit("data", {path: b"1"})
    trigger = pfs_pb2.Trigger(branch="master", commits=2)
    project.branch("data", "a-staging", project.heads("data")["master"], trigger=trigger)
    backup.run()
    project.commit("data", {"/b": b"1"})
    done(restore(backup, other, "--history", "all"))
    again = Project(other, project.name)
    branches = {branch.name: branch for branch in other.source.branches(RepoName(again.name, "data"))}
    assert branches["a-staging"].trigger == {"branch": "master", "commits": 2}
    assert branches["a-staging"].head == branches["master"].head
    again.commit("data", {"/0": b"2"})
    assert again.heads("data")["a-staging"] == branches["master"].head
    second = again.commit("data", {"/1": b"2"})
    assert again.heads("data")["a-staging"] == second

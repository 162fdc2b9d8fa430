"""Real histories, backed up run by run: after every run the vault equals the cluster."""

from __future__ import annotations

import random

from e2e.backup import Backup
from e2e.cluster import Project
from e2e.oracle import heads_now

LEGAL = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "*?[]{}!()@+^`/\\")
"""Printable ASCII that Pachyderm takes in a path, but for the slash."""


def listed(backup: Backup, repo: str) -> dict[str, str | None]:
    """The commits of a repo in the newest snapshot, with their parents."""
    rows = backup.json("show", "latest", f"{backup.project.name}/{repo}")
    return {row["commit"]: row["parent"] for row in rows}


def real(project: Project, repo: str, commit: str | None) -> dict[str, str | None]:
    """The commits of a chain in the cluster, with their parents."""
    parents = {}
    while commit is not None:
        parents[commit] = project.cluster.source.commit(project.ref(repo, commit)).parent
        commit = parents[commit]
    return parents


def test_a_chain_of_commits_comes_back_commit_by_commit(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/a": b"1", "/dir/b": b"2", "/empty": b""})
    project.commit(repo, append={"/a": b" and more"})
    backup.run()
    backup.assert_restorable()
    project.commit(repo, {"/dir/c": b"3"}, delete=["/a"])
    project.commit(repo, {"/dir/moved": b"3"}, delete=["/dir/c"], text="a rename")
    head = project.commit(repo)
    backup.run()
    backup.assert_restorable()
    assert listed(backup, repo) == real(project, repo, head)
    assert len(real(project, repo, head)) == 5


def test_deleting_a_directory_and_overwriting_files(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {f"/d/{number}": b"x" * number for number in range(20)} | {"/e/f": b"stays"})
    backup.run()
    project.commit(repo, {"/d/3": b"new", "/e/f": b"overwritten"}, delete=["/d/"])
    snapshot = backup.run()
    backup.assert_restorable(snapshot)
    assert [row["path"] for row in backup.json("ls", "latest", f"{project.name}/data@master")] == [
        "/d/3",
        "/e/f",
    ]


def test_a_file_that_becomes_a_directory_and_back(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/x": b"a file"})
    backup.run()
    project.commit(repo, {"/x/y": b"now below"}, delete=["/x"])
    backup.run()
    backup.assert_restorable()
    project.commit(repo, {"/x": b"again"}, delete=["/x"])
    backup.run()
    backup.assert_restorable()


def test_appends_over_several_runs(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("log")
    for day in range(4):
        project.commit(repo, append={"/log": f"day {day}\n".encode() * 10_000, f"/{day}": b"."})
        backup.run()
    backup.assert_restorable()
    shown = backup.command("cat", "latest", f"{project.name}/log@master:/log")
    assert shown.raw == b"".join(f"day {day}\n".encode() * 10_000 for day in range(4))


def test_branches_that_share_commits_and_diverge(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    first = project.commit(repo, {"/a": b"1"})
    second = project.commit(repo, {"/b": b"2"})
    project.branch(repo, "same", second)
    project.branch(repo, "old", first)
    project.commit(repo, {"/c": b"on the side"}, branch="side", parent=first)
    backup.run()
    backup.assert_restorable()
    project.commit(repo, {"/d": b"further"}, branch="side")
    project.commit(repo, {"/e": b"further"}, branch="old")
    snapshot = backup.run()
    backup.assert_restorable()
    assert snapshot.manifest.totals.commits_new == 2


def test_a_head_moved_back_and_forth(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    first = project.commit(repo, {"/a": b"1"})
    second = project.commit(repo, {"/a": b"22"})
    backup.run()
    project.branch(repo, "master", first)
    snapshot = backup.run()
    backup.assert_restorable(heads={"data@master": first})
    assert snapshot.manifest.totals.commits_new == 0
    project.branch(repo, "master", second)
    backup.run()
    backup.assert_restorable(heads={"data@master": second})
    project.branch(repo, "master", first)
    third = project.commit(repo, {"/b": b"3"})
    backup.run()
    backup.assert_restorable(heads={"data@master": third})


def test_a_deleted_branch_is_gone_from_the_next_snapshot_only(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/a": b"1"})
    side = project.commit(repo, {"/b": b"2"}, branch="side")
    old = backup.run()
    project.delete_branch(repo, "side")
    backup.run()
    backup.assert_restorable()
    assert side not in listed(backup, repo)
    assert backup.command("cat", old.name.id, f"{project.name}/data@side:/b").raw == b"2"
    project.branch(repo, "side", side)
    backup.run()
    backup.assert_restorable()


def test_a_repo_deleted_and_made_again_is_another_repo(backup: Backup) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {"/old": b"old"})
    old = backup.run()
    project.delete_repo("data")
    project.repo("data")
    project.commit("data", {"/new": b"new", "/old": b"not the old one"})
    backup.run()
    backup.assert_restorable()
    kept = backup.command("cat", old.name.id, f"{project.name}/data@master:/old")
    assert kept.raw == b"old"


def test_a_deleted_repo_stays_in_the_snapshots_that_have_it(backup: Backup) -> None:
    project = backup.project
    project.repo("gone")
    project.repo("stays")
    project.commit("gone", {"/a": b"gone"})
    project.commit("stays", {"/a": b"stays"})
    old = backup.run()
    project.delete_repo("gone")
    backup.run()
    backup.assert_restorable()
    assert backup.command("cat", old.short_id, f"{project.name}/gone@master:/a").raw == b"gone"
    refused = backup.command("cat", "latest", f"{project.name}/gone@master:/a").says(2)
    assert f"snapshot {old.short_id} of" in refused


def test_squashed_commits_between_runs(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/a": b"1"})
    sealed = project.commit(repo, {"/b": b"2"})
    backup.run()
    unsealed = project.commit(repo, {"/c": b"3"})
    head = project.commit(repo, {"/d": b"4"}, delete=["/a"])
    project.squash(sealed)
    project.squash(unsealed)
    backup.run()
    backup.assert_restorable()
    assert listed(backup, repo) == real(project, repo, head)
    assert len(listed(backup, repo)) == 2


def test_squashing_the_first_commit_that_all_deltas_rest_on(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    first = project.commit(repo, {f"/{number}": b"first" for number in range(50)})
    second = project.commit(repo, {"/more": b"2"})
    backup.run()
    project.squash(first)
    backup.run()
    backup.assert_restorable()
    project.commit(repo, {"/7": b"changed"}, delete=["/8"])
    backup.run()
    backup.assert_restorable()
    assert first not in listed(backup, repo)
    assert listed(backup, repo)[second] is None


def test_failed_commits_stay_failed_and_do_not_show_in_their_children(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/a": b"good"})
    failed = project.commit(repo, {"/b": b"bad"}, error="the job broke")
    project.commit(repo, {"/c": b"good again"})
    backup.run()
    backup.assert_restorable()
    rows = {row["commit"]: row for row in backup.json("show", "latest", f"{project.name}/data")}
    assert rows[failed]["error"] == "the job broke"


def test_a_failed_head_and_what_follows_it(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/a": b"good"})
    backup.run()
    failed = project.commit(repo, {"/b": b"bad"}, error="broke")
    backup.run()
    backup.assert_restorable(heads={"data@master": failed})
    project.commit(repo, {"/c": b"good again"})
    backup.run()
    backup.assert_restorable()


def test_repos_without_branches_commits_or_files(backup: Backup) -> None:
    project = backup.project
    project.repo("nothing")
    project.repo("branched")
    project.branch("branched", "master")
    project.repo("empty")
    project.commit("empty")
    project.commit("empty")
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    project.commit("data", delete=["/a"])
    backup.run()
    backup.assert_restorable()
    project.commit("branched", {"/late": b"now"})
    project.commit("data", {"/b": b"2"})
    backup.run()
    backup.assert_restorable()


def test_an_open_commit_is_not_waited_for_and_comes_with_the_next_run(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    done = project.commit(repo, {"/a": b"1"})
    opened = project.start(repo)
    project.change(repo, opened, put={"/b": b"2"})
    backup.run()
    backup.assert_restorable(heads={"data@master": done})
    project.finish(repo, opened)
    backup.run()
    backup.assert_restorable(heads={"data@master": opened})


def test_a_repo_with_nothing_but_an_open_commit(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    opened = project.start(repo)
    snapshot = backup.run()
    assert not snapshot.manifest.partial
    backup.assert_restorable(heads={"data@master": None})
    project.change(repo, opened, put={"/b": b"2"})
    project.finish(repo, opened)
    backup.run()
    backup.assert_restorable(heads={"data@master": opened})


def test_every_legal_character_in_paths(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    names = {f"/{sign}/x{sign}y.{sign}z": sign.encode() for sign in LEGAL if sign != "."}
    names |= {"/a b/ c ": b"spaces", "/" + "n" * 200 + "/" + "m" * 200: b"long", "/.hidden/..x": b"dots"}
    project.commit(repo, names)
    backup.run()
    backup.assert_restorable()
    project.commit(repo, {path: data + b"!" for path, data in names.items()})
    backup.run()
    backup.assert_restorable()


def test_a_random_history_of_many_steps(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    dice = random.Random(20)
    paths = [f"/{folder}/{name}" for folder in "abc" for name in range(8)]
    for number in range(24):
        chosen = dice.sample(paths, 3)
        branch = dice.choice(["master", "side"])
        heads = project.heads(repo)
        deleted = [chosen[0]] if heads.get(branch) else []
        project.commit(
            repo,
            {chosen[1]: dice.randbytes(dice.randrange(3000))},
            append={chosen[2]: f"line {number}\n".encode()},
            delete=deleted,
            branch=branch,
            parent=None if heads.get(branch) else heads.get("master"),
            error="broken" if number % 9 == 8 else "",
        )
        if number % 6 == 5:
            backup.run()
            backup.assert_restorable()
    assert set(heads_now(project)) == {"data@master", "data@side"}


def test_a_history_deeper_than_the_longest_chain_of_deltas(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {f"/{number}": b"0" for number in range(10)})
    for number in range(60):
        project.commit(repo, {f"/{number % 10}": f"{number}".encode()}, delete=[f"/{(number + 5) % 10}"])
    backup.run()
    backup.assert_restorable()
    history = next(history for _, history in backup.vault.snapshot().repos())
    assert max(history.commits["depth"].to_pylist()) <= 48
    project.commit(repo, {"/last": b"one more"})
    backup.run()
    backup.assert_restorable()


def test_an_unchanged_cluster_stores_nothing_but_a_manifest(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/a": b"1"})
    project.commit(repo, {"/b": b"2"}, branch="side")
    backup.run()
    before = backup.vault.files()
    snapshot = backup.run()
    new = backup.vault.files().keys() - before.keys()
    assert [name.split("/")[0] for name in new] == ["snapshots"]
    assert snapshot.manifest.totals.bytes_read == 0
    backup.assert_restorable(snapshot)

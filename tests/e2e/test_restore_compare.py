"""What was restored is compared before any head moves; and what becomes of it where it differs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from e2e.backup import Backup
from e2e.cli import Outcome, pachvault
from e2e.cluster import Cluster, Project
from e2e.restored import assert_restored, line_of, new_ids, nothing_left, remember, restore
from pachvault.pach.target import Target
from pachvault.restore.plan import fetch_shares

pytestmark = pytest.mark.e2e

KEPT = "pachvault-differs-"


@pytest.fixture
def history(backup: Backup) -> list[str]:
    """Three commits on data@master, backed up."""
    project = backup.project
    project.repo("data")
    commits = [
        project.commit("data", {"/a": b"1", "/log": b"one\n"}),
        project.commit("data", {"/b": b"2"}, append={"/log": b"two\n"}),
        project.commit("data", {"/a": b"3"}, delete=["/b"]),
    ]
    backup.run()
    return commits


def here(backup: Backup, *arguments: str) -> Outcome:
    """Restore into the cluster that was backed up."""
    return restore(backup, backup.project.cluster, "--from", "vault", *arguments)


def spoil(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Let every file of this path be written with other bytes of the same number."""
    make = Target.make_file_set

    def spoilt(target: Target, delete: Iterable[str], put: Iterable[tuple[str, bytes]] = ()) -> str:
        return make(target, delete, ((name, data[::-1] if name == path else data) for name, data in put))

    monkeypatch.setattr(Target, "make_file_set", spoilt)


def test_no_head_moves_where_something_differs(
    backup: Backup, history: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = backup.project
    late = project.commit("data", {"/late": b"late"})
    with monkeypatch.context() as patch:
        spoil(patch, "/log")
        outcome = here(backup, "--exists", "replace", "--history", "all")
    assert outcome.code == 13
    assert f"differs: {project.name}/data@{history[0]}:/log: has another content" in outcome.err
    assert f"differs: {project.name}/data@{history[1]}:/log: has another content" in outcome.err
    assert "no branch was touched" in outcome.err
    heads = project.heads("data")
    assert heads.pop("master") == late
    assert len(heads) == 2
    for name, commit in heads.items():
        assert name.startswith(KEPT)
        assert f"kept as {project.name}/data@{name}" in outcome.err
        assert project.tree("data", commit)["/log"].endswith(b"\neno")
    assert [repo for repo in Project(project.cluster, "pachvault").repos() if "staging-" in repo] == []


def test_the_next_run_makes_it_anew(
    backup: Backup, history: list[str], other: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = Project(other, backup.project.name)
    with monkeypatch.context() as patch:
        spoil(patch, "/log")
        for _ in range(2):  # another run that writes it wrongly is as good as the first one
            assert restore(backup, other, "--history", "all").code == 13
            assert all(name.startswith(KEPT) for name in again.heads("data"))
    outcome = restore(backup, other, "--history", "all")
    assert outcome.code == 0, outcome.err
    assert again.heads("data").keys() == {"master"}
    old = backup.project
    for was, now in zip(history[::-1], line_of(again, "data"), strict=True):
        assert again.tree("data", now) == old.tree("data", was)
    nothing_left(other, again)
    heads = again.heads("data")
    assert restore(backup, other, "--history", "all").code == 0
    assert again.heads("data") == heads


def test_parts_that_were_staged_wrongly_are_staged_again(
    backup: Backup, other: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {f"/{number}": bytes([number, 7]) * 30_000 for number in range(4)})
    backup.run()
    monkeypatch.setattr(fetch_shares, "PART_BYTES", 50_000)
    with monkeypatch.context() as patch:
        spoil(patch, "/2")
        assert "/2: has another content" in restore(backup, other, "--workers", "1").err
    assert restore(backup, other, "--workers", "1").code == 0
    again = Project(other, project.name)
    assert again.tree("data", again.heads("data")["master"]) == project.tree(
        "data", project.heads("data")["master"]
    )
    nothing_left(other, again)


def test_what_goes_on_top_is_compared_before_the_head_moves(
    backup: Backup, history: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = backup.project
    late = project.commit("data", {"/late": b"late"})
    with monkeypatch.context() as patch:
        patch.setattr(Target, "change", lambda *_, **__: None)  # what is there is not deleted
        outcome = here(backup, "--exists", "append")
    assert outcome.code == 13
    assert "/late: differs in the commit that was appended" in outcome.err
    heads = project.heads("data")
    assert heads.pop("master") == late
    assert [name.startswith(KEPT) for name in heads] == [True]
    assert here(backup, "--exists", "append").code == 0
    assert line_of(project, "data")[1:] == [late, *history[::-1]]
    assert project.tree("data", project.heads("data")["master"]) == project.tree("data", history[2])
    nothing_left(project.cluster, project)


def test_who_wants_to_keep_going_has_the_heads_moved(
    backup: Backup, history: list[str], other: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, "/log")
    outcome = restore(backup, other, "--keep-going")
    assert outcome.code == 13
    assert "/log: has another content" in outcome.err
    again = Project(other, backup.project.name)
    assert again.heads("data").keys() == {"master"}
    nothing_left(other, again)
    where = ["--vault", backup.vault.url, "--pachd", other.address, "--json"]
    ours = [
        restore_line
        for restore_line in pachvault(*where, "restores").objects
        if f"{again.name}/data" in restore_line["ids"]
    ]
    assert [restore_line["state"] for restore_line in ours] == ["different"]


def test_commits_of_an_earlier_run_are_compared_too(
    backup: Backup, history: list[str], other: Cluster
) -> None:
    """A commit that says that it is restored, and is not what it was."""
    project = backup.project
    assert restore(backup, other, "--history", "all", "--exists", "replace").code == 0
    again = Project(other, project.name)
    info = other.source.commit(again.ref("data", new_ids(again, "data")[history[0]]))
    again.delete_repo("data")
    again.repo("data")
    false = again.commit(
        "data", {"/a": b"2", "/x": b"x", "/log": b"longer than it was"}, text=info.description
    )
    outcome = restore(backup, other, "--history", "all", "--exists", "replace")
    assert outcome.code == 13
    for message in ("/a: has another content", "/x: was not expected: 1 bytes", "/log: 18 bytes where 4"):
        assert message in outcome.err
    assert again.heads("data")["master"] == false
    assert restore(backup, other, "--history", "all", "--exists", "replace").code == 0
    assert again.tree("data", again.heads("data")["master"]) == project.tree("data", history[2])


def test_pipelines_are_not_created_where_something_differs(
    backup: Backup, history: list[str], other: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = remember(backup.project)
    with monkeypatch.context() as patch:
        spoil(patch, "/log")
        settled: list[object] = []
        patch.setattr(
            "pachvault.restore.pipeline_definitions.create_rest", lambda *given: settled.append(given)
        )
        assert restore(backup, other, "--history", "all").code == 13
        assert settled == []
    again = Project(other, backup.project.name)
    again.delete_repo("data")
    assert restore(backup, other, "--history", "all").code == 0
    assert_restored(again, old)

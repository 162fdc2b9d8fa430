"""Sources that go away while a run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from e2e.backup import Backup
from e2e.oracle import assert_equal
from e2e.test_mirror import frozen, shipped
from pachvault.format.ids import RepoName
from pachvault.pach.pipelines import Pipelines
from pachvault.pach.source import Source


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
    """Let something happen right before (`name`) a reading call of the run, once."""

    def arrange(name: str, event: Callable[[], object]) -> None:
        original = getattr(Source, name)
        pending = [event]

        def wrapped(*arguments: object, **options: object) -> object:
            if pending:
                pending.pop()()
            return original(*arguments, **options)

        monkeypatch.setattr(Source, name, wrapped)

    return arrange


def two_repos(backup: Backup) -> tuple[str, str]:
    project = backup.project
    for repo in ("gone", "stays"):
        project.repo(repo)
    return project.commit("gone", {"/a": b"gone"}), project.commit("stays", {"/a": b"stays"})


def test_a_repo_deleted_between_two_listings(backup: Backup, once: Callable[..., None]) -> None:
    two_repos(backup)
    once("branches", lambda: backup.project.delete_repo("gone"))
    snapshot = backup.run()
    backup.assert_restorable(snapshot)
    assert not snapshot.manifest.partial


def test_a_repo_deleted_before_its_commits_are_listed(backup: Backup, once: Callable[..., None]) -> None:
    two_repos(backup)
    once("commits", lambda: backup.project.delete_repo("gone"))
    snapshot = backup.run(code=3)
    backup.assert_restorable(snapshot)
    assert [(problem.kind, problem.repo) for problem in snapshot.manifest.problems] == [
        ("gone", f"{backup.project.name}/gone")
    ]


def test_a_repo_deleted_before_it_is_mirrored(backup: Backup, once: Callable[..., None]) -> None:
    _, stays = two_repos(backup)
    once("file_set_of", lambda: backup.project.delete_repo("gone"))
    outcome = backup.attempt("--quiet")
    assert outcome.code == 3
    assert f"{backup.project.name}/gone" in outcome.err
    assert "the repo was deleted while the backup ran" in outcome.err
    backup.assert_restorable(heads={"gone@master": None, "stays@master": stays})
    backup.run()
    backup.assert_restorable()


def test_a_commit_squashed_before_it_is_mirrored(backup: Backup, once: Callable[..., None]) -> None:
    project = backup.project
    project.repo("data")
    first = project.commit("data", {"/a": b"1"})
    backup.run()
    middle = project.commit("data", {"/b": b"2"})
    head = project.commit("data", {"/c": b"3"}, append={"/b": b"+"})
    once("file_set_of", lambda: project.squash(middle))
    outcome = backup.attempt("--quiet")
    assert outcome.code in (0, 3), outcome.err
    snapshot = backup.vault.snapshot()
    stored_head = snapshot.repo(RepoName(project.name, "data")).record.branches[0].head
    assert stored_head in (first, head)
    assert snapshot.manifest.partial == (outcome.code == 3)
    if stored_head == head:
        stored = backup.vault.tree(snapshot, RepoName(project.name, "data"), head)
        assert_equal(stored, project.tree("data", head), "head")
    backup.run()
    backup.assert_restorable()


def test_the_sealed_base_squashed_between_freeze_and_export(backup: Backup) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {"/root": b"0", "/gone": b"x"})
    base = project.commit("data", {"/a": b"1" * 100, "/empty": b""})
    backup.run()
    head = project.commit("data", {"/b": b"2"}, delete=["/gone", "/empty"], append={"/a": b"+"})
    frozen_run = frozen(backup)
    project.squash(base)
    snapshot = shipped(backup, frozen_run)
    assert not snapshot.manifest.partial, snapshot.manifest.problems
    stored = backup.vault.tree(snapshot, RepoName(project.name, "data"), head)
    assert_equal(stored, project.tree("data", head), "head")
    backup.run()
    backup.assert_restorable()


def test_unmirrored_commits_squashed_between_freeze_and_export(backup: Backup) -> None:
    project = backup.project
    project.repo("data")
    commits = [project.commit("data", {f"/{number}": b"x" * number}) for number in range(4)]
    frozen_run = frozen(backup)
    project.squash(commits[1])
    snapshot = shipped(backup, frozen_run)
    problems = {problem.commit: problem for problem in snapshot.manifest.problems if problem.commit}
    assert problems[commits[1]].kind == "squashed"
    assert "was squashed or dropped while the backup ran" in problems[commits[1]].message
    assert snapshot.manifest.partial
    backup.run()
    backup.assert_restorable()


@pytest.mark.parametrize("again", [False, True])
def test_a_repo_deleted_in_mid_export_is_one_problem(backup: Backup, again: bool) -> None:
    """The backup repo goes with it: else what it holds of the head would be read."""
    project, name = backup.project, f"{backup.project.name}/gone"
    two_repos(backup)
    project.commit("gone", {"/b": b"more"})
    frozen_run = frozen(backup)
    project.delete_repo("gone")
    if again:
        project.repo("gone")
        project.commit("gone", {"/a": b"another"})
    project.cluster.target.delete_repo("pachvault", "backup")
    snapshot = shipped(backup, frozen_run)
    of_repo = [problem for problem in snapshot.manifest.problems if problem.repo == name]
    assert [problem.kind for problem in of_repo] == ["head-missing", "gone"]
    how = "deleted and created again" if again else "deleted"
    lost = "2 of its new commits are not in the snapshot"
    assert of_repo[1].message == f"the repo was {how} while the backup ran: {lost}"


def test_pipelines_that_change_during_the_survey_are_taken_as_they_are_at_its_end(
    backup: Backup, once: Callable[..., None]
) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    spec = {
        "pipeline": {"project": {"name": project.name}, "name": "deployed"},
        "input": {"pfs": {"project": project.name, "repo": "data", "glob": "/*"}},
        "transform": {"cmd": ["true"]},
    }
    pipelines = Pipelines(project.cluster.connection)
    once("branches", lambda: pipelines.create(json.dumps(spec), "deployed"))
    snapshot = backup.run()
    record = snapshot.vault.pipelines_record(snapshot.manifest.pipelines)
    assert (project.name, "deployed") in {(pipeline.project, pipeline.name) for pipeline in record.pipelines}
    assert snapshot.repo(RepoName(project.name, "deployed")).record.output_of == "deployed"


def test_a_mirror_that_may_not_be_written_is_done_without(backup: Backup) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    refusal = {"method": "StartCommit", "code": "PERMISSION_DENIED", "message": "read only", "times": 9}
    with project.cluster.faults(refusal):
        snapshot = backup.run()
    assert [problem.kind for problem in snapshot.manifest.problems] == ["not-mirrored"]
    assert not snapshot.manifest.partial
    backup.assert_restorable(snapshot)

"""With authentication on, what the caller may not see or read is named in the snapshot."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from e2e.authenticated import Authenticated, authentication
from e2e.backup import Backup
from e2e.cluster import Cluster, Project
from pachvault.format.manifest import Problem
from pachvault.pach.access.rights import Place

pytestmark = pytest.mark.e2e
ROBOT = "robot:saver"


@pytest.fixture
def signed_in(backup: Backup, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authenticated]:
    """Commands run as a robot that sees and reads project `open`, the backup's, alone."""
    with authentication(cluster, monkeypatch) as made:
        project = backup.project
        for repo in ("a", "b"):
            project.repo(repo)
            project.commit(repo, {"/f": repo.encode()})
        if has_home(cluster):
            made.bind(ROBOT, Place("pachvault"), "projectOwner")
        made.bind(ROBOT, Place("default"), "repoReader", "projectViewer")
        made.bind(ROBOT, Place(project.name), "projectViewer", "repoReader")
        made.command_as(made.robot("saver"))
        yield made


@pytest.fixture
def secret(signed_in: Authenticated) -> Project:
    """Another project, with a repo, where the robot has no right."""
    project = signed_in.cluster.project()
    project.repo("hidden")
    project.commit("hidden", {"/f": b"1"})
    return project


def has_home(cluster: Cluster) -> bool:
    return "pachvault" in {project.name for project in cluster.source.projects()}


def problems(backup: Backup, *kinds: str) -> list[Problem]:
    noted = backup.vault.snapshot().manifest.problems
    return [problem for problem in noted if problem.kind in kinds]


def both(backup: Backup, secret: Project) -> list[str]:
    return [backup.project.everything(), secret.everything()]


def test_a_project_that_hides_its_repos_makes_the_snapshot_partial_and_names_the_command(
    backup: Backup, signed_in: Authenticated, secret: Project
) -> None:
    snapshot = backup.run_policy(3, sources=both(backup, secret))
    assert snapshot.manifest.partial
    (gap,) = problems(backup, "hidden")
    assert gap.repo == f"{secret.name}/*"
    command = f"pachctl auth set project {secret.name} projectViewer,repoReader {ROBOT}"
    assert "PROJECT_LIST_REPO" in gap.message
    assert command in gap.message
    signed_in.bind(ROBOT, Place(secret.name), *command.split()[5].split(","))
    assert not backup.run_policy(0, sources=both(backup, secret)).manifest.partial


def test_the_command_names_the_roles_that_the_caller_has_there_for_it_replaces_them(
    backup: Backup, signed_in: Authenticated, secret: Project
) -> None:
    signed_in.bind(ROBOT, Place(secret.name, "hidden"), "repoReader")
    signed_in.bind(ROBOT, Place(secret.name), "projectCreator")
    backup.run_policy(3, sources=both(backup, secret))
    (gap,) = problems(backup, "hidden")
    assert f"{secret.name} projectCreator,projectViewer,repoReader {ROBOT}" in gap.message


def test_a_policy_that_excludes_a_hidden_project_is_complete(
    backup: Backup, signed_in: Authenticated, secret: Project
) -> None:
    others = {project.name for project in signed_in.cluster.source.projects()} - {backup.project.name}
    fields = {"sources": ["*/*"], "exclude": [f"{name}/*" for name in others]}
    assert not backup.run_policy(0, **fields).manifest.partial
    assert problems(backup, "hidden") == []
    (note,) = problems(backup, "pipelines-hidden")
    # others of the tests' projects may stand in front of it: ten are named
    assert secret.name in note.message or " more: " in note.message
    assert f"pachctl auth set cluster projectViewer {ROBOT}" in note.message


def test_a_hidden_project_that_is_no_source_is_a_note_for_its_pipelines_alone(
    backup: Backup, signed_in: Authenticated, secret: Project
) -> None:
    assert not backup.run_policy(0).manifest.partial
    assert len(problems(backup, "pipelines-hidden")) == 1
    backup.run_policy(0, pipelines="skip")
    assert problems(backup, "pipelines-hidden", "hidden") == []


def test_a_repo_that_is_listed_and_may_not_be_read_is_a_problem(
    backup: Backup, signed_in: Authenticated, secret: Project
) -> None:
    name = backup.project.name
    backup.run_policy(0)
    signed_in.bind(ROBOT, Place(name), "projectViewer")
    signed_in.bind(ROBOT, Place(name, "a"), "repoReader")
    snapshot = backup.run_policy(3)
    (gap,) = problems(backup, "unreadable")
    assert gap.repo == f"{name}/b"
    assert f"pachctl auth set repo b repoReader {ROBOT} --project {name}" in gap.message
    assert [entry.repo for entry in snapshot.manifest.repos] == ["a"]
    assert problems(backup, "repo-deleted", "branch-deleted") == [], "nothing says that it is gone"
    assert not backup.run_policy(0, exclude=[f"{name}/b"]).manifest.partial


def test_what_is_hidden_since_the_last_snapshot_is_not_called_deleted(
    backup: Backup, signed_in: Authenticated
) -> None:
    name = backup.project.name
    before = backup.run_policy(0)
    signed_in.bind(ROBOT, Place(name))
    signed_in.bind(ROBOT, Place(name, "a"), "repoReader")
    backup.run_policy(3)
    assert len(problems(backup, "hidden")) == 1
    assert problems(backup, "repo-deleted", "pipeline-deleted") == []
    verified = backup.command(
        "--pachd", signed_in.cluster.address, "verify", before.short_id, "--level", "source"
    )
    assert "hides its repos from this caller" in verified.out


def test_a_source_repo_in_a_hidden_project_that_may_be_read_is_no_gap(
    backup: Backup, signed_in: Authenticated
) -> None:
    name = backup.project.name
    signed_in.bind(ROBOT, Place(name))
    signed_in.bind(ROBOT, Place(name, "a"), "repoReader")
    assert not backup.run_policy(0, sources=[f"{name}/a"], pipelines="skip").manifest.partial
    backup.run_policy(3, sources=[f"{name}/a", f"{name}/b"], pipelines="skip")
    assert [gap.repo for gap in problems(backup, "hidden")] == [f"{name}/*"]


def test_a_caller_that_sees_nothing_is_told_what_it_lacks(backup: Backup, signed_in: Authenticated) -> None:
    signed_in.bind(ROBOT, Place(backup.project.name))
    line = backup.attempt("--quiet").says(2)
    assert f"pachctl auth set project {backup.project.name} projectViewer,repoReader {ROBOT}" in line


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_wrong_or_missing_token_is_one_line(
    backup: Backup, signed_in: Authenticated, token: str | None
) -> None:
    signed_in.command_as(token)
    assert "PACH_TOKEN holds the auth token" in backup.attempt().says(1)


def test_an_expired_token_is_told_at_once(backup: Backup, signed_in: Authenticated) -> None:
    signed_in.command_as(signed_in.robot("saver", ttl_seconds=1))
    time.sleep(1.1)
    began = time.monotonic()
    assert "token expiration is in the past" in backup.attempt().says(1)
    assert time.monotonic() - began < 5, "it was tried again and again"

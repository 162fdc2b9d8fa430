"""The pipelines' robot users: `deploy` makes them, with the least rights that backups and restores need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2e.authenticated import ROOT_TOKEN, Authenticated, authentication
from e2e.backup import Backup
from e2e.cli import Outcome, pachvault
from e2e.cluster import Cluster, Project, next_second
from pachvault import robots
from pachvault.bundled_files import ALL_STAGES, STAGES
from pachvault.pach.access import mounted_token
from pachvault.pach.access.rights import Place
from pachvault.pach.pipelines import Pipelines
from pachvault.pach.settings import Settings
from pachvault.policy import HOME_PROJECT, Policy, parse
from pachvault.robots import BACKUP, RESTORE, Binding, Robot

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("robots")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("robots"))
    yield cluster
    cluster.close()


@pytest.fixture
def root(server: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authenticated]:
    """Authentication is on, and project pachvault is there."""
    with authentication(server, monkeypatch) as signed_in:
        server.target.ensure_project(HOME_PROJECT)
        yield signed_in
        pipelines = Pipelines(server.connection)
        for stage in reversed(ALL_STAGES):
            pipelines.delete(HOME_PROJECT, stage)
        for repo in server.source.repos():
            if repo.name.project == HOME_PROJECT:
                server.target.delete_repo(HOME_PROJECT, repo.name.repo)


@pytest.fixture
def backup(root: Authenticated, tmp_path: Path) -> Backup:
    """A project of root's with some data."""
    project = root.cluster.project()
    project.repo("data")
    project.commit("data", {"/a": b"1", "/b/c": b"2"})
    return Backup.of(project, tmp_path / "vault")


def chosen(backup: Backup, sources: str = "['*/*']", more: str = "") -> Policy:
    return parse(policy_text(backup, sources, more), "policy.yaml")


def policy_text(backup: Backup, sources: str = "['*/*']", more: str = "") -> str:
    return f"version: 1\ntarget: {backup.vault.url}\nsources: {sources}\n{more}"


def as_robot(root: Authenticated, backup: Backup, robot: Robot, without: Binding | None = None) -> None:
    """Commands run as a robot with exactly its roles, or with one less."""
    robots.ensure_robot(root.cluster.connection, chosen(backup), restore=True)
    if without is not None:
        roles = [
            binding.role
            for binding in robots.needed(robot, chosen(backup))
            if binding.place == without.place and binding != without
        ]
        root.bind(robot.principal, without.place, *roles)
    root.command_as(root.robot(robot.name))


def deploy(root: Authenticated, *arguments: str) -> Outcome:
    return pachvault("--pachd", root.cluster.address, "--json", "deploy", *arguments)


def needed(robot: Robot) -> list[Binding]:
    """What the robot needs for a policy that chooses everything."""
    return robots.needed(robot, parse("version: 1\ntarget: file:///v\nsources: ['*/*']", "policy"))


def test_deploy_makes_robots_with_the_least_roles_and_mounts_their_tokens(
    root: Authenticated, backup: Backup, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text(backup))
    arguments = ("--policy", str(file), "--restore", "on")
    made = {step["name"].partition(",")[0]: step for step in deploy(root, *arguments).kind("deploy_step")}
    assert made["pachvault-backup"]["action"] == made["pachvault-restore"]["action"] == "created"
    assert "token good until 20" in made["pachvault-backup"]["name"]
    settings = Settings(root.cluster.connection)
    roles = settings.cluster_roles() or {}
    assert roles[BACKUP.principal] == ["projectCreator", "projectViewer", "repoReader"]
    assert roles[RESTORE.principal] == ["projectCreator", "projectWriter", "repoWriter"]
    assert (settings.project_roles(HOME_PROJECT) or {})[BACKUP.principal] == ["projectOwner"]
    specs = {pipeline.name: json.loads(pipeline.spec_json) for pipeline in root.cluster.source.pipelines()}
    for robot in (BACKUP, RESTORE):
        for stage in robot.stages:
            (secret,) = specs[stage]["transform"]["secrets"]
            assert secret == {"name": robot.secret, "mount_path": mounted_token.FOLDER}
    assert "secrets" not in specs["seal"]["transform"], "it calls nothing"
    again = deploy(root, *arguments).kind("deploy_step")
    assert {step["action"] for step in again} == {"unchanged"}


def test_the_pipelines_back_up_and_restore_with_those_roles(
    root: Authenticated, backup: Backup, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text(backup, f"['{backup.project.everything()}']"))
    assert deploy(root, "--policy", str(file), "--restore", "on").code == 0
    pipelines, home = Pipelines(root.cluster.connection), Project(root.cluster, HOME_PROJECT)
    next_second()
    job = pipelines.tick(HOME_PROJECT, "freeze", "tick")
    for stage in STAGES:
        done = pipelines.wait(HOME_PROJECT, stage, job)
        assert done.is_success, f"{stage}: {done.reason}"
    sealed = json.loads(home.tree("seal", job)["/snapshot.json"])
    assert sealed["status"] == "sealed", sealed
    assert sealed["problems"] == []
    request = f"version: 1\nwhat: ['{backup.project.everything()}']\nto: {{project: again}}\n"
    request += f"vault: {backup.vault.url}\n"
    job = home.commit("requests", {"/one.yaml": request.encode()})
    assert pipelines.wait(HOME_PROJECT, "restore_replay", job).is_success
    replayed = home.tree("restore_replay", job)
    (report,) = [json.loads(data) for path, data in replayed.items() if path.endswith("/report.json")]
    assert report["status"] == "restored", report
    again = Project(root.cluster, "again")
    assert again.tree("data", again.heads("data")["master"]) == {"/a": b"1", "/b/c": b"2"}


def test_maintenance_drills_with_those_roles_and_tells_when_the_token_expires(
    root: Authenticated, backup: Backup, tmp_path: Path
) -> None:
    backup.run()
    as_robot(root, backup, BACKUP)
    done = maintain(root, backup, tmp_path)
    assert done.code == 0, done.err
    assert "all restored correctly" in done.out
    assert "does not expire" in done.out
    root.command_as(root.robot(BACKUP.name, ttl_seconds=50 * 24 * 3600))
    due = maintain(root, backup, tmp_path)
    assert "expires at" in due.out
    assert "`pachvault deploy` renews it; maintenance may not" in due.out
    root.bind(BACKUP.principal, Place(), "robotUser", "secretAdmin", "projectViewer", "repoReader")
    assert "token of pachvault-backup: unchanged, good until" in maintain(root, backup, tmp_path).out
    later = datetime.now(UTC) + robots.RENEWED_AFTER + timedelta(hours=1)
    assert {step.action for step in robots.renew(root.cluster.connection, later)} == {"updated"}


def maintain(root: Authenticated, backup: Backup, folder: Path) -> Outcome:
    file = folder / "policy.yaml"
    file.write_text(policy_text(backup))
    return pachvault("--pachd", root.cluster.address, "maintenance", "--policy", str(file))


@pytest.mark.parametrize("without", needed(BACKUP), ids=lambda each: f"{each.role} on {each.place}")
def test_without_one_of_its_roles_a_backup_names_the_right_and_the_command(
    root: Authenticated, backup: Backup, tmp_path: Path, without: Binding
) -> None:
    if without.role == "projectCreator":  # for restore drills alone
        backup.run()
    as_robot(root, backup, BACKUP, without)
    if without.role == "projectCreator":
        text = maintain(root, backup, tmp_path).out
    else:
        outcome = backup.attempt()
        assert "Traceback" not in outcome.err
        if without.place.project != HOME_PROJECT:
            assert outcome.code != 0
        text = outcome.err + "".join(
            problem.message
            for snapshot in backup.vault.snapshots()
            for problem in backup.vault.snapshot(snapshot).manifest.problems
        )
    assert f"{BACKUP.principal} lacks" in text
    assert "pachctl auth set" in text


@pytest.mark.parametrize("without", needed(RESTORE), ids=lambda each: f"{each.role} on {each.place}")
def test_without_one_of_its_roles_a_restore_names_the_right_and_the_command(
    root: Authenticated, backup: Backup, without: Binding
) -> None:
    backup.run()
    name = backup.project.name
    to = {
        "projectCreator": ["--to", f"{name}-new/data"],
        "projectWriter": ["--to", f"{name}/other"],
        "repoWriter": ["--exists", "append", "--path", "/a"],
    }
    command = ["--vault", backup.vault.url, "--pachd", root.cluster.address, "restore", f"{name}/data"]
    as_robot(root, backup, RESTORE, without)
    refused = pachvault(*command, *to[without.role])
    assert refused.code == 1, refused.err
    line = refused.err.strip().splitlines()[-1]
    assert f"{RESTORE.principal} lacks" in line
    assert "pachctl auth set" in line
    as_robot(root, backup, RESTORE)
    done = pachvault(*command, *to[without.role])
    assert done.code == 0, done.err


def test_settings_that_the_robot_may_not_set_are_named_with_the_command(
    root: Authenticated, backup: Backup
) -> None:
    name = backup.project.name
    root.bind("user:ann", Place(name), "projectOwner")
    backup.run()
    root.bind("user:ann", Place(name))
    as_robot(root, backup, RESTORE)
    where = ["--vault", backup.vault.url, "--pachd", root.cluster.address]
    refused = pachvault(*where, "restore", f"{name}/data", "--exists", "append", "--roles")
    assert refused.code == 3, refused.err
    assert (
        f"role bindings of project {name}: {RESTORE.principal} lacks PROJECT_MODIFY_BINDINGS" in refused.err
    )
    assert f"pachctl auth set project {name} projectOwner {RESTORE.principal}" in refused.err
    root.command_as(ROOT_TOKEN)
    assert pachvault(*where, "restore", f"{name}/data", "--exists", "append", "--roles").code == 0
    assert (Settings(root.cluster.connection).project_roles(name) or {})["user:ann"] == ["projectOwner"]


def test_a_policy_with_named_projects_gives_roles_on_these_alone(backup: Backup) -> None:
    policy = chosen(backup, "['images/*', 'text/raw']", "pipelines: skip\nmaintenance: {drill_within: off}")
    bindings = {(str(binding.place), binding.role) for binding in robots.needed(BACKUP, policy)}
    assert bindings == {
        ("project pachvault", "projectOwner"),
        ("project default", "repoReader"),
        ("project images", "projectViewer"),
        ("project images", "repoReader"),
        ("project text", "projectViewer"),
        ("project text", "repoReader"),
    }


def test_with_roles_on_named_projects_alone_a_backup_is_complete(root: Authenticated, backup: Backup) -> None:
    policy = chosen(backup, f"['{backup.project.everything()}']", "pipelines: skip")
    robots.ensure_robot(root.cluster.connection, policy, restore=False)
    root.command_as(root.robot(BACKUP.name))
    snapshot = backup.run_policy(0, pipelines="skip")
    assert snapshot.manifest.problems == []
    backup.project.commit("data", {"/more": b"3"})
    assert backup.run_policy(0, pipelines="skip").manifest.problems == []


def test_who_may_not_make_tokens_is_told_before_anything_is_done(
    root: Authenticated, backup: Backup, tmp_path: Path
) -> None:
    root.bind("robot:ann", Place(), "projectCreator")
    root.bind("robot:ann", Place(HOME_PROJECT), "projectOwner")
    root.command_as(root.robot("ann"))
    error = pachvault("--pachd", root.cluster.address, "deploy").says(1)
    assert "pachctl auth set cluster robotUser,secretAdmin robot:ann" in error
    root.bind("robot:ann", Place(), "projectCreator", "secretAdmin", "robotUser")
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text(backup))
    error = pachvault("--pachd", root.cluster.address, "deploy", "--policy", str(file)).says(1)
    for_admin = f"pachctl auth set cluster projectCreator,projectViewer,repoReader {BACKUP.principal}"
    assert for_admin in error
    assert root.cluster.source.pipelines() == []
    root.bind(BACKUP.principal, Place(), "projectCreator", "projectViewer", "repoReader")
    assert pachvault("--pachd", root.cluster.address, "deploy", "--policy", str(file)).code == 0

"""What a cluster keeps beside data: saved with every snapshot, and brought back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from python_pachyderm.proto.v2.auth import auth_pb2

from e2e.authenticated import authentication
from e2e.backup import Backup
from e2e.cli import Outcome, pachvault
from e2e.cluster import Cluster, Project
from e2e.restored import new_ids, restore
from fault.proxy import FOR_EVER, Fault, Proxy
from pachvault.format import table
from pachvault.format.ids import RepoName
from pachvault.format.records import PipelinesRecord
from pachvault.pach.pipelines import Pipelines
from pachvault.pach.settings import Settings, SettingsScope
from pachvault.vault.snapshots import Snapshot

pytestmark = pytest.mark.e2e

DEFAULTS = json.dumps({"createPipelineRequest": {"datumTries": "5"}})
NOTES = {"owner": "ann", "review": "2026-11"}


@dataclass(frozen=True, slots=True)
class Noted:
    """A project whose settings a test makes and looks at."""

    project: Project

    @property
    def settings(self) -> Settings:
        return Settings(self.project.cluster.connection)

    def name(self, repo: str = "data") -> RepoName:
        return RepoName(self.project.name, repo)

    def note(self, place: SettingsScope, metadata: dict[str, str] | None = None) -> None:
        self.settings.set_metadata(place, NOTES if metadata is None else metadata)

    def pipeline(self, name: str, **more: Any) -> None:
        spec = {
            "pipeline": {"project": {"name": self.project.name}, "name": name},
            "input": {"pfs": {"project": self.project.name, "repo": "data", "glob": "/*"}},
            "transform": {"cmd": ["true"], **more.pop("transform", {})},
            **more,
        }
        Pipelines(self.project.cluster.connection).create(json.dumps(spec), name)

    def told(self) -> dict[str, Any]:
        """What the cluster says of the project's settings."""
        source, name = self.project.cluster.source, self.project.name
        (project,) = [project_info for project_info in source.projects() if project_info.name == name]
        return {
            "description": project.description,
            "project": project.metadata,
            "defaults": self.settings.project_defaults(name),
            "repos": {repo.name.repo: repo.metadata for repo in source.repos() if repo.name.project == name},
            "branches": {branch.name: branch.metadata for branch in source.branches(self.name())},
            "pipelines": {info.name: info.metadata for info in source.pipelines() if info.project == name},
        }


@pytest.fixture
def noted(backup: Backup) -> Noted:
    """A project with a repo, a commit, and settings on all of them."""
    noted_project, project = Noted(backup.project), backup.project
    project.cluster.target.describe_project(project.name, "what it is for")
    project.repo("data")
    commit = project.commit("data", {"/a": b"1"})
    for place in (
        SettingsScope.project(project.name),
        SettingsScope.repo(noted_project.name()),
        SettingsScope.branch(noted_project.name(), "master"),
        SettingsScope.commit(noted_project.name(), commit),
    ):
        noted_project.note(place)
    noted_project.settings.set_project_defaults(project.name, DEFAULTS)
    return noted_project


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    with Proxy(cluster.address.removeprefix("grpc://")) as running_proxy:
        yield running_proxy


@pytest.fixture
def authenticated(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster with authentication switched on."""
    with authentication(cluster, monkeypatch):
        yield cluster


def commit_metadata(snapshot: Snapshot, repo: RepoName) -> list[dict[str, str]]:
    rows = snapshot.repo(repo).commits["metadata"].to_pylist()
    return [table.decode_metadata(text) for text in rows]


def kinds(snapshot: Snapshot) -> list[str]:
    return [problem.kind for problem in snapshot.manifest.problems]


def pipelines_of(snapshot: Snapshot) -> PipelinesRecord:
    return snapshot.vault.pipelines_record(snapshot.manifest.pipelines)


def test_settings_come_back_into_another_cluster(backup: Backup, noted: Noted, other: Cluster) -> None:
    noted.pipeline("count", maximumExpectedUptime="3600s")
    noted.note(SettingsScope.pipeline(noted.name("count")), {"team": "b"})
    old = noted.told()
    assert kinds(backup.run()) == []
    outcome = restore(backup, other, "--pipelines", "--history", "all")
    assert outcome.code == 0, outcome.err
    back = Noted(Project(other, backup.project.name))
    assert back.told() == old
    (commit,) = new_ids(back.project, "data").values()
    assert other.source.commit(back.project.ref("data", commit)).metadata == NOTES
    (pipeline,) = [info for info in other.source.pipelines() if info.project == backup.project.name]
    assert json.loads(pipeline.spec_json)["maximumExpectedUptime"] == "3600s"
    effective = json.loads(pipeline.effective_spec_json)
    assert (effective["maximumExpectedUptime"], effective["datumTries"]) == ("3600s", "5")


def test_what_is_noted_on_an_old_commit_is_in_the_next_snapshot(backup: Backup, noted: Noted) -> None:
    first = backup.run()
    assert commit_metadata(first, noted.name()) == [NOTES]
    unchanged = backup.run()
    assert unchanged.manifest.repos == first.manifest.repos
    head = backup.project.heads("data")["master"]
    noted.note(SettingsScope.commit(noted.name(), head), {"owner": "bob"})
    assert commit_metadata(backup.run(), noted.name()) == [{"owner": "bob"}]
    noted.note(SettingsScope.commit(noted.name(), head), {})
    last = backup.run()
    assert commit_metadata(last, noted.name()) == [{}]
    noted.note(SettingsScope.branch(noted.name(), "master"), {"only": "the branch"})
    assert backup.run().repo(noted.name()).branch("master").metadata == {"only": "the branch"}
    assert commit_metadata(first, noted.name()) == [NOTES], "an older snapshot stays as it was"


def test_settings_that_differ_stay_and_are_named_unless_they_are_asked_for(
    backup: Backup, noted: Noted
) -> None:
    backup.run()
    was = noted.told()
    project = backup.project
    for place in (SettingsScope.project(project.name), SettingsScope.repo(noted.name())):
        noted.note(place, {"owner": "eve"})
    noted.settings.set_project_defaults(project.name, '{"createPipelineRequest": {"datumTries": "1"}}')
    plan = restore(backup, project.cluster, "--dry-run")
    assert plan.code == 0, plan.err
    for what in (f"metadata of project {project.name}", f"metadata of {project.name}/data", "defaults of"):
        assert f"{what}" in plan.out
    assert plan.out.count("stays: `settings` brings the snapshot's back") == 3
    assert restore(backup, project.cluster).code == 0
    assert noted.told()["project"] == {"owner": "eve"}
    assert restore(backup, project.cluster, "--settings").code == 0
    assert noted.told() == was


def test_a_clusters_own_settings_come_back_when_they_are_asked_for(backup: Backup, noted: Noted) -> None:
    settings = noted.settings
    before = settings.cluster_defaults()
    assert before
    try:
        settings.set_metadata(SettingsScope.cluster(), NOTES)
        settings.set_cluster_defaults(DEFAULTS)
        snapshot = backup.run()
        assert (snapshot.manifest.cluster.metadata, snapshot.manifest.cluster.defaults_json) == (
            NOTES,
            DEFAULTS,
        )
        settings.set_metadata(SettingsScope.cluster(), {"owner": "eve"})
        settings.set_cluster_defaults(before)
        assert restore(backup, backup.project.cluster).code == 0
        assert (settings.cluster_metadata(), settings.cluster_defaults()) == ({"owner": "eve"}, before)
        assert restore(backup, backup.project.cluster, "--settings").code == 0
        assert (settings.cluster_metadata(), settings.cluster_defaults()) == (NOTES, DEFAULTS)
    finally:
        settings.set_metadata(SettingsScope.cluster(), {})
        settings.set_cluster_defaults(before)


def test_role_bindings_are_saved_and_come_back_when_they_are_asked_for(
    backup: Backup, noted: Noted, authenticated: Cluster
) -> None:
    ann, bob = "user:ann@example.org", "robot:bob"
    settings, name = noted.settings, backup.project.name
    settings.add_cluster_roles({ann: ["secretAdmin"]})
    settings.add_project_roles(name, {ann: ["projectOwner"]})
    settings.add_repo_roles(noted.name(), {bob: ["repoReader", "repoWriter"], "pipeline:x/y": ["repoReader"]})
    snapshot = backup.run()
    assert snapshot.manifest.cluster.roles == {"pach:root": ["clusterAdmin"], ann: ["secretAdmin"]}
    assert {ann: ["projectOwner"]} in [
        project_info.roles for project_info in snapshot.manifest.projects if project_info.name == name
    ]
    repo = authenticated.connection.auth
    for principal in (bob, "pipeline:x/y"):
        resource = auth_pb2.Resource(type=auth_pb2.REPO, name=str(noted.name()))
        repo.ModifyRoleBinding(auth_pb2.ModifyRoleBindingRequest(resource=resource, principal=principal))
    settings.add_repo_roles(noted.name(), {bob: ["repoOwner"]})
    assert restore(backup, authenticated).code == 0
    assert settings.repo_roles(noted.name()) == {bob: ["repoOwner"]}
    plan = restore(backup, authenticated, "--roles", "--dry-run")
    assert f"give {bob} on {name}/data: repoReader, repoWriter" in plan.out
    assert restore(backup, authenticated, "--roles").code == 0
    assert settings.repo_roles(noted.name()) == {bob: ["repoOwner", "repoReader", "repoWriter"]}


def test_role_bindings_cannot_be_asked_for_without_authentication(
    backup: Backup, authenticated: Cluster, noted: Noted, other: Cluster
) -> None:
    backup.run()
    assert "has no authentication" in restore(backup, other, "--roles").says(2)


def test_settings_that_may_not_be_read_are_named(
    backup: Backup, noted: Noted, authenticated: Cluster, proxy: Proxy
) -> None:
    denied = Fault("GetRoleBinding", 2, FOR_EVER, grpc.StatusCode.PERMISSION_DENIED, "not for you")
    with proxy.failing(denied):
        outcome = through(proxy, backup)
    assert outcome.code == 0, outcome.err
    manifest = backup.vault.snapshot().manifest
    assert not manifest.partial
    assert {problem.kind for problem in manifest.problems} == {"settings-unreadable"}
    named = {problem.repo for problem in manifest.problems}
    assert named >= {f"{backup.project.name}/*", f"{backup.project.name}/data"}


@pytest.mark.parametrize("method", ["GetClusterDefaults", "GetProjectDefaults"])
def test_an_older_pachyderm_has_no_defaults(backup: Backup, noted: Noted, proxy: Proxy, method: str) -> None:
    with proxy.failing(unknown_to_older_ones(method)):
        assert through(proxy, backup).code == 0
    manifest = backup.vault.snapshot().manifest
    assert manifest.problems == []
    of_projects = {project_info.defaults_json for project_info in manifest.projects}
    assert (manifest.cluster.defaults_json is None) == (method == "GetClusterDefaults")
    assert (of_projects == {None}) == (method == "GetProjectDefaults")


def test_an_older_pachyderm_gets_its_pipelines_by_the_older_call(
    backup: Backup, noted: Noted, cluster: Cluster, proxy: Proxy
) -> None:
    noted.pipeline("count")
    backup.run()
    pipelines = Pipelines(cluster.connection)
    pipelines.delete(backup.project.name, "count")
    with proxy.failing(unknown_to_older_ones("CreatePipelineV2")):
        outcome = restored_through(proxy, backup, "--pipelines")
        assert proxy.calls["CreatePipeline"] == 1
    assert outcome.code == 0, outcome.err
    assert pipelines.exists(backup.project.name, "count")


def test_metadata_that_an_older_pachyderm_cannot_hold_is_named(
    backup: Backup, noted: Noted, cluster: Cluster, proxy: Proxy
) -> None:
    backup.run()
    with proxy.failing(unknown_to_older_ones("EditMetadata")):
        outcome = restored_through(proxy, backup, "--to", f"{backup.project.name}/copy")
    assert outcome.code == 3, outcome.err
    head = backup.project.heads("data")["master"]
    for what in (f"{noted.name()}@{head}: metadata", f"metadata of {noted.name('copy')}:"):
        assert f"not restored: {what}" in outcome.err
    assert backup.project.tree("copy", backup.project.heads("copy")["master"]) == {"/a": b"1"}


def test_secrets_that_the_cluster_lacks_are_named_whatever_they_are_for(
    backup: Backup, noted: Noted, other: Cluster
) -> None:
    noted.pipeline("pulled", transform={"image_pull_secrets": ["registry-key"]})
    backup.run()
    assert "lacks 1 secrets that pipelines need: registry-key" in restore(backup, other, "--pipelines").says(
        2
    )


def unknown_to_older_ones(method: str) -> Fault:
    return Fault(method, 1, FOR_EVER, grpc.StatusCode.UNIMPLEMENTED, f"unknown method {method}")


def through(proxy: Proxy, backup: Backup) -> Outcome:
    where = ["--vault", backup.vault.url, "--pachd", proxy.address]
    return pachvault(*where, "backup", "--source", backup.project.everything(), "--workers", "1")


def restored_through(proxy: Proxy, backup: Backup, *arguments: str) -> Outcome:
    where = ["--vault", backup.vault.url, "--pachd", proxy.address]
    return pachvault(*where, "restore", backup.project.everything(), *arguments)

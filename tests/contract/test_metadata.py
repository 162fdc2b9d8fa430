"""Metadata, which users note on objects, and what keeps it; set and read as the product does it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from pachvault.errors import PachydermError, SourceGoneError
from pachvault.format.ids import RepoName
from pachvault.pach import unknown_fields
from pachvault.pach.connection import Connection, connect
from pachvault.pach.settings import Settings, SettingsScope
from pachvault.pach.source import Source

from .pach import Message, Pach, add
from .pipelines import create, inspect, pfs, shell
from .projects import Project

NOTES = {"owner": "ann", "empty": "", "note é": "two\nlines"}

pytestmark = pytest.mark.since("2.10", "metadata")


@pytest.fixture
def connection(pach: Pach) -> Iterator[Connection]:
    with connect(pach.address) as opened:
        yield opened


@pytest.fixture
def settings(connection: Connection) -> Settings:
    return Settings(connection)


@pytest.fixture
def name(project: Project) -> RepoName:
    return RepoName(project.name, "data")


def test_metadata_of_projects_repos_branches_and_commits(
    pach: Pach, project: Project, repo: Message, connection: Connection, settings: Settings, name: RepoName
) -> None:
    commit = pach.commit(repo, add("/a", b"1"))
    places = [
        SettingsScope.project(project.name),
        SettingsScope.repo(name),
        SettingsScope.branch(name, "master"),
        SettingsScope.commit(name, commit.id),
    ]
    for place in places:
        settings.set_metadata(place, NOTES)
    source = Source(connection)
    expected = dict(sorted(NOTES.items()))
    assert [
        project_info.metadata for project_info in source.projects() if project_info.name == project.name
    ] == [expected]
    assert [info.metadata for info in source.repos() if info.name == name] == [expected]
    assert [branch.metadata for branch in source.branches(name)] == [expected]
    assert [info.metadata for info in source.commits(name)] == [expected]
    settings.set_metadata(SettingsScope.repo(name), {"owner": "bob"})
    assert [info.metadata for info in source.repos() if info.name == name] == [{"owner": "bob"}]
    settings.set_metadata(SettingsScope.repo(name), {})
    assert [info.metadata for info in source.repos() if info.name == name] == [{}]


def test_an_open_commits_metadata_stays_when_it_is_finished(
    pach: Pach, repo: Message, settings: Settings, name: RepoName
) -> None:
    commit = pach.start(repo)
    settings.set_metadata(SettingsScope.commit(name, commit.id), NOTES)
    info = pach.finish(commit, description="done")
    assert unknown_fields.strings(info, "metadata") == dict(sorted(NOTES.items()))


def test_what_keeps_metadata(
    pach: Pach, project: Project, repo: Message, connection: Connection, settings: Settings, name: RepoName
) -> None:
    """Moving a branch and describing a repo or a project anew do; a new commit has none of its parent's."""
    first = pach.commit(repo, add("/a", b"1"))
    for place in (
        SettingsScope.project(project.name),
        SettingsScope.repo(name),
        SettingsScope.branch(name, "master"),
    ):
        settings.set_metadata(place, {"kept": "yes"})
    settings.set_metadata(SettingsScope.commit(name, first.id), {"of": "first"})
    second = pach.commit(repo, add("/b", b"1"))
    branch = pfs_pb2.Branch(repo=repo, name="master")
    pach.pfs.CreateBranch(pfs_pb2.CreateBranchRequest(branch=branch, head=first))
    pach.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo, description="new", update=True))
    again = pfs_pb2.CreateProjectRequest(project=project.message, description="new", update=True)
    pach.pfs.CreateProject(again)
    source = Source(connection)
    assert [
        project_info.metadata for project_info in source.projects() if project_info.name == project.name
    ] == [{"kept": "yes"}]
    assert [info.metadata for info in source.repos() if info.name == name] == [{"kept": "yes"}]
    assert [info.metadata for info in source.branches(name)] == [{"kept": "yes"}]
    assert {commit.id: commit.metadata for commit in source.commits(name)} == {
        first.id: {"of": "first"},
        second.id: {},
    }


def test_a_pipelines_metadata_stays_when_it_is_stopped_and_goes_when_it_is_updated(
    pach: Pach, project: Project, repo: Message, connection: Connection, settings: Settings
) -> None:
    spec = shell(project, "noted", pfs(project, "data", "/"), "true")
    create(pach, spec)
    settings.set_metadata(SettingsScope.pipeline(RepoName(project.name, "noted")), NOTES)
    pach.pps.StopPipeline(pps_pb2.StopPipelineRequest(pipeline=project.pipeline("noted")))
    assert unknown_fields.strings(inspect(pach, project, "noted"), "metadata") == dict(sorted(NOTES.items()))
    (listed,) = [pipeline for pipeline in Source(connection).pipelines() if pipeline.project == project.name]
    assert listed.metadata == dict(sorted(NOTES.items()))
    create(pach, {**spec, "description": "new"}, update=True)
    assert unknown_fields.strings(inspect(pach, project, "noted"), "metadata") == {}


def test_a_project_made_again_has_no_metadata(
    pach: Pach, connection: Connection, settings: Settings, project: Project
) -> None:
    settings.set_metadata(SettingsScope.project(project.name), NOTES)
    pach.pfs.DeleteProject(pfs_pb2.DeleteProjectRequest(project=project.message))
    pach.pfs.CreateProject(pfs_pb2.CreateProjectRequest(project=project.message))
    info = pach.pfs.InspectProject(pfs_pb2.InspectProjectRequest(project=project.message))
    assert unknown_fields.strings(info, "metadata") == {}


def test_metadata_of_what_is_not_there_is_refused(
    repo: Message, project: Project, settings: Settings, name: RepoName
) -> None:
    nowhere = RepoName(project.name, "nowhere")
    absent = [
        SettingsScope.project("no-such-project"),
        SettingsScope.repo(nowhere),
        SettingsScope.branch(name, "nowhere"),
        SettingsScope.commit(name, "0" * 12 + "4" + "0" * 19),
        SettingsScope.pipeline(nowhere),
    ]
    for place in absent:
        with pytest.raises(SourceGoneError):
            settings.set_metadata(place, NOTES)


def test_an_empty_key_is_refused(repo: Message, settings: Settings, name: RepoName) -> None:
    with pytest.raises(PachydermError, match="INVALID_ARGUMENT"):
        settings.set_metadata(SettingsScope.repo(name), {"": "value"})


def test_nothing_that_the_server_tells_is_unknown(
    pach: Pach, project: Project, repo: Message, connection: Connection
) -> None:
    """Every field of this server is one that this version knows of: see docs/fidelity.md."""
    pach.commit(repo, add("/a", b"1"))
    create(pach, shell(project, "known", pfs(project, "data", "/"), "true") | {"maximumExpectedUptime": "9s"})
    source = Source(connection)
    source.projects()
    source.repos()
    source.branches(RepoName(project.name, "data"))
    source.commits(RepoName(project.name, "data"))
    source.pipelines()
    assert source.unknown_fields == set()

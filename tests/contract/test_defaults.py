"""Defaults of the cluster and of projects, and specs with fields that python-pachyderm does not have."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pachvault.errors import PachydermError, SourceGoneError, UnsupportedError, UsageError
from pachvault.format.ids import RepoName
from pachvault.pach import unknown_fields
from pachvault.pach.connection import connect
from pachvault.pach.pipelines import Pipelines
from pachvault.pach.settings import Settings

from .pach import Message, Pach
from .pipelines import create, inspect, pfs, shell
from .projects import Project
from .recording import Recording

DEFAULTS = json.dumps({"createPipelineRequest": {"datumTries": "5", "resourceRequests": {"cpu": 0.25}}})

pytestmark = pytest.mark.since("2.8", "defaults of pipeline specs")


@pytest.fixture
def settings(pach: Pach) -> Iterator[Settings]:
    with connect(pach.address) as connection:
        yield Settings(connection)


def test_a_clusters_defaults_are_told(settings: Settings, recorded: Recording) -> None:
    recorded(json.loads(settings.cluster_defaults() or ""))


def test_a_clusters_defaults_are_set_as_they_were_told(settings: Settings) -> None:
    defaults = settings.cluster_defaults()
    assert defaults
    settings.set_cluster_defaults(defaults)
    assert settings.cluster_defaults() == defaults


def test_a_projects_defaults_fill_in_what_a_spec_leaves_out(
    pach: Pach, project: Project, repo: Message, settings: Settings, recorded: Recording
) -> None:
    assert json.loads(settings.project_defaults(project.name) or "") == {}
    settings.set_project_defaults(project.name, DEFAULTS)
    assert settings.project_defaults(project.name) == DEFAULTS
    create(pach, shell(project, "short", pfs(project, "data", "/"), "true"))
    info = inspect(pach, project, "short")
    effective = json.loads(unknown_fields.text(info, "effective_spec_json"))
    assert "datumTries" not in json.loads(info.details_json)
    assert info.details.datum_tries == 5
    recorded({name: effective[name] for name in ("datumTries", "resourceRequests", "outputBranch")})


def test_bad_defaults_are_refused(project: Project, settings: Settings) -> None:
    for text in ("{", "", '{"createPipelineRequest": {"noSuchField": 1}}'):
        with pytest.raises(PachydermError, match="INVALID_ARGUMENT"):
            settings.set_project_defaults(project.name, text)
    with pytest.raises(SourceGoneError):
        settings.project_defaults("no-such-project")


def test_a_spec_is_told_as_it_was_written_with_fields_that_are_newer(
    pach: Pach, project: Project, repo: Message
) -> None:
    spec = shell(project, "newer", pfs(project, "data", "/"), "true") | {"maximumExpectedUptime": "3600s"}
    create(pach, spec)
    info = inspect(pach, project, "newer")
    assert json.loads(info.details_json) == spec
    assert json.loads(unknown_fields.text(info, "effective_spec_json"))["maximumExpectedUptime"] == "3600s"


def test_a_dry_run_reads_a_spec_and_makes_nothing(pach: Pach, project: Project, repo: Message) -> None:
    spec = shell(project, "trial", pfs(project, "data", "/"), "true") | {"maximumExpectedUptime": "3600s"}
    absent = shell(project, "trial", pfs(project, "no-such-repo", "/"), "true")  # not looked at
    with connect(pach.address) as connection:
        pipelines = Pipelines(connection)
        pipelines.check(json.dumps(spec), "spec.json")
        pipelines.check(json.dumps(absent), "spec.json")
        with pytest.raises(UsageError, match=r"spec\.json: .*noSuchField"):
            pipelines.check(json.dumps(spec | {"noSuchField": 1}), "spec.json")
        assert not pipelines.exists(project.name, "trial")


def test_an_image_pull_secret_need_not_be_there(pach: Pach, project: Project, repo: Message) -> None:
    """Unlike other secrets: the pods are what fails then."""
    secrets = {"image_pull_secrets": [f"{project.name}-missing"]}
    create(pach, shell(project, "pulled", pfs(project, "data", "/"), "true", transform=secrets))
    assert list(inspect(pach, project, "pulled").details.transform.image_pull_secrets)


def test_role_bindings_are_told_of_a_cluster_with_authentication_only(
    settings: Settings, project: Project
) -> None:
    assert settings.cluster_roles() is None
    assert settings.project_roles(project.name) is None
    assert settings.repo_roles(RepoName(project.name, "data")) is None
    with pytest.raises(UnsupportedError):
        settings.add_project_roles(project.name, {"user:ann@example.org": ["projectOwner"]})

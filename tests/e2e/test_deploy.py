"""`deploy` and `specs` against an embedded Pachyderm of this module's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cli import Outcome, pachvault
from e2e.cluster import Cluster
from pachvault import __version__
from pachvault.bundled_files import ALL_STAGES, MAINTENANCE_STAGES, RESTORE_STAGES, STAGES, names, text
from pachvault.format.ids import RepoName
from pachvault.pach.pipelines import Pipelines
from pachvault.policy import HOME_PROJECT

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("deploy")]

POLICY = RepoName(HOME_PROJECT, "policy")
RECORDS = "pachvault/policy@deployed"
STANDING = {*STAGES, *MAINTENANCE_STAGES}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("deploy"))
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(server: Cluster) -> Iterator[Cluster]:
    """The server, and afterwards without pipelines and repos of pachvault's."""
    yield server
    pipelines = Pipelines(server.connection)
    for stage in reversed(ALL_STAGES):
        pipelines.delete(HOME_PROJECT, stage)
    for repo in ("policy", "requests"):
        server.target.delete_repo(HOME_PROJECT, repo)


def deploy(cluster: Cluster, *arguments: str) -> Outcome:
    return pachvault("--pachd", cluster.address, "--json", "deploy", *arguments)


def actions(outcome: Outcome) -> dict[str, str]:
    """What was done, by name."""
    assert outcome.code == 0, outcome.out
    return {step["name"]: step["action"] for step in outcome.kind("deploy_step")}


def there(cluster: Cluster) -> set[str]:
    return {pipeline.name for pipeline in cluster.source.pipelines()}


def policy(folder: Path, schedule: str = "@every 2h", target: Path | None = None) -> str:
    path = folder / "policy.yaml"
    url = (target or folder / "vault").as_uri()
    path.write_text(f"version: 1\ntarget: {url}\nsources: ['*/*']\nschedule: '{schedule}'\n")
    return str(path)


def ticks(cluster: Cluster, stage: str = "freeze") -> str:
    """A pipeline's schedule."""
    spec = next(
        json.loads(pipeline.spec_json) for pipeline in cluster.source.pipelines() if pipeline.name == stage
    )
    return str(spec["input"]["cross"][0]["cron"]["spec"])


def test_without_a_policy_the_pipelines_are_made_and_the_policy_is_missed(cluster: Cluster) -> None:
    first = deploy(cluster)
    assert there(cluster) == STANDING
    assert [warning["message"].split(":")[0] for warning in first.kind("warning")] == ["policy"]
    assert "deploy --policy FILE" in first.only("warning")["message"]
    assert first.only("deploy_summary")["missing"] == 1
    assert (ticks(cluster), ticks(cluster, "maintenance")) == ("@every 1h", "@every 24h")


def test_a_policy_is_committed_once_and_its_schedule_ticks(cluster: Cluster, tmp_path: Path) -> None:
    first = deploy(cluster, "--policy", policy(tmp_path))
    assert actions(first)["pachvault/policy@master:/policy.yaml"] == "created"
    assert ticks(cluster) == "@every 2h"
    assert "no such place" in first.only("warning")["message"]
    head = policy_head(cluster)
    assert pachvault("--vault", (tmp_path / "vault").as_uri(), "init").code == 0
    again = deploy(cluster, "--policy", policy(tmp_path))
    assert {action for name, action in actions(again).items()} == {"unchanged"}
    summary = again.only("deploy_summary")
    assert (summary["changed"], summary["missing"]) == (0, 0)
    assert "verify_within 30 days" in summary["durations"]
    assert policy_head(cluster) == head
    # the policy that is there counts where none is given; another schedule updates freeze alone
    other = actions(deploy(cluster, "--policy", policy(tmp_path, "@every 3h")))
    assert updated(other) == ["pachvault/freeze", "pachvault/policy@master:/policy.yaml"]
    assert "updated" not in actions(deploy(cluster)).values()
    assert ticks(cluster) == "@every 3h"


def test_maintenance_ticks_as_the_policy_says(cluster: Cluster, tmp_path: Path) -> None:
    file = Path(policy(tmp_path))
    deploy(cluster, "--policy", str(file))
    file.write_text(file.read_text() + "maintenance: {schedule: '0 3 * * *'}\n")
    changed = actions(deploy(cluster, "--policy", str(file)))
    assert updated(changed) == ["pachvault/maintenance", "pachvault/policy@master:/policy.yaml"]
    assert (ticks(cluster), ticks(cluster, "maintenance")) == ("@every 2h", "0 3 * * *")


def policy_head(cluster: Cluster) -> str:
    return next(str(branch.head) for branch in cluster.source.branches(POLICY) if branch.name == "master")


def updated(done: dict[str, str]) -> list[str]:
    """What a deployment changed, in order; its own records apart."""
    return [name for name, action in done.items() if action == "updated" and name != RECORDS]


def test_restore_is_switched_on_and_off_and_left_as_it_is(cluster: Cluster) -> None:
    deploy(cluster, "--restore", "on")
    assert there(cluster) == set(ALL_STAGES)
    as_it_is = actions(deploy(cluster))
    assert {as_it_is[f"pachvault/{stage}"] for stage in ALL_STAGES} == {"unchanged"}
    off = actions(deploy(cluster, "--restore", "off"))
    assert [name for name, action in off.items() if action == "deleted"] == [
        f"pachvault/{stage}" for stage in reversed(RESTORE_STAGES)
    ]
    assert there(cluster) == STANDING
    assert "deleted" not in actions(deploy(cluster, "--restore", "off")).values()
    assert there(cluster) == STANDING
    assert "requests" in {repo.name.repo for repo in cluster.source.repos()}


def test_a_bad_policy_or_spec_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\ntarget: /v\nsources: ['*/*']\nhystory: all\n")
    outcome = pachvault("--pachd", cluster.address, "deploy", "--policy", str(bad))
    assert "unknown field 'hystory'" in outcome.says(2)
    missing = pachvault("--pachd", cluster.address, "deploy", "--specs", str(tmp_path / "none"))
    assert "freeze.json: cannot be read" in missing.says(2)
    assert there(cluster) == set()
    assert "requests" not in {repo.name.repo for repo in cluster.source.repos()}


def test_specs_of_ones_own_are_deployed(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "specs"
    assert pachvault("specs", str(folder)).code == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        name: text(name) for name in names()
    }
    mine = folder / "export.json"
    mine.write_text(mine.read_text().replace("pachvault/pachvault:", "registry.example/pachvault:"))
    refused = pachvault("specs", str(folder))
    assert "export.json: exists and differs" in refused.says(2)
    actions(deploy(cluster))
    changed = actions(deploy(cluster, "--specs", str(folder)))
    assert updated(changed) == ["pachvault/export"]
    images = {
        pipeline.details["transform"]["image"]
        for pipeline in cluster.source.pipelines()
        if pipeline.name == "export"
    }
    assert images == {f"registry.example/pachvault:{__version__}"}
    assert pachvault("specs", str(folder), "--overwrite").code == 0
    assert mine.read_text() == text("export.json")
    mine.write_text('{"pipeline": {"name": "export"}, "inputs": 1}')
    bad = pachvault("--pachd", cluster.address, "deploy", "--specs", str(folder))
    assert "export.json: not a pipeline spec" in bad.says(2)


def test_an_unreachable_cluster_is_one_line() -> None:
    assert "127.0.0.1:1" in pachvault("--pachd", "grpc://127.0.0.1:1", "deploy").says(1)


def test_the_limit_of_pipelines_is_named(cluster: Cluster) -> None:
    project = cluster.project()
    project.repo("data")
    pipelines = Pipelines(cluster.connection)
    for number in range(14):
        spec = {
            "pipeline": {"name": f"p{number}", "project": {"name": project.name}},
            "transform": {"cmd": ["true"]},
            "input": {"pfs": {"project": project.name, "repo": "data", "glob": "/"}},
        }
        pipelines.create(json.dumps(spec), "test")
    outcome = pachvault("--pachd", cluster.address, "--quiet", "deploy", "--restore", "on")
    assert "16 pipelines" in outcome.says(1)
    for number in range(14):
        pipelines.delete(project.name, f"p{number}")
    assert deploy(cluster, "--restore", "on").code == 0
    assert there(cluster) == set(ALL_STAGES)

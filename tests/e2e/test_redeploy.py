"""Deploying again: what operators added stays, failures can be repeated, no job is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from e2e.cli import Outcome, pachvault
from e2e.cluster import Cluster
from fault.proxy import Fault, Proxy
from pachvault.bundled_files import ALL_STAGES, RESTORE_STAGES, STAGES, text
from pachvault.deploy import deployed_records
from pachvault.deploy.deploy import carry_out, plan
from pachvault.deploy.wanted import Wanted
from pachvault.errors import PachydermError
from pachvault.format.ids import RepoName
from pachvault.pach.connection import connect
from pachvault.pach.pipeline_spec import Spec, canonical
from pachvault.pach.pipelines import Pipelines
from pachvault.policy import HOME_PROJECT

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("deploy")]

PATCH = json.dumps([{"op": "add", "path": "/hostNetwork", "value": True}])
README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("redeploy"))
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(server: Cluster) -> Iterator[Cluster]:
    """The server, and afterwards without pipelines and repos of pachvault's."""
    yield server
    clear(server)


def clear(cluster: Cluster) -> None:
    pipelines = Pipelines(cluster.connection)
    for stage in reversed(ALL_STAGES):
        pipelines.delete(HOME_PROJECT, stage)
    for repo in ("policy", "requests"):
        cluster.target.delete_repo(HOME_PROJECT, repo)


def deploy(cluster: Cluster, *arguments: str) -> Outcome:
    outcome = pachvault("--pachd", cluster.address, "--json", "deploy", *arguments)
    assert outcome.code == 0, outcome.out
    return outcome


def specs(cluster: Cluster) -> dict[str, Spec]:
    """The specs in the cluster, by stage."""
    return {pipeline.name: canonical(pipeline.spec_json, "") for pipeline in cluster.source.pipelines()}


def actions(outcome: Outcome) -> dict[str, str]:
    return {
        step["name"].removeprefix("pachvault/"): step["action"]
        for step in outcome.kind("deploy_step")
        if step["kind"] == "pipeline"
    }


def additions(outcome: Outcome) -> dict[str, str]:
    return {
        f"{addition['pipeline']}:{addition['path']}": addition["value"]
        for addition in outcome.kind("deploy_addition")
    }


def policy(folder: Path, **fields: str) -> str:
    path = folder / "policy.yaml"
    given = {"target": (folder / "vault").as_uri(), "sources": "['*/*']", "schedule": "'@every 2h'"} | fields
    path.write_text("version: 1\n" + "".join(f"{name}: {value}\n" for name, value in given.items()))
    return str(path)


def test_what_was_changed_by_hand_or_by_own_specs_is_kept(cluster: Cluster, tmp_path: Path) -> None:
    deploy(cluster, "--policy", policy(tmp_path))
    by_hand = specs(cluster)["export"] | {"pod_patch": PATCH}
    Pipelines(cluster.connection).update(json.dumps(by_hand), "test")
    head = policy_head(cluster)
    kept = deploy(cluster)
    assert set(actions(kept).values()) == {"unchanged"}
    assert additions(kept) == {"pachvault/export:pod_patch": json.dumps(PATCH)}
    assert specs(cluster)["export"]["pod_patch"] == PATCH
    folder = tmp_path / "specs"
    assert pachvault("specs", str(folder)).code == 0
    own = json.loads((folder / "seal.json").read_text()) | {"salt": "seven"}
    (folder / "seal.json").write_text(json.dumps(own))
    shown = deploy(cluster, "--specs", str(folder), "--dry-run")
    assert shown.only("deploy_summary")["dry_run"]
    assert specs(cluster)["seal"].get("salt") is None
    done = deploy(cluster, "--specs", str(folder))
    assert done.only("deploy_change") == shown.only("deploy_change")
    change = done.only("deploy_change")
    assert (change["pipeline"], change["path"], change["new"]) == ("pachvault/seal", "salt", '"seven"')
    assert [name for name, action in actions(done).items() if action == "updated"] == ["seal"]
    # without the folder: kept beside what was there before; the policy's branch has no commit of this
    assert set(actions(deploy(cluster)).values()) == {"unchanged"}
    assert specs(cluster)["seal"]["salt"] == "seven"
    assert policy_head(cluster) == head
    reset = deploy(cluster, "--reset")
    assert {change["path"]: change["new"] for change in reset.kind("deploy_change")} == {
        "pod_patch": json.dumps(json.loads(text("export.json"))["pod_patch"]),
        "salt": None,
    }
    assert additions(deploy(cluster)) == {}


def policy_head(cluster: Cluster) -> str:
    repo = next(repo.name for repo in cluster.source.repos() if repo.name.repo == "policy")
    return next(str(branch.head) for branch in cluster.source.branches(repo) if branch.name == "master")


def test_the_options_reach_all_pipelines_and_stay(cluster: Cluster, tmp_path: Path) -> None:
    options = ("--image", "registry.example/p", "--volume", "pvc:vault", "--service-account", "backup")
    where = ("--policy", policy(tmp_path))
    deploy(cluster, *where, *options, "--restore", "on")
    made = specs(cluster)
    mount = {"name": "pachvault-vault", "mountPath": str(tmp_path / "vault")}
    for stage in ALL_STAGES:
        assert made[stage]["transform"]["image"].startswith("registry.example/p:")
        assert mount in [operation["value"] for operation in json.loads(made[stage]["pod_patch"])]
    assert set(actions(deploy(cluster)).values()) == {"unchanged"}
    # what `specs` renders makes the same pipelines
    folder = tmp_path / "specs"
    assert pachvault("specs", str(folder), *where, *options).code == 0
    printed = pachvault("specs", "-", *where, *options)
    rendered = {stage: (folder / f"{stage}.json").read_text() for stage in ALL_STAGES}
    assert printed.out == "".join(rendered.values())
    assert {stage: canonical(spec, stage) for stage, spec in rendered.items()} == made
    assert (folder / "policy.yaml").read_text() == Path(policy(tmp_path)).read_text()


def test_pachctl_makes_the_same_pipelines_in_the_order_of_the_readme(cluster: Cluster) -> None:
    line = next(line for line in README.read_text().splitlines() if line.strip().startswith("for stage in "))
    order = line.partition(" in ")[2].partition(";")[0].split()
    assert sorted(order) == sorted(ALL_STAGES)
    cluster.target.ensure_project(HOME_PROJECT)
    for repo in ("policy", "requests"):
        cluster.target.ensure_repo(HOME_PROJECT, repo)
    pipelines = Pipelines(cluster.connection)
    for stage in order:
        pipelines.create(text(f"{stage}.json"), stage)
    done = deploy(cluster)
    assert set(actions(done).values()) == {"unchanged"}
    assert additions(done) == {}


BAD = {
    "six fields": {"schedule": "'0 0 3 * * *'"},
    "every 0s": {"schedule": "'@every 0s'"},
    "never": {"schedule": "'@never'"},
    "store": {"target": "ftp://bucket/vault"},
    "relative": {"target": "vault"},
    "bracket": {"sources": "['images/[ab']"},
    "excluded bracket": {"exclude": "['images/[ab']"},
}


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD)
def test_what_cannot_run_is_refused_before_anything_is_written(
    cluster: Cluster, tmp_path: Path, fields: dict[str, str]
) -> None:
    arguments = ("--pachd", cluster.address, "deploy", "--policy", policy(tmp_path, **fields))
    assert pachvault(*arguments).says(2)
    assert cluster.source.pipelines() == []
    assert "policy" not in {repo.name.repo for repo in cluster.source.repos()}


def test_what_the_cluster_would_refuse_is_refused_before_anything_is_written(
    cluster: Cluster, tmp_path: Path
) -> None:
    base = ("--pachd", cluster.address, "deploy", "--policy", policy(tmp_path))
    assert "no secret s3" in pachvault(*base, "--secret", "s3").says(2)
    assert "pvc:CLAIM" in pachvault(*base, "--volume", "vault").says(2)
    folder = tmp_path / "specs"
    assert pachvault("specs", str(folder)).code == 0
    spec = json.loads(text("export.json"))
    for bad, words in (
        ({"no_such_field": 1}, "no_such_field"),
        ({"datum_tries": "many"}, "export.json"),
        ({"pod_patch": "{}"}, "pod_patch is not a JSON list"),
        ({"parallelism_spec": {"constant": 9}}, "8 workers"),
        ({"transform": {"cmd": [], "image": "pachvault/pachvault:7"}}, "the tag of this version"),
    ):
        (folder / "export.json").write_text(json.dumps(spec | bad))
        assert words in pachvault(*base, "--specs", str(folder)).says(2)
    assert cluster.source.pipelines() == []
    assert "policy" not in {repo.name.repo for repo in cluster.source.repos()}


def test_wherever_a_deployment_fails_it_can_be_run_again(cluster: Cluster, tmp_path: Path) -> None:
    """Each write fails once: the first time, of a fresh deployment and of an update with additions."""
    text_of = (policy(tmp_path), Path(policy(tmp_path)).read_text())
    with Proxy(cluster.address.removeprefix("grpc://")) as proxy, connect(proxy.address) as connection:

        def run(wanted: Wanted, schedule: str, fault: Fault | None = None) -> bool:
            changed = text_of[0], text_of[1].replace("@every 2h", schedule)
            with proxy.failing(fault):
                try:
                    carry_out(connection, plan(connection, wanted, policy_text=changed, restore=True))
                except PachydermError:
                    assert proxy.struck
                    return False
            assert not proxy.struck
            return True

        checks = len(ALL_STAGES)
        writes = {
            "CreateRepo": [1, 2],
            "ModifyFile": [1, 2, 3],
            # the first calls are checks, which write nothing
            "CreatePipelineV2": [checks + 1, checks + 4],
        }

        def faults(method: str) -> Iterator[Fault]:
            for nth in writes[method]:
                yield Fault(method, nth, 1, grpc.StatusCode.PERMISSION_DENIED, "injected")

        plain, other = Wanted(), Wanted(image="registry.example/p", service_account="backup")
        assert run(plain, "@every 2h")
        fresh = specs(cluster)
        for method in writes:
            for fault in faults(method):
                clear(cluster)
                if run(plain, "@every 2h", fault):
                    break
                assert run(plain, "@every 2h")
                assert specs(cluster) == fresh
        Pipelines(cluster.connection).update(json.dumps(fresh["seal"] | {"pod_patch": PATCH}), "test")
        assert run(plain, "@every 2h")
        before = specs(cluster)
        assert run(other, "@every 3h")
        after = specs(cluster)
        assert after["seal"]["pod_patch"] == PATCH
        for method in ("ModifyFile", "CreatePipelineV2"):
            for fault in faults(method):
                assert run(Wanted(is_reset=True), "@every 2h")
                Pipelines(cluster.connection).update(json.dumps(before["seal"]), "test")
                assert run(plain, "@every 2h")
                if run(other, "@every 3h", fault):
                    break
                # with other options than before: what the failed attempt wanted is known by then
                assert run(plain if method == "CreatePipelineV2" else other, "@every 3h")
                assert specs(cluster) == after
                records = deployed_records.read(cluster.source)
                assert records.additions("seal") == {"pod_patch": PATCH}
                assert [stage for stage in ALL_STAGES if records.additions(stage)] == ["seal"]


def test_updates_kill_no_jobs_and_the_next_backup_is_announced(cluster: Cluster, tmp_path: Path) -> None:
    first = deploy(cluster, "--policy", policy(tmp_path)).only("deploy_summary")
    assert first["next_backup_at"]
    assert first["start_now"] == "pachctl run cron freeze --project pachvault"
    deploy(cluster, "--image", "registry.example/p", "--policy", policy(tmp_path, schedule="'@every 3h'"))
    pipelines = Pipelines(cluster.connection)
    for stage in STAGES:
        for commit in cluster.source.commits(RepoName(HOME_PROJECT, stage)):
            job = pipelines.wait(HOME_PROJECT, stage, commit.id)
            assert job.is_success, f"{stage}: {job.reason}"


def test_undeploy_deletes_pipelines_and_leaves_the_rest(cluster: Cluster, tmp_path: Path) -> None:
    deploy(cluster, "--policy", policy(tmp_path), "--image", "registry.example/p", "--restore", "on")
    arguments = ("--pachd", cluster.address, "--json", "undeploy")
    planned = pachvault(*arguments, "--dry-run").only("undeploy_summary")
    assert len(specs(cluster)) == len(ALL_STAGES)
    done = pachvault(*arguments).only("undeploy_summary")
    assert done == planned | {"dry_run": False}
    assert done["deleted"] == len(ALL_STAGES)
    assert specs(cluster) == {}
    repos = sorted(str(repo.name) for repo in cluster.source.repos())
    assert repos == ["pachvault/policy", "pachvault/requests"]
    assert done["left"] == [*(f"repo {name}" for name in repos), f"vault {(tmp_path / 'vault').as_uri()}"]
    assert pachvault(*arguments).only("undeploy_summary")["deleted"] == 0
    # deployed again, it is as it was: the policy and the options were left, too
    deploy(cluster)
    assert set(specs(cluster)) == {*ALL_STAGES} - {*RESTORE_STAGES}
    assert specs(cluster)["export"]["transform"]["image"].startswith("registry.example/p:")

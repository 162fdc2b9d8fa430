"""What a plan promises is what acting does: all it needs is asked first, and an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.backup import Backup
from e2e.cli import Outcome, pachvault
from e2e.cluster import Cluster, Project
from e2e.restored import restore
from pachvault import request as requests
from pachvault.bundled_files import MAINTENANCE_STAGES, STAGES
from pachvault.errors import PachydermError
from pachvault.format.ids import RepoName
from pachvault.pach.pipelines import Pipelines
from pachvault.policy import HOME_PROJECT
from pachvault.restore.request.request_plan import plan_request
from pachvault.stages import freeze, maintenance
from pachvault.worker import Worker

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def _no_pipelines_left(cluster: Cluster, other: Cluster) -> Iterator[None]:
    """A cluster may have only sixteen."""
    yield
    for target in (cluster, other):
        for pipeline in reversed(target.source.pipelines()):
            Pipelines(target.connection).delete(pipeline.project, pipeline.name)


def copying(project: str, name: str, source: str, **more: Any) -> str:
    """The spec of a pipeline that copies a repo, given as project/repo."""
    read, _, repo = source.partition("/")
    spec = {
        "pipeline": {"name": name, "project": {"name": project}},
        "transform": {"cmd": ["sh"], "stdin": [f"cp /pfs/{repo}/* /pfs/out/"]},
        "input": {"pfs": {"repo": repo, "project": read, "branch": "master", "glob": "/"}},
        **more,
    }
    return json.dumps(spec)


@pytest.fixture
def analytics(backup: Backup) -> str:
    """A project that holds a pipeline and nothing else; the repo it reads is in the project of the test."""
    project = backup.project
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    name = f"{project.name}-analytics"
    project.cluster.target.ensure_project(name, "pipelines only")
    Pipelines(project.cluster.connection).create(copying(name, "copy", f"{project.name}/data"), "copy")
    backup.run_policy(outputs="skip")
    return name


def both(backup: Backup, cluster: Cluster, *arguments: str) -> Outcome:
    """Restore both projects of `analytics` with their pipelines."""
    return restore(backup, cluster, "--pipelines", *arguments, what=f"{backup.project.name}*/*")


def test_a_project_that_holds_only_pipelines_is_planned_and_made(
    backup: Backup, analytics: str, other: Cluster
) -> None:
    dry = both(backup, other, "--dry-run")
    assert {f"create project {backup.project.name}", f"create project {analytics}"} <= {*dry.out.splitlines()}
    outcome = both(backup, other)
    assert outcome.code == 0, outcome.err
    assert f"created pipeline {analytics}/copy" in outcome.err
    assert {project_info.name: project_info.description for project_info in other.source.projects()}[
        analytics
    ] == "pipelines only"


@pytest.mark.parametrize("exists", ["fail", "replace"])
def test_a_run_that_failed_after_heads_moved_goes_on_with_its_snapshot(
    backup: Backup, analytics: str, other: Cluster, monkeypatch: pytest.MonkeyPatch, exists: str
) -> None:
    first = backup.vault.snapshot()

    def refused(*_: object) -> None:
        raise PachydermError("no, you")

    with monkeypatch.context() as patch:
        patch.setattr(Pipelines, "create", refused)
        assert "no, you" in both(backup, other, "--quiet", "--exists", exists).says(1)
    again = Project(other, backup.project.name)
    # meanwhile the next backup is sealed, and somebody writes to what is there again
    backup.project.commit("data", {"/late": b"late"})
    backup.run_policy(outputs="skip")
    newer = again.commit("data", {"/newer": b"!"})
    dry = both(backup, other, "--exists", exists, "--dry-run")
    assert f"note: continues with snapshot {first.short_id}" in dry.out
    assert "  keep master: restored to " in dry.out
    outcome = both(backup, other, "--exists", exists)
    assert outcome.code == 0, outcome.err
    assert again.heads("data") == {"master": newer}
    assert again.tree("data", newer) == {"/a": b"1", "/newer": b"!"}
    assert Pipelines(other.connection).exists(analytics, "copy")
    # it is done: a further run is a run of its own
    if exists == "fail":
        assert "data@master exists" in both(backup, other, "--exists", exists, "--quiet").says(2)


def test_what_pipelines_need_is_asked_before_anything_is_written(
    backup: Backup, analytics: str, other: Cluster
) -> None:
    name = backup.project.name
    projects = {project_info.name for project_info in other.source.projects()}
    missing = f"reads {name}/data, which is neither in the cluster nor restored with it"
    message = restore(backup, other, "--pipelines", "--quiet", what=f"{analytics}/copy").says(2)
    assert f"pipeline {analytics}/copy {missing}" in message
    other.target.ensure_project(analytics)
    Project(other, analytics).repo("copy")
    message = both(backup, other, "--quiet").says(2)
    assert f"repo {analytics}/copy is in the way of pipeline {analytics}/copy" in message
    message = restore(backup, other, "--quiet", "--to", f"{'p' * 52}/", what=f"{name}/data").says(2)
    assert "Pachyderm takes no project called" in message
    assert {project_info.name for project_info in other.source.projects()} == projects | {analytics}
    # what only a wildcard means is left out and named
    Project(other, analytics).delete_repo("copy")
    outcome = restore(backup, other, "--pipelines", what=f"{analytics}/*")
    assert outcome.code == 3
    assert f"not restored: {analytics}/copy: the pipeline is not created: it {missing}" in outcome.err


def test_a_wanted_output_and_its_pipeline_cannot_both_come_back(backup: Backup, other: Cluster) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    pipelines = Pipelines(project.cluster.connection)
    pipelines.create(copying(project.name, "made", f"{project.name}/data"), "made")
    pipelines.wait(project.name, "made", project.heads("made")["master"])
    backup.run()
    message = restore(backup, other, "--pipelines", "--outputs", "as-repos", "--quiet").says(2)
    assert "made cannot be both a plain repo and the output of pipeline" in message


@pytest.fixture
def home(cluster: Cluster) -> Iterator[Project]:
    """Project pachvault of the cluster that is backed up, with its repos."""
    cluster.target.ensure_project(HOME_PROJECT)
    home_project = Project(cluster, HOME_PROJECT)
    for repo in ("policy", "requests"):
        home_project.repo(repo)
    yield home_project
    for repo in ("policy", "requests"):
        home_project.delete_repo(repo)


def planned(other: Cluster, name: str, text: str) -> tuple[str, str]:
    """What the restore pipelines of a cluster would make of a request: status and summary."""
    plan = plan_request(name, text.encode(), other.source).plan
    return plan.status, plan.summary


def test_requests_that_come_back_are_not_carried_out_again(
    backup: Backup, home: Project, other: Cluster
) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    backup.run()
    texts = {
        name: json.dumps({"version": 1, "vault": backup.vault.url, "what": [f"{project.name}/data"],
                          "to": {"repo": name}, "from": "vault"})
        for name in ("done", "open")
    }  # fmt: skip
    home.commit("requests", {f"/{name}.yaml": text.encode() for name, text in texts.items()})
    home.commit("requests", {"/bad.yaml": b"version: 2"})
    file = backup.vault.folder.with_name("done.yaml")
    file.write_text(texts["done"])
    ask = ["--vault", backup.vault.url, "--pachd"]
    outcome = pachvault(*ask, project.cluster.address, "restore", "--request", str(file))
    assert outcome.code == 0, outcome.err
    snapshot = backup.run_policy(sources=[project.everything(), "pachvault/requests"])
    assert {(entry.project, entry.repo) for entry in snapshot.manifest.repos} >= {(HOME_PROJECT, "restored")}

    # the other cluster has records of its own already
    assert restore(backup, other).code == 0
    outcome = restore(backup, other, what="pachvault/*")
    assert outcome.code == 0, outcome.err
    assert "the requests that come back are not carried out again" in outcome.err
    status, message = planned(other, "done.yaml", texts["done"])
    assert status == "done"
    assert message.startswith("done on ")
    status, message = planned(other, "open.yaml", texts["open"])
    assert status == "done"
    assert f"came back with snapshot {snapshot.short_id}: not carried out" in message
    fresh = json.dumps({**json.loads(texts["open"]), "to": {"repo": "fresh"}})
    assert planned(other, "fresh.yaml", fresh)[0] == "work"
    done = requests.parse(texts["done"], "done.yaml").id
    states = {
        listed_restore["request"]: listed_restore
        for listed_restore in pachvault(*ask, other.address, "--json", "restores").objects
    }
    assert states[done]["ids"].keys() == {f"{project.name}/done"}
    assert "not carried out" in {state["state"] for state in states.values()}
    Project(other, HOME_PROJECT).delete_repo("requests")


def test_the_backups_own_project_comes_back_only_where_it_is_named(
    backup: Backup, home: Project, other: Cluster, tmp_path: Path
) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    policy = f"version: 1\nname: mine\ntarget: {backup.vault.url}\nsources: ['{project.everything()}']\n"
    home.commit("policy", {"/policy.yaml": policy.encode()})
    backup.run_policy(name="mine", sources=[project.everything(), "pachvault/policy"])
    outcome = restore(backup, other, "--pipelines", "--exists", "append", what="*/*")
    assert outcome.code == 0, outcome.err
    assert "note: project pachvault is pachvault's own, and left out" in outcome.err
    there = Project(other, HOME_PROJECT)
    assert "policy" not in there.repos()
    before = backup.vault.files()
    outcome = restore(backup, other, "--pipelines", what="pachvault/policy")
    assert outcome.code == 0, outcome.err
    assert "is not in force before it is committed again" in outcome.err

    # the restored policy makes nobody write into the vault that it came from
    worker = Worker(tmp_path / "pfs", "job", sidecar=other.address, pachd=other.address, token=None)
    (worker.pfs / "policy").mkdir(parents=True)
    (worker.pfs / "policy" / "policy.yaml").write_text(policy)
    for stage, file in ((freeze, "plan.json"), (maintenance, "report.json")):
        assert "refused: " in stage.run(worker)
        report = json.loads((worker.pfs / "out" / file).read_text())
        assert "policy mine was restored from the backup of another cluster" in report["summary"]
    for command in ("backup", "maintenance"):
        assert "not in force here" in pachvault("--pachd", other.address, command, "--quiet").says(2)
    assert "missing: policy: " in pachvault("--pachd", other.address, "deploy").err
    assert {*backup.vault.files()} == {*before}

    # until somebody commits it there
    file = tmp_path / "policy.yaml"
    file.write_text(policy)
    outcome = pachvault("--pachd", other.address, "deploy", "--policy", str(file))
    assert "missing: policy" not in outcome.err
    assert "work: " in freeze.run(worker)
    for pipeline in reversed((*STAGES, *MAINTENANCE_STAGES)):  # what reads before what is read
        Pipelines(other.connection).delete(HOME_PROJECT, pipeline)


def test_what_is_there_already_is_said_to_be(backup: Backup) -> None:
    project = backup.project
    project.repo("data")
    head = project.commit("data", {"/a": b"1"})
    backup.run()
    outcome = restore(backup, project.cluster)
    assert outcome.code == 0, outcome.err
    assert "nothing to do: all of it is there" in outcome.err
    assert "restored" not in outcome.err
    assert project.heads("data") == {"master": head}


def test_a_rollback_shows_its_plan_and_says_what_it_moved(backup: Backup) -> None:
    project = backup.project
    project.repo("data")
    head = project.commit("data", {"/a": b"1"})
    backup.run()
    late = project.commit("data", {"/late": b"1"})
    where = ["--pachd", project.cluster.address, "rollback", f"{project.name}/data@master", "--to", "latest"]
    dry = backup.command(*where, "--dry-run")
    assert dry.code == 0
    assert f"move master at {head[:12]}; its head is {late[:12]} now, kept as master-before-" in dry.out
    assert project.heads("data") == {"master": late}
    outcome = backup.command(*where)
    assert f"moved 1 branches back: {project.name}/data@master" in outcome.err
    assert project.heads("data")["master"] == head


def test_a_bare_project_is_a_place(backup: Backup, other: Cluster) -> None:
    project = backup.project
    for repo in ("one", "two"):
        project.repo(repo)
        project.commit(repo, {"/a": repo.encode()})
    backup.run()
    assert "--to NAME/" in restore(backup, other, "--to", "elsewhere", "--quiet").says(2)
    assert restore(backup, other, "--to", f"{project.name}-new/").code == 0
    assert Project(other, f"{project.name}-new").repos() == ["one", "two"]
    assert not [info for info in other.source.repos() if info.name == RepoName(project.name, "one")]

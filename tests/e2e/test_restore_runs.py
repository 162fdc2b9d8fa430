"""Restores as runs: what a dry run says, what a report and a record say, and what a list of them shows."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from e2e.backup import Backup
from e2e.cli import Outcome, pachvault
from e2e.cluster import Cluster, Project, Tree
from e2e.restored import new_ids, nothing_left, restore
from pachvault.errors import PachydermError
from pachvault.format.ids import RepoName
from pachvault.pach.pipelines import Pipelines
from pachvault.pach.source import CommitRef
from pachvault.policy import DRILL_PROJECT
from pachvault.request import Request
from pachvault.restore.plan import fetch_shares
from pachvault.restore.stage import staging
from pachvault.restore.state import restore_records
from pachvault.restore.state.lock_holder import LockHolder
from pachvault.restore.state.request_lock import held
from pachvault.syntax import strict_yaml

pytestmark = pytest.mark.e2e


@pytest.fixture
def history(backup: Backup) -> list[str]:
    """Two commits on data@master, backed up."""
    project = backup.project
    project.repo("data", "what it is")
    commits = [
        project.commit("data", {"/a": b"1" * 2000}),
        project.commit("data", {"/b": b"2"}, delete=["/a"]),
    ]
    backup.run()
    return commits


def command(backup: Backup, cluster: Cluster, *arguments: str) -> Outcome:
    return pachvault("--vault", backup.vault.url, "--pachd", cluster.address, *arguments)


def listed(backup: Backup, cluster: Cluster, request: str) -> list[dict[str, Any]]:
    """What `restores` says of a request."""
    listed_restores = command(backup, cluster, "--json", "restores").objects
    return [
        listed_restore for listed_restore in listed_restores if listed_restore["request"].startswith(request)
    ]


def test_a_dry_run_changes_nothing(backup: Backup, history: list[str], other: Cluster) -> None:
    repos = {str(repo.name) for repo in other.source.repos()}
    outcome = restore(backup, other, "--dry-run", "--history", "all")
    assert outcome.code == 0
    name = backup.project.name
    assert outcome.out.splitlines() == [
        "1 repo, 2 commits, 2,001 bytes from the vault",
        f"create project {name}",
        f"{name}/data → {name}/data (new): 2 commits from the vault",
        f"  create master at {history[1][:12]}",
        "expected time: unknown for 2.0 KiB, because no bandwidth was measured yet",
    ]
    assert {str(repo.name) for repo in other.source.repos()} == repos


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--exists", "append"], "append master at {old}; its head is {late} now, which becomes the parent"),
        (
            ["--exists", "replace", "--from", "vault"],
            r"replace master at {old}; its head is {late} now, kept as master-before-\d{{8}}T\d{{6}}Z",
        ),
        (["--exists", "replace"], "move master at {old}; its head is {late} now, kept as master-before-.*"),
        (["--to", "copy"], "create master at {old}"),
        (["--to", "data@copy"], "move copy at {old}"),
    ],
)
def test_a_dry_run_says_what_becomes_of_what_is_there(
    backup: Backup, history: list[str], arguments: list[str], message: str
) -> None:
    project = backup.project
    late = project.commit("data", {"/late": b"late"})
    heads = project.heads("data")
    outcome = restore(backup, project.cluster, "--dry-run", *arguments)
    line = outcome.out.splitlines()[2].strip()
    assert re.fullmatch(message.format(old=history[1][:12], late=late[:12]), line), line
    assert project.heads("data") == heads


def test_what_is_there_already_is_said_so(backup: Backup, history: list[str]) -> None:
    outcome = restore(backup, backup.project.cluster, "--dry-run", "--exists", "replace")
    assert f"move master at {history[1][:12]}: it is there already" in outcome.out
    assert "expected time: seconds, because no data comes from the vault" in outcome.out


def test_the_expected_time_is_of_what_was_measured(backup: Backup, cluster: Cluster, other: Cluster) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {"/a": random.Random(1).randbytes(3_000_000)})
    snapshot = backup.run()
    ask = ["restore", f"{project.name}/data", "--to"]

    def planned() -> dict[str, Any]:
        outcome = command(backup, other, "--json", *ask, f"{project.name}/dry", "--dry-run")
        return outcome.only("restore_plan")

    totals, plan = snapshot.manifest.totals, planned()
    assert (
        plan["measured_by"] == f"the export of snapshot {snapshot.short_id}, as no restore was measured yet"
    )
    assert plan["bytes_per_second"] == totals.bytes_read / totals.export_seconds
    assert plan["expected_seconds"] == pytest.approx(3_000_000 / plan["bytes_per_second"])
    assert command(backup, other, *ask, f"{project.name}/one").code == 0
    (record,) = [
        finished
        for finished in restore_records.finished(other.source)
        if finished["vault"] == snapshot.manifest.vault_id
    ]
    plan = planned()
    assert plan["measured_by"] == "the last restore of this vault"
    assert plan["bytes_per_second"] == record["bytes"] / record["seconds"]
    assert command(backup, other, *ask, f"{project.name}/two").code == 0
    assert planned()["measured_by"] == "the last 2 restores of this vault"
    text = command(backup, other, *ask, f"{project.name}/dry", "--dry-run").out
    assert re.search(
        r"expected time: 0:00:\d\d for 2.9 MiB at [\d.]+ [KMG]iB/s, as measured by the last 2", text
    )


def test_the_id_map_and_the_record(backup: Backup, history: list[str], other: Cluster) -> None:
    outcome = command(backup, other, "--json", "restore", backup.project.everything(), "--history", "all")
    assert outcome.code == 0
    summary = outcome.only("restore_summary")
    again = Project(other, backup.project.name)
    ids = summary["ids"][f"{again.name}/data"]
    assert ids == new_ids(again, "data")
    (listed_restore,) = listed(backup, other, summary["request"])
    assert listed_restore["ids"] == summary["ids"]
    assert listed_restore["lost"] == listed_restore["differences"] == []
    assert (listed_restore["state"], listed_restore["size_bytes"], listed_restore["vault"]) == (
        "done",
        2001,
        backup.vault.vault.config.vault_id,
    )
    assert command(backup, other, "restores").out.splitlines()[0].split() == [
        "REQUEST", "STATE", "SINCE", "(UTC)", "SUMMARY",
    ]  # fmt: skip


def test_a_run_under_way_is_listed_and_a_second_one_is_told(
    backup: Backup, history: list[str], other: Cluster
) -> None:
    project = backup.project
    again = Project(other, project.name)
    request = strict_yaml.validate(Request, {"version": 1, "what": [project.everything()]}, "test").id
    me = LockHolder.this_process()
    with held(other.source, other.target, request, me) as mine:
        mine.enter("replay")
        line = restore(backup, other, "--quiet").says(11)
        assert f"request {request[:12]}: {me.name} carries it out" in line
        assert "in phase replay" in line
        assert again.repos() == []
        (running,) = listed(backup, other, request[:12])
        assert (running["state"], running["phase"], running["summary"]) == ("running", "replay", me.name)
        assert running["since"]
        assert "running (replay)" in command(backup, other, "restores").out
        # another request is none of its business
        assert restore(backup, other, "--history", "all", "--to", f"{again.name}/copy").code == 0
    assert listed(backup, other, request[:12]) == []
    assert restore(backup, other).code == 0
    assert listed(backup, other, request[:12])[0]["state"] == "done"
    nothing_left(other, again)


def test_a_run_that_died_is_listed_as_interrupted(backup: Backup, history: list[str], other: Cluster) -> None:
    request = "ab" * 32
    with held(other.source, other.target, request, LockHolder.this_process()) as mine:
        repo = staging.staging_repo(request)
        part = other.target.start(repo.project, repo.repo, "part", parent=None, description="")
        mine.enter("fetch")
    (listed_restore,) = listed(backup, other, request[:12])
    assert (listed_restore["state"], listed_restore["phase"]) == ("interrupted", "fetch")
    other.target.finish(CommitRef(repo.project, repo.repo, part))
    staging.remove(other.target, request)
    assert listed(backup, other, request[:12]) == []


def test_a_run_whose_process_has_ended_is_interrupted_at_once(backup: Backup, other: Cluster) -> None:
    """As after a kill: it could not release the lock, and gave a sign of life just now."""
    request = "cd" * 32
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    killed = LockHolder.this_process().model_copy(update={"process": ended.pid})
    with held(other.source, other.target, request, killed) as mine:
        mine.enter("fetch")
        (listed_restore,) = listed(backup, other, request[:12])
        assert (listed_restore["state"], listed_restore["phase"], listed_restore["is_drill"]) == (
            "interrupted",
            "fetch",
            False,
        )


def test_a_drill_under_way_is_told_apart(backup: Backup, other: Cluster) -> None:
    request = "ef" * 32
    other.target.ensure_project(DRILL_PROJECT, "")
    other.target.ensure_repo(DRILL_PROJECT, "scratch", f"restore drill; request {request}")
    with held(other.source, other.target, request, LockHolder.this_process()) as mine:
        mine.enter("fetch")
        assert listed(backup, other, request[:12]) == []
        shown = command(backup, other, "--json", "restores", "--drills").objects
        assert [
            listed_restore["is_drill"]
            for listed_restore in shown
            if listed_restore["request"] == request[:12]
        ] == [True]
    other.target.delete_repo(DRILL_PROJECT, "scratch")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_progress_of_parts_is_told_to_the_byte(
    backup: Backup, other: Cluster, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, noise = backup.project, random.Random(5)
    project.repo("data")
    project.commit("data", {f"/{number}": noise.randbytes(60_000) for number in range(5)} | {"/s": b"small"})
    project.commit("data", {"/small": b"s"})
    backup.run()
    monkeypatch.setattr(fetch_shares, "PART_BYTES", 100_000)
    arguments = ["--json", "restore", project.everything(), "--history", "all", "--workers", workers]
    outcome = command(backup, other, *arguments)
    assert outcome.code == 0, outcome.err
    last = {progress["phase"]: progress for progress in outcome.kind("progress")}
    assert list(last) == ["plan", "fetch", "replay", "check"]
    for phase, size, files in (("fetch", 300_005, 6), ("replay", 1, 1), ("check", 300_006, 7)):
        totals = last[phase]
        assert (totals["done_bytes"], totals["total_bytes"], totals["files"]) == (size, size, files), phase


def test_outputs_come_back_as_plain_repos(backup: Backup, other: Cluster, tmp_path: Path) -> None:
    """What a pipeline wrote: left out under its own name, restored under another one."""
    project = backup.project
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    output = Output(project)
    backup.run()
    name = project.name
    ask = {"version": 1, "what": [f"{name}/made"], "from": "vault"}
    where = ["--vault", backup.vault.url, "--pachd", other.address, "restore", "--request"]

    def asked(**fields: Any) -> Outcome:
        file = tmp_path / "request.yaml"
        file.write_text(json.dumps(ask | fields))
        return pachvault(*where, str(file))

    assert f"{name}/made is written by pipeline" in asked().says(2)
    assert asked(outputs="as-repos", to={"repo": "plain"}).code == 0
    again = Project(other, name)
    assert again.tree("plain", again.heads("plain")["master"]) == output.tree
    assert asked(outputs="as-repos").code == 0
    assert again.tree("made", again.heads("made")["master"]) == output.tree
    where[3] = project.cluster.address
    assert "is written by a pipeline of the cluster" in asked(outputs="as-repos").says(2)
    outcome = restore(backup, other, "--to", "flag", "--outputs", "as-repos", what=f"{name}/made")
    assert outcome.code == 0
    assert again.tree("flag", again.heads("flag")["master"]) == output.tree
    everything = asked(what=[f"{name}/*"], to={"project": f"{name}-copy"})
    assert everything.code == 0
    copies = Project(project.cluster, f"{name}-copy")
    assert copies.tree("made", copies.heads("made")["master"]) == output.tree


class Output:
    """A pipeline that copies `data`, and what it made."""

    def __init__(
        self, project: Project, name: str = "made", script: str = "cp /pfs/data/* /pfs/out/"
    ) -> None:
        spec = {
            "pipeline": {"name": name, "project": {"name": project.name}},
            "transform": {"cmd": ["sh"], "stdin": [script]},
            "input": {"pfs": {"repo": "data", "project": project.name, "branch": "master", "glob": "/"}},
        }
        pipelines = Pipelines(project.cluster.connection)
        pipelines.create(json.dumps(spec), f"{name}.json")
        self.tree = made_by(project, name)
        assert self.tree == {"/a": b"1"}


def made_by(project: Project, name: str) -> Tree:
    """What a pipeline makes of the newest commit."""
    head = project.heads(name)["master"]
    Pipelines(project.cluster.connection).wait(project.name, name, head)
    return project.tree(name, head)


def test_pipelines_come_back_and_make_their_outputs_again(
    backup: Backup, other: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = backup.project
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    Output(project, "runs")
    Output(project, "stopped")
    Pipelines(project.cluster.connection).stop(project.name, "stopped")
    backup.run()
    dry = restore(backup, other, "--pipelines", "--dry-run")
    name = project.name
    not_restored = (
        f"not restored: {name}/stopped: the pipeline is stopped, and its output is not brought back: "
        f"`pachctl start pipeline stopped --project {name}` computes it again; "
        f"`pachvault restore {name}/stopped --to {name}/stopped-restored` brings it back as a plain repo"
    )
    pipelines, notes = dry.out.splitlines()[-5:-3], dry.out.splitlines()[-3:-1]
    assert pipelines == [
        f"create pipeline {name}/runs (running)",
        f"create pipeline {name}/stopped (stopped)",
    ]
    assert notes[0] == not_restored
    assert notes[1].startswith(
        "note: 1 pipelines compute their outputs again, in jobs that are not waited for"
    )

    def refused(*_: object) -> None:
        raise PachydermError("no, you")

    with monkeypatch.context() as patch:
        patch.setattr(Pipelines, "stop", refused)
        assert "no, you" in restore(backup, other, "--pipelines", "--quiet").says(1)
    again = Project(other, project.name)
    assert states(again) == {"stopped": False}
    for is_made in (True, False):
        outcome = restore(backup, other, "--pipelines")
        assert outcome.code == 3, outcome.err
        assert not_restored in outcome.err
        assert (f"created pipeline {name}/runs" in outcome.err) == is_made
        assert states(again) == {"runs": False, "stopped": True}
    assert made_by(again, "runs") == {"/a": b"1"}
    assert again.tree("data", again.heads("data")["master"]) == {"/a": b"1"}


def states(project: Project) -> dict[str, bool]:
    """Pipeline to whether it is stopped."""
    pipelines = project.cluster.source.pipelines()
    return {pipeline.name: pipeline.stopped for pipeline in pipelines if pipeline.project == project.name}


def test_another_pipeline_of_the_name_is_in_the_way(backup: Backup, other: Cluster) -> None:
    project, again = backup.project, Project(other, backup.project.name)
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    Output(project)
    backup.run()
    other.target.ensure_project(again.name)
    again.repo("data")
    again.commit("data", {"/a": b"1"})
    Output(again, script="cp -r /pfs/data/* /pfs/out/")
    ask = ["--pipelines", "--from", "vault", "--quiet"]
    line = restore(backup, other, *ask, what=f"{again.name}/made").says(2)
    assert f"pipeline {again.name}/made exists, and is another one" in line
    before = again.heads("made")
    assert restore(backup, other, *ask, "--exists", "append").code == 0
    made_by(again, "made")
    assert before["master"] in {commit.id for commit in other.source.commits(RepoName(again.name, "made"))}

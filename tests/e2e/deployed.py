"""The standing pipelines, made from the specs that users deploy, and what a run of them left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_pachyderm.proto.v2.pps import pps_pb2

from e2e.cluster import Cluster, Project, Tree, next_second
from pachvault.pach.pipelines import Job, Pipelines
from pachvault.policy import HOME_PROJECT

SPECS = Path(__file__).parents[2] / "specs"
STAGES = ("freeze", "export", "seal")


@dataclass(frozen=True, slots=True)
class Ran:
    """The outputs of one run's three stages."""

    job: str
    freeze: Tree
    export: Tree
    seal: Tree
    verdict: Job

    @property
    def plan(self) -> dict[str, Any]:
        return dict(json.loads(self.freeze["/plan.json"]))

    @property
    def receipts(self) -> list[dict[str, Any]]:
        return [json.loads(data) for path, data in sorted(self.export.items()) if path.endswith(".json")]

    @property
    def snapshot(self) -> dict[str, Any]:
        return dict(json.loads(self.seal["/snapshot.json"]))

    @property
    def report(self) -> str:
        return self.seal["/report.md"].decode()


def errors(cluster: Cluster, pipeline: str, job: str) -> list[str]:
    """The messages of the error records that the user code of a job logged."""
    named = pps_pb2.Pipeline(name=pipeline)
    named.project.name = HOME_PROJECT
    request = pps_pb2.GetLogsRequest(job=pps_pb2.Job(pipeline=named, id=job))
    lines = [line.message for line in cluster.connection.pps.GetLogs(request)]
    records = [json.loads(line) for line in lines if line.startswith("{")]
    return [record["message"] for record in records if record["level"] == "error"]


class Home:
    """Project pachvault of one server: pipelines, of which the first one has a tick, and the repo policy."""

    def __init__(self, cluster: Cluster, *names: str) -> None:
        self.cluster = cluster
        cluster.target.ensure_project(HOME_PROJECT)
        self.home = Project(cluster, HOME_PROJECT)
        self.home.repo("policy")
        self.home.branch("policy", "master")
        self.pipelines = Pipelines(cluster.connection)
        for name in names:
            self.pipelines.create((SPECS / f"{name}.json").read_text(), f"{name}.json")
        self._first = names[0]

    def policy(self, text: str) -> str:
        """Commit a policy; the id of the jobs that it starts, which have the newest tick there is."""
        return self.home.commit("policy", {"/policy.yaml": text.encode()})

    def tick(self) -> str:
        """Tick in a second of its own; the id of the jobs that it starts."""
        next_second()
        return self.tick_now()

    def tick_now(self) -> str:
        """Tick, be it in the second of another tick."""
        return self.pipelines.tick(HOME_PROJECT, self._first, "tick")

    def errors(self, pipeline: str, job: str) -> list[str]:
        """See `errors`."""
        return errors(self.cluster, pipeline, job)


class Deployed(Home):
    """With pipelines freeze, export, seal and backup_verdict."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster, *STAGES, "backup_verdict")

    def ended(self, job: str) -> Ran:
        """Wait for a run; each of its stages must succeed, and so must a verdict on a good backup."""
        for stage in STAGES:
            done = self.pipelines.wait(HOME_PROJECT, stage, job)
            assert done.is_success, f"{stage}: {done.reason}"
        freeze, export, seal = (self.home.tree(stage, job) for stage in STAGES)
        ran = Ran(job, freeze, export, seal, self.pipelines.wait(HOME_PROJECT, "backup_verdict", job))
        if seal:  # without a policy there is nothing to do
            assert ran.verdict.is_success == (ran.snapshot["status"] in ("sealed", "covered")), ran.report
        return ran

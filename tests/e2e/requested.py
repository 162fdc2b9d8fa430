"""The restore pipelines, made from the specs that users deploy, and what they answered to requests."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from e2e.cluster import Cluster, Project, Tree
from e2e.deployed import errors
from pachvault.bundled_files import RESTORE_STAGES, spec
from pachvault.pach.pipelines import Pipelines
from pachvault.policy import HOME_PROJECT


@dataclass(frozen=True, slots=True)
class Answered:
    """The outputs of the three stages after a job."""

    plan: Tree
    fetch: Tree
    replay: Tree

    def names(self) -> set[str]:
        """The requests that have a report."""
        return {path.split("/")[1] for path in self.replay if path.endswith("/report.json")}

    def folder(self, name: str) -> str:
        """The folder of a request file."""
        full_names = [report_name for report_name in self.names() if report_name.rpartition("-")[0] == name]
        assert len(full_names) == 1, f"{name}: {sorted(self.names())}"
        return full_names[0]

    def report(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.replay[f"/{self.folder(name)}/report.json"]))

    def ids(self, name: str) -> dict[str, dict[str, str]]:
        return dict(json.loads(self.replay[f"/{self.folder(name)}/ids.json"]))

    def id_rows(self, name: str) -> list[dict[str, str]]:
        data = self.replay[f"/{self.folder(name)}/ids.parquet"]
        return list(pq.read_table(io.BytesIO(data)).to_pylist())


class Requested:
    """Project pachvault of one server: the restore pipelines and the repo of requests."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        cluster.target.ensure_project(HOME_PROJECT)
        self.home = Project(cluster, HOME_PROJECT)
        self.pipelines = Pipelines(cluster.connection)
        self.home.repo("policy")
        self.home.repo("requests")
        self.home.branch("requests", "master")
        self.deploy()

    def deploy(self) -> None:
        for stage in RESTORE_STAGES:
            self.pipelines.create(spec(stage), f"{stage}.json")

    def commit(self, files: dict[str, dict[str, Any] | str], delete: list[str] | None = None) -> str:
        """Commit requests by name; the id of the jobs that they start."""
        put = {
            f"/{name}.yaml": (text if isinstance(text, str) else json.dumps({"version": 1, **text})).encode()
            for name, text in files.items()
        }
        return self.home.commit("requests", put, delete=delete or ())

    def ended(self, job: str) -> Answered:
        """Wait for the jobs; the stages must succeed. A bad result fails the verdict where it is new."""
        for stage in RESTORE_STAGES[:3]:
            done = self.pipelines.wait(HOME_PROJECT, stage, job)
            assert done.is_success, f"{stage}: {done.reason}"
        answered = Answered(*(self.home.tree(stage, job) for stage in RESTORE_STAGES[:3]))
        verdict = self.pipelines.wait(HOME_PROJECT, "restore_verdict", job)
        reports = [
            json.loads(data) for path, data in answered.replay.items() if path.endswith("/report.json")
        ]
        bad = [report for report in reports if report["exit_code"] and report["job"] == job]
        assert verdict.is_success == (not bad), (verdict, bad)
        return answered

    def errors(self, pipeline: str, job: str) -> list[str]:
        """See `deployed.errors`."""
        return errors(self.cluster, pipeline, job)

    def ask(self, files: dict[str, dict[str, Any] | str], delete: list[str] | None = None) -> Answered:
        """Commit requests and wait for their answers."""
        return self.ended(self.commit(files, delete))

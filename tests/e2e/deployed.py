"""The standing pipelines, made from the specs that users deploy, and what a run of them left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster import Cluster, Project, Tree, next_second
from pachvault.pach.pipelines import Pipelines
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

    @property
    def plan(self) -> dict[str, Any]:
        return dict(json.loads(self.freeze["/plan.json"]))

    @property
    def receipts(self) -> list[dict[str, Any]]:
        return [json.loads(data) for path, data in sorted(self.export.items())]

    @property
    def snapshot(self) -> dict[str, Any]:
        return dict(json.loads(self.seal["/snapshot.json"]))


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


class Deployed(Home):
    """With pipelines freeze, export and seal."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster, *STAGES)

    def ended(self, job: str) -> Ran:
        """Wait for a run; each of its stages must succeed."""
        for stage in STAGES:
            done = self.pipelines.wait(HOME_PROJECT, stage, job)
            assert done.is_success, f"{stage}: {done.reason}"
        return Ran(job, *(self.home.tree(stage, job) for stage in STAGES))

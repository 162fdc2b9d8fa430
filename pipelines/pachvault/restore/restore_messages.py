"""The documents between the stages of a restore: plan, shares, receipts. JSON, readable in the console."""

from __future__ import annotations

from typing import Literal

from pachvault.format.documents import Hex, Roles, Time
from pachvault.format.ids import RepoName
from pachvault.messages import StageMessage
from pachvault.pach.records import CommitInfo
from pachvault.restore.changes import Span


class CommitStep(StageMessage):
    """A commit to replay."""

    old: CommitInfo
    """The commit as the snapshot has it. Its parent is None where the parent is not replayed."""
    content_parent: str | None
    """The old id of the nearest replayed ancestor that did not fail: the change is the difference to it."""
    parts: int = 0
    """How many staged parts hold its change; 0 where replay writes it itself."""


class BranchPlan(StageMessage):
    """A branch to restore."""

    source: str
    name: str
    head: str
    """Old id of the commit it will point at."""
    action: Literal["create", "append", "replace", "move", "keep"]
    """keep: an interrupted run of this request has moved it, and it has newer commits on top."""
    keep_as: str | None = None
    """The branch that keeps the head that is replaced."""
    current: str | None = None
    """The head as it is now."""
    trigger: dict[str, str | int | bool] | None = None


class RepoPlan(StageMessage):
    """A repo to restore, all of it or a part."""

    record: Hex
    project: str
    repo: str
    to_project: str
    to_repo: str
    description: str
    is_new: bool
    origin: Literal["source", "backup", "vault"]
    """Where the commits come from: the repo itself, the backup repo or the vault."""
    steps: list[CommitStep]
    branches: list[BranchPlan]

    @property
    def source(self) -> RepoName:
        """The repo as the snapshot has it."""
        return RepoName(self.project, self.repo)

    @property
    def target(self) -> RepoName:
        """The repo to write."""
        return RepoName(self.to_project, self.to_repo)


class PipelinePlan(StageMessage):
    """A pipeline to create."""

    project: str
    name: str
    stopped: bool
    """Created before its input has data, and stopped; the others are created after it."""
    is_new: bool = True
    """Whether it is to be created; one that is there need only be stopped."""
    inputs: list[str]
    """The repos it reads, project/repo each."""
    spec_json: str


class ProjectPlan(StageMessage):
    """A project to create."""

    name: str
    description: str


class ProjectSettings(StageMessage):
    """What is to be set on a project; None is left as it is."""

    name: str
    description: str | None = None
    metadata: dict[str, str] | None = None
    defaults_json: str | None = None


class MetadataPlan(StageMessage):
    """The metadata that a repo and its branches, or a pipeline, get; None is left as it is."""

    project: str
    name: str
    metadata: dict[str, str] | None = None
    branches: dict[str, dict[str, str]] = {}


class RolesPlan(StageMessage):
    """Roles that principals lack on the cluster, a project or a repo."""

    kind: Literal["cluster", "project", "repo"]
    project: str = ""
    repo: str = ""
    roles: Roles = {}

    @property
    def text(self) -> str:
        """Its name for users."""
        return {"cluster": "the cluster", "project": f"project {self.project}"}.get(
            self.kind, f"{self.project}/{self.repo}"
        )


class SettingsPlan(StageMessage):
    """What is to be set beside commits and branches; None is left as it is."""

    cluster_metadata: dict[str, str] | None = None
    cluster_defaults_json: str | None = None
    projects: list[ProjectSettings] = []
    repos: list[MetadataPlan] = []
    pipelines: list[MetadataPlan] = []
    roles: list[RolesPlan] = []
    notes: list[str] = []
    """A line for each setting that differs from the snapshot's and stays."""


class ChangePart(StageMessage):
    """A part of a large change, staged ahead of replay."""

    project: str
    repo: str
    step: CommitStep
    """The commit that the change is of."""
    number: int
    """Which of the `parts` of the step it is, from 0 on."""
    span: Span


class FetchShare(StageMessage):
    """One datum of restore_fetch, with all that it takes to stage its part.

    A request without large changes has one share without a part: without a datum of restore_fetch there
    would be none of restore_replay.
    """

    request_id: str
    number: int
    part: ChangePart | None = None
    vault: str = ""
    snapshot: str = ""
    paths: list[str] = []
    """Those of the plan: only files that match are restored, where there are any."""
    keep_going: bool = False


class RestorePlan(StageMessage):
    """The plan of a request."""

    request_id: str
    status: Literal["work", "done", "refused"]
    summary: str
    exit_code: int = 0
    """Of the same outcome in a shell; other than 0 where it is refused."""
    vault: str = ""
    snapshot: str = ""
    frozen_at: Time | None = None
    """When the snapshot was frozen."""
    projects: list[ProjectPlan] = []
    """Those to create."""
    repos: list[RepoPlan] = []
    pipelines: list[PipelinePlan] = []
    settings: SettingsPlan = SettingsPlan()
    done_requests: Hex | None = None
    """The record of repo `restored` in the snapshot: its files are added to those of the cluster."""
    notes: list[str] = []
    """A line for each thing that is left out on purpose, or may be unexpected."""
    not_restored: list[str] = []
    """A line for each pipeline that cannot be created, and each output that is not restored."""
    shares: int = 0
    bytes: int = 0
    commits: int = 0
    verify: Literal["full", "hashes", "none"] = "full"
    paths: list[str] = []
    keep_going: bool = False
    lost: list[str] = []
    """A line for each repo that is left out because of damage."""
    bytes_per_second: float | None = None
    """The throughput to expect, where it was measured."""
    measured_by: str = ""
    """What it was measured by, for users."""

    @property
    def targets(self) -> list[str]:
        """The branches to write, project/repo@branch each."""
        return [f"{repo.target}@{branch.name}" for repo in self.repos for branch in repo.branches]

    @property
    def new_pipelines(self) -> list[str]:
        """The pipelines to create, project/name each."""
        return [f"{pipeline.project}/{pipeline.name}" for pipeline in self.pipelines if pipeline.is_new]

    @property
    def expected_seconds(self) -> float | None:
        """How long the transfer takes, bytes divided by throughput; None where that was not measured."""
        return self.bytes / self.bytes_per_second if self.bytes_per_second else None


class FetchReceipt(StageMessage):
    """The result of a share."""

    request_id: str
    number: int
    staged: bool = False
    """Whether its part was staged now; False for one that was staged already."""
    problem: str = ""
    """Why it cannot be staged; another try would fail as well."""
    is_damage: bool = False
    """Whether the reason is damage in the vault: a request that keeps going restores what is intact."""

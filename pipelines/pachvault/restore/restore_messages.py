"""What the stages of a restore hand on. JSON, readable in the console."""

from __future__ import annotations

from typing import Literal

from pachvault.format.documents import Hex, Roles, Time
from pachvault.format.ids import RepoName
from pachvault.messages import StageMessage


class CommitStep(StageMessage):
    """A commit to replay."""

    commit: str
    """Its old id."""
    parent: str | None
    """The old id of its parent among the replayed ones; None for a root."""
    content_parent: str | None
    """The nearest replayed ancestor that did not fail: what its change is a change of."""
    description: str
    error: str
    started_at: Time | None
    finished_at: Time | None
    size_bytes: int
    parts: int = 0
    """How many staged parts hold its change; 0 where replay writes it itself."""
    metadata: dict[str, str] = {}
    created_by: str = ""


class BranchPlan(StageMessage):
    """A branch to restore."""

    source: str
    name: str
    head: str
    """Old id of the commit it will point at."""
    action: Literal["create", "append", "replace", "move", "keep"]
    """keep: an interrupted run of this request has moved it, and it has newer commits on top."""
    keep_as: str | None = None
    """Where the head that is replaced goes on."""
    current: str | None = None
    """The head as it is now."""
    trigger: dict[str, str | int | bool] | None = None


class RepoPlan(StageMessage):
    """A repo to restore, whole or in part."""

    record: Hex
    project: str
    repo: str
    to_project: str
    to_repo: str
    description: str
    is_new: bool
    origin: Literal["source", "backup", "vault"]
    """Where the commits come from: the repo itself, the backup repo, the vault."""
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
        """What people call it."""
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
    """A span of a large commit's change (see changes.Span), staged ahead of replay."""

    project: str
    repo: str
    commit: str
    number: int
    lower: str
    upper: str
    size_bytes: int
    blobs: tuple[int, int] | None = None


class FetchShare(StageMessage):
    """One datum of restore_fetch."""

    request_id: str
    number: int
    vault: str
    snapshot: str
    parts: list[ChangePart]


class RestorePlan(StageMessage):
    """What a request comes to."""

    request_id: str
    status: Literal["work", "done", "refused"]
    summary: str
    vault: str = ""
    snapshot: str = ""
    projects: list[ProjectPlan] = []
    """Those to create."""
    repos: list[RepoPlan] = []
    pipelines: list[PipelinePlan] = []
    settings: SettingsPlan = SettingsPlan()
    done_requests: Hex | None = None
    """The record of repo `restored` in the snapshot: its files are added to the cluster's."""
    notes: list[str] = []
    """What is left out on purpose, or is not as one might expect; a line each."""
    not_restored: list[str] = []
    """A line for each pipeline that cannot be created, and each output that nothing brings back."""
    shares: int = 0
    bytes: int = 0
    commits: int = 0
    verify: Literal["full", "hashes", "none"] = "full"
    paths: list[str] = []
    keep_going: bool = False
    lost: list[str] = []
    """A line for each repo that is left out because of damage."""
    bytes_per_second: float | None = None
    """The bandwidth to expect, where one was measured, and by what."""
    measured_by: str = ""

    @property
    def new_pipelines(self) -> list[str]:
        """The pipelines to create, project/name each."""
        return [f"{each.project}/{each.name}" for each in self.pipelines if each.is_new]

    @property
    def expected_seconds(self) -> float | None:
        """R = D / B: how long bringing the bytes will take; None where nothing was measured."""
        return self.bytes / self.bytes_per_second if self.bytes_per_second else None


class FetchWork(StageMessage):
    """A share with as much of the plan as fetching it takes; without both where there is nothing to fetch."""

    request_id: str
    number: int
    share: FetchShare | None = None
    plan: RestorePlan | None = None


class FetchReceipt(StageMessage):
    """What became of a share."""

    request_id: str
    number: int
    staged: int = 0
    """Parts fetched now; those that were there already are not counted."""
    problem: str = ""
    """Why it could not be fetched, and never will be."""
    is_damage: bool = False
    """Whether the vault is damaged, and what is intact may be had."""

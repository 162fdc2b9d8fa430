"""What the stages hand on: the plan, the shares of work, and their receipts. JSON, one object each.

They lie in the output repos of the pipelines, so that a run can be read in the console.
"""

from __future__ import annotations

import json
from typing import Literal

from pachvault.format.documents import Branch, Cluster, Hex, Pipeline, Problem, Project, Roles, Time
from pachvault.format.ids import RepoName, digest
from pachvault.messages import StageMessage
from pachvault.pach.records import CommitInfo
from pachvault.pach.source import CommitRef


class CommitPlace(StageMessage):
    """A commit as it can be read: the source's own, or its mirror."""

    project: str
    repo: str
    commit: str

    @property
    def ref(self) -> CommitRef:
        """As the Pachyderm layer names it."""
        return CommitRef(self.project, self.repo, self.commit)


class Link(StageMessage):
    """A sealed commit of a base's chain: which tables hold its rows."""

    commit: str
    tables: list[Hex]


class Item(StageMessage):
    """A commit to export, or a range of its paths."""

    project: str
    repo: str
    commit: str
    source: CommitPlace
    change: CommitPlace | None = None
    """Where the commit's own change can be read; None for a full one."""
    base: str | None = None
    """The commit this one is stored as a delta on; None for a full one."""
    base_source: CommitPlace | None = None
    base_chain: list[Link] = []
    """Where the vault has the base's rows, if it is sealed; a full commit's first."""
    lower: str = ""
    upper: str = ""
    is_whole: bool = True
    """Whether the range is all paths, so that sizes must add up to the commit's."""
    commit_bytes: int
    expected_bytes: int
    """About how many bytes will be read."""
    repo_created_at: Time | None = None

    @property
    def repo_name(self) -> RepoName:
        """The source repo."""
        return RepoName(self.project, self.repo)


class ExportShare(StageMessage):
    """One datum of export."""

    run_id: str
    number: int
    cluster_id: str
    target: str
    bandwidth: int | None
    memory: int
    items: list[Item]

    def key(self, vault_id: str) -> str:
        """What the share does, whichever run asks for it: the name its receipt is kept under."""
        content = [vault_id, self.cluster_id]
        for item in self.items:
            said = item.model_dump(include={"project", "repo", "commit", "base", "lower", "upper"})
            content.append(json.dumps(said, sort_keys=True))
        return digest("\n".join(content).encode()).hex()

    @property
    def expected_bytes(self) -> int:
        """About how many bytes it will read."""
        return sum(item.expected_bytes for item in self.items)


class WrittenObject(StageMessage):
    """An object that a share wrote or relies on."""

    digest: Hex
    size: int


class ItemReceipt(StageMessage):
    """What became of an item."""

    project: str
    repo: str
    commit: str
    lower: str
    rows: int = 0
    bytes: int = 0
    """Size of the files the rows put, less that of the ones they replace or delete."""
    tables: list[Hex] = []
    """Those of the share's tables that hold the rows."""
    problem: str | None = None
    """Why it could not be read, in one line."""
    problem_kind: str = "unreadable"


class Receipt(StageMessage):
    """What became of a share."""

    run_id: str
    number: int
    key: str
    is_reused: bool = False
    items: list[ItemReceipt]
    tables: list[WrittenObject] = []
    index: list[WrittenObject] = []
    packs: list[WrittenObject] = []
    files_read: int = 0
    files_known: int = 0
    bytes_read: int = 0
    bytes_new: int = 0
    blobs_new: int = 0
    seconds: float = 0.0


class PlannedRepo(StageMessage):
    """A repo of the snapshot to be."""

    project: str
    repo: str
    created_at: Time
    description: str
    output_of: str | None
    branches: list[Branch]
    metadata: dict[str, str] = {}
    roles: Roles | None = None
    previous: Hex | None = None
    """The newest sealed record of this repo."""
    is_unchanged: bool = False
    """Whether `previous` says all there is to say."""
    parents: dict[str, str | None] = {}
    """The chosen commits, oldest first, with their parents as they are now."""
    commit_metadata: dict[str, dict[str, str]] = {}
    """What users noted on chosen commits that are sealed already, as it is now."""
    new: list[CommitInfo] = []
    """The chosen commits that no sealed snapshot reaches."""
    bases: dict[str, str] = {}
    """New commits that are stored as deltas: the commit that each one builds on."""

    @property
    def name(self) -> RepoName:
        """The repo."""
        return RepoName(self.project, self.repo)


class Plan(StageMessage):
    """What a freeze found and decided."""

    status: Literal["work", "covered", "refused"]
    summary: str
    """In plain words."""
    run_id: str
    policy: str = ""
    target: str = ""
    tick: Time | None = None
    cluster: Cluster | None = None
    freeze_began_at: Time | None = None
    frozen_at: Time | None = None
    freeze_seconds: float = 0.0
    projects: list[Project] = []
    repos: list[PlannedRepo] = []
    pipelines: list[Pipeline] = []
    problems: list[Problem] = []
    shares: int = 0
    expected_bytes: int = 0

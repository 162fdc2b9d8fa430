"""The documents between the stages of a backup: plan, shares of work, receipts. JSON, one object each.

The pipelines write them to their output repos, where users can read them in the console.
"""

from __future__ import annotations

import json
from typing import Literal

from pachvault.format.documents import Hex, Roles, Time
from pachvault.format.ids import RepoName, digest
from pachvault.format.manifest import Cluster, Problem, Project
from pachvault.format.records import Branch, Pipeline
from pachvault.messages import StageMessage
from pachvault.pach.records import CommitInfo
from pachvault.pach.source import CommitRef


class CommitPlace(StageMessage):
    """Where a commit can be read: in its own repo, or its mirror in the backup repo."""

    project: str
    repo: str
    commit: str

    @property
    def ref(self) -> CommitRef:
        """The same for calls to Pachyderm."""
        return CommitRef(self.project, self.repo, self.commit)


class Link(StageMessage):
    """A sealed commit in the chain of a base, and the file tables that hold its rows."""

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
    """Where the vault has the rows of the base, if the base is sealed: from a full commit on."""
    lower: str = ""
    upper: str = ""
    is_whole: bool = True
    """Whether the range has all paths: the sizes of its files must add up to the commit's."""
    commit_bytes: int
    expected_bytes: int
    """Estimate of the bytes to read."""
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
        """A digest of what the share does, the same for every run: its receipt is kept under this name."""
        content = [vault_id, self.cluster_id]
        for item in self.items:
            identity = item.model_dump(include={"project", "repo", "commit", "base", "lower", "upper"})
            content.append(json.dumps(identity, sort_keys=True))
        return digest("\n".join(content).encode()).hex()

    @property
    def expected_bytes(self) -> int:
        """Estimate of the bytes to read."""
        return sum(item.expected_bytes for item in self.items)


class WrittenObject(StageMessage):
    """An object that a share wrote, or found written and relies on."""

    digest: Hex
    size: int


class ItemReceipt(StageMessage):
    """The result of an item."""

    project: str
    repo: str
    commit: str
    lower: str
    rows: int = 0
    bytes: int = 0
    """Size of the files that the rows put, less the size of those that they replace or delete."""
    tables: list[Hex] = []
    """Those of the share's tables that hold the rows."""
    problem: str | None = None
    """Why it could not be read, in one line."""
    problem_kind: str = "unreadable"


class Receipt(StageMessage):
    """The result of a share."""

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
    """A repo of the snapshot that the run will seal."""

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
    """Whether `previous` is the record of the new snapshot, too."""
    parents: dict[str, str | None] = {}
    """The chosen commits, oldest first, with their parents as they are now."""
    commit_metadata: dict[str, dict[str, str]] = {}
    """What users noted on chosen commits that are sealed already, as it is now."""
    new: list[CommitInfo] = []
    """The chosen commits that no sealed snapshot reaches."""
    bases: dict[str, str] = {}
    """New commits that are stored as deltas: the commit that each one builds on."""
    history_listed_at: Time | None = None
    """When all commits of the repo were last listed, in this run or an earlier one."""

    @property
    def name(self) -> RepoName:
        """The repo."""
        return RepoName(self.project, self.repo)


class Plan(StageMessage):
    """The plan of a backup: the state of the freeze, and what is to be exported."""

    status: Literal["work", "covered", "refused"]
    summary: str
    """One line for users."""
    exit_code: int = 0
    """Of the same outcome in a shell; other than 0 where it is refused."""
    next_step: str = ""
    """What to do about it; empty where there is nothing to do."""
    is_signalled: bool = True
    """See `Outcome`."""
    run_id: str
    policy: str = ""
    selection: str = ""
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

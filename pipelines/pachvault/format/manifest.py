"""The manifest, which seals a snapshot (docs/format.md, 8.4)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pachvault.format.config import FORMAT, GRACE_MOST_SECONDS
from pachvault.format.documents import Count, Document, Hex, Name, Roles, Seconds, Time
from pachvault.format.problem_kinds import NOTES


class Cluster(Document):
    """The Pachyderm cluster a snapshot was taken from."""

    id: str
    version: str
    metadata: dict[str, str] = {}
    defaults_json: str | None = None
    """Defaults of pipeline specs; None before Pachyderm 2.8, and where they could not be read."""
    roles: Roles | None = None


class Project(Document):
    """A Pachyderm project."""

    name: Name
    description: str = ""
    metadata: dict[str, str] = {}
    created_by: str = ""
    defaults_json: str | None = None
    """The same, for pipelines of the project."""
    roles: Roles | None = None


class Problem(Document):
    """Something that could not be saved, or that users should know: what, where, why."""

    repo: str
    commit: str | None = None
    branch: str | None = None
    kind: str
    message: str
    last_seen: str | None = None
    """Of a missing thing: the id of the snapshot sealed last that has it."""
    since: str | None = None
    """The id of the first snapshot without it; None for this one."""

    @property
    def is_note(self) -> bool:
        """Whether it is a note: the snapshot is not partial because of it."""
        return self.kind in NOTES

    @property
    def where(self) -> str:
        """The repo, with branch or commit."""
        reference = self.branch or self.commit
        return f"{self.repo}@{reference}" if reference else self.repo


class RepoEntry(Document):
    """A repo in a manifest, with the figures a listing shows."""

    project: Name
    repo: Name
    record: Hex
    branches: Count
    commits: Count
    size_bytes: Count
    """Sum of the heads' sizes."""
    history_listed_at: Time | None = None
    """When all commits of the repo were last listed in the cluster; None where it was not recorded."""


class Totals(Document):
    """The totals of one run, for users and for estimates."""

    commits_new: Count = 0
    files_read: Count = 0
    bytes_read: Count = 0
    files_known: Count = 0
    """Files that were not read, because the vault has their content."""
    blobs_new: Count = 0
    bytes_new: Count = 0
    """Bytes of new blobs before compression."""
    bytes_stored: Count = 0
    """Bytes of the packs written."""
    packs_new: Count = 0
    shares: Count = 0
    shares_reused: Count = 0
    freeze_seconds: Seconds = 0.0
    export_seconds: Seconds = 0.0


class ErasureNote(Document):
    """A record of files that were erased from a sealed snapshot."""

    what: str
    """A description for users."""
    at: Time
    files: Count
    """The number of files in the snapshot, over all its commits."""
    repos: list[str] = []
    """The patterns of repos that the user gave."""
    paths: list[str] = []
    """The patterns of paths that the user gave; empty for all paths."""


class Manifest(Document):
    """A sealed snapshot: the only commit point of a run."""

    type: Literal["snapshot"] = "snapshot"
    format: int = FORMAT
    vault_id: str
    run_id: str
    policy: str
    """Its name; empty where no policy asked for the snapshot."""
    selection: str = ""
    """A digest of what the policy selects; empty where an earlier version wrote none."""
    cluster: Cluster
    freeze_began_at: Time
    frozen_at: Time
    """By the store's clock, where this machine's clock differs from it."""
    sealed_at: Time
    """By the store's clock."""
    sequence: Annotated[int, Field(ge=0, lt=10**18)] = 0
    """Its number in the order of sealing; 0 where an earlier version wrote none."""
    partial: bool
    problems: list[Problem] = []
    projects: list[Project]
    repos: list[RepoEntry]
    pipelines: Hex
    totals: Totals
    erased: list[ErasureNote] = []
    grace_seconds: Annotated[float | None, Field(gt=0, le=GRACE_MOST_SECONDS, allow_inf_nan=False)] = None
    """The vault's when this was sealed: what a lost `vault.json` is rebuilt with."""

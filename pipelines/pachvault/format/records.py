"""Repo records and pipelines records (docs/format.md, 8.2 and 8.3)."""

from __future__ import annotations

from typing import Literal

from pachvault.format.documents import Count, Document, Hex, Name, Roles, Time


class Unfinished(Document):
    """Commits of a branch that were not finished at the freeze. A later snapshot will have them."""

    count: Count
    head: str
    """The branch's real head."""
    first: str
    """The oldest of them; the others follow it up to the head."""
    since: Time | None = None
    """When the oldest was started, by the cluster's clock."""


class Branch(Document):
    """A branch at the freeze."""

    name: Name
    head: str | None
    """The newest readable commit, or None where the branch has none."""
    missing: str | None = None
    """The real head, where it could not be read."""
    unfinished: Unfinished | None = None
    """The unfinished commits after `head`; None where `head` is the real head."""
    provenance: list[str] = []
    trigger: dict[str, str | int | bool] | None = None
    metadata: dict[str, str] = {}
    created_by: str = ""


class Segment(Document):
    """A part of a repo's history: a commit list, oldest first."""

    table: Hex
    commits: Count


class RepoRecord(Document):
    """One repo of a snapshot: its branches, and its commits in segments."""

    type: Literal["repo"] = "repo"
    project: Name
    repo: Name
    created_at: Time
    description: str = ""
    output_of: str | None = None
    """The pipeline that writes this repo, if one does."""
    branches: list[Branch]
    segments: list[Segment]
    metadata: dict[str, str] = {}
    roles: Roles | None = None
    """Role bindings; None where there was no authentication, or they could not be read."""


class Pipeline(Document):
    """A pipeline's definition: as the user wrote it, where the server still has that."""

    project: Name
    name: Name
    version: Count
    stopped: bool
    spec_json: str
    details: dict[str, object]
    effective_spec_json: str = ""
    """The spec with the defaults of project and cluster; empty before Pachyderm 2.8."""
    metadata: dict[str, str] = {}
    created_by: str = ""


class PipelinesRecord(Document):
    """All pipeline definitions of a snapshot."""

    type: Literal["pipelines"] = "pipelines"
    pipelines: list[Pipeline]

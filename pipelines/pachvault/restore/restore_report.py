"""What a restore did: the commits of each repo, what could not be restored, and what differs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from pachvault.format.ids import RepoName


@dataclass(slots=True)
class Replayed:
    """The result of a repo: old ids to new ones, and what could not be restored."""

    repo: RepoName
    ids: dict[str, str] = field(default_factory=dict)
    appended: dict[str, str] = field(default_factory=dict)
    """Commits on top of a branch, by the old id of the commit that each one restores."""
    heads: dict[str, str] = field(default_factory=dict)
    """Branches of the target, and the commits that they will point at."""
    new_commits: int = 0
    """How many commits this run made; `ids` has those of earlier runs, too."""
    moved: list[str] = field(default_factory=list)
    """Branches whose heads this run moved."""
    lost: list[str] = field(default_factory=list)
    """A line for each file, commit, branch or repo that could not be restored."""


@dataclass(frozen=True, slots=True)
class CommitDifference:
    """A file that is not what it should be."""

    repo: str
    commit: str
    """The old id."""
    found: str
    """The new commit that differs."""
    path: str
    message: str


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore did."""

    request_id: str
    summary: str
    replayed: list[Replayed]
    differences: list[CommitDifference]
    kept: list[str] = field(default_factory=list)
    """The branches that keep differing commits; the heads were not moved then."""
    vault_id: str = ""
    snapshot: str = ""
    """The id of the snapshot."""
    targets: list[str] = field(default_factory=list)
    """The branches that the request is about, project/repo@branch each."""
    bytes: int = 0
    """Bytes that were restored from the vault."""
    seconds: float | None = None
    """How long that took, comparison included; None where several runs did it."""
    lost_settings: list[str] = field(default_factory=list)
    finished_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    pipelines: list[str] = field(default_factory=list)
    """Those that were created, project/name each."""
    not_restored: list[str] = field(default_factory=list)
    """A line for each pipeline that was not created, and each output that nothing brings back."""
    notes: list[str] = field(default_factory=list)
    is_unchanged: bool = False
    """Whether there was nothing to do: the cluster had all of it already."""

    @property
    def lost(self) -> list[str]:
        """A line for each commit, branch or setting that could not be restored."""
        return [*(line for repo in self.replayed for line in repo.lost), *self.lost_settings]

    @property
    def is_settled(self) -> bool:
        """Whether the heads were moved."""
        return not self.kept

    @property
    def ids(self) -> dict[str, dict[str, str]]:
        """Repo to old id to new id."""
        return {str(result.repo): result.ids | result.appended for result in self.replayed}

    @property
    def moved(self) -> list[str]:
        """The branches whose heads were moved, project/repo@branch each."""
        return [f"{result.repo}@{branch}" for result in self.replayed for branch in result.moved]

"""Finished restores, recorded in the cluster outside of any pipeline's output."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from pachvault import home
from pachvault.format.ids import RepoName
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import DRILL_PROJECT, HOME_PROJECT
from pachvault.restore.check import Difference
from pachvault.restore.repo_replay import Replayed

DONE = RepoName(HOME_PROJECT, "restored")
"""A file a request, the newest run of it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a restore did."""

    request_id: str
    summary: str
    replayed: list[Replayed]
    differences: list[Difference]
    kept: list[str] = field(default_factory=list)
    """Where differences kept the heads from being moved: the branches that keep the differing commits."""
    vault_id: str = ""
    bytes: int = 0
    """What was brought from the vault."""
    seconds: float | None = None
    """How long that took, with comparing it; None where it was not done in one go."""
    finished_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def lost(self) -> list[str]:
        """A line for each commit or branch that could not be had."""
        return [line for each in self.replayed for line in each.lost]

    @property
    def is_settled(self) -> bool:
        """Whether the heads were moved."""
        return not self.kept

    @property
    def ids(self) -> dict[str, dict[str, str]]:
        """Repo to old id to new id."""
        return {str(each.repo): each.ids | each.appended for each in self.replayed}


def record(target: Target, report: Report) -> dict[str, object]:
    """Note a finished request in the cluster; what is noted."""
    target.ensure_project(DONE.project)
    target.ensure_repo(DONE.project, DONE.repo, "finished restore requests")
    noted = said(report)
    data = (json.dumps(noted, indent=1) + "\n").encode()
    target.put_file(DONE.project, DONE.repo, home.MASTER, f"/{report.request_id}.json", data)
    return noted


def said(report: Report) -> dict[str, object]:
    """A report as it is recorded."""
    return {
        "request": report.request_id,
        "finished_at": report.finished_at.isoformat(),
        "summary": report.summary,
        "vault": report.vault_id,
        "bytes": report.bytes,
        "seconds": report.seconds,
        "ids": report.ids,
        "lost": report.lost,
        "differences": [asdict(each) for each in report.differences],
    }


def finished(source: Source) -> list[dict[str, object]]:
    """All recorded requests, oldest first."""
    known = [json.loads(data) for data in home.files(source, DONE).values()]
    return sorted(known, key=lambda each: str(each["finished_at"]))


def is_drill(recorded: dict[str, object]) -> bool:
    """Whether a recorded request was a restore drill's."""
    repos = list(recorded["ids"]) if isinstance(recorded["ids"], dict) else []
    return bool(repos) and all(RepoName.parse(repo).project == DRILL_PROJECT for repo in repos)


def state_of(recorded: dict[str, object]) -> str:
    """The state of a recorded request, in a word."""
    return "partial" if recorded["lost"] else "different" if recorded["differences"] else "done"

"""The records of finished restores: files of repo `restored`, which no pipeline writes."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict
from datetime import datetime

from pachvault import cluster_project
from pachvault.format.ids import RepoName
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import DRILL_PROJECT, HOME_PROJECT
from pachvault.restore.restore_report import RestoreReport

DONE = RepoName(HOME_PROJECT, "restored")
"""It has a file for each request, of its newest run."""
PURPOSE = "Written by pachvault, do not upload here. It records which restore requests were carried out."
_FIELDS = {"request", "finished_at", "summary", "vault", "bytes", "seconds", "ids", "lost", "differences"}
_NAME = re.compile("/([0-9a-f]{64})[.]json")
_log = logging.getLogger(__name__)


def record(target: Target, report: RestoreReport) -> dict[str, object]:
    """Record a finished request in the cluster. Returns the record."""
    target.ensure_project(DONE.project)
    target.ensure_repo(DONE.project, DONE.repo, PURPOSE)
    content = as_record(report)
    data = (json.dumps(content, indent=1) + "\n").encode()
    target.put_file(DONE.project, DONE.repo, cluster_project.MASTER, f"/{report.request_id}.json", data)
    return content


def as_record(report: RestoreReport) -> dict[str, object]:
    """A report as it is recorded."""
    return {
        "request": report.request_id,
        "finished_at": report.finished_at.isoformat(),
        "summary": report.summary,
        "vault": report.vault_id,
        "snapshot": report.snapshot,
        "targets": report.targets,
        "bytes": report.bytes,
        "seconds": report.seconds,
        "ids": report.ids,
        "lost": report.lost,
        "differences": [asdict(difference) for difference in report.differences],
        "pipelines": report.pipelines,
        "not_restored": report.not_restored,
        "notes": report.notes,
    }


def not_carried_out(request_id: str, snapshot: str, at: datetime) -> dict[str, object]:
    """The record of a request that came back with repo `requests`: it is not carried out again."""
    return {
        "request": request_id,
        "finished_at": at.isoformat(),
        "summary": f"came back with snapshot {snapshot[:12]}: not carried out; change it to have it done",
        "came_back": True,
        "vault": "",
        "bytes": 0,
        "seconds": None,
        "ids": {},
        "lost": [],
        "differences": [],
    }


def finished(source: Source) -> list[dict[str, object]]:
    """All recorded requests, oldest first."""
    records = [_recorded(path, data) for path, data in cluster_project.files(source, DONE).items()]
    return sorted(filter(None, records), key=lambda record: str(record["finished_at"]))


def _recorded(path: str, data: bytes) -> dict[str, object] | None:
    """A record as it was written; None for a file that is no record.

    A file that has the name of a record but is unreadable still counts: its request was carried out. Both
    cases are logged.
    """
    try:
        recorded = json.loads(data)
    except (ValueError, RecursionError):
        recorded = None
    # fields added by later versions are not required: older records lack them
    if isinstance(recorded, dict) and recorded.keys() >= _FIELDS:
        return recorded
    _log.warning("%s@%s:%s is no record of a restore", DONE, cluster_project.MASTER, path)
    name = _NAME.fullmatch(path)
    if name is None:
        return None
    unreadable: dict[str, object] = {"request": name[1], "finished_at": "1970-01-01T00:00:00+00:00"}
    unreadable |= {"summary": "its record cannot be read", "vault": "", "bytes": 0, "seconds": None}
    return unreadable | {"ids": {}, "lost": [], "differences": []}


def is_drill(recorded: dict[str, object]) -> bool:
    """Whether a recorded request was a restore drill's."""
    repos = list(recorded["ids"]) if isinstance(recorded["ids"], dict) else []
    return bool(repos) and all(RepoName.parse(repo).project == DRILL_PROJECT for repo in repos)


def state_of(recorded: dict[str, object]) -> str:
    """The state of a recorded request, for listings."""
    if recorded.get("came_back"):
        return "not carried out"
    is_partial = recorded["lost"] or recorded.get("not_restored")
    return "partial" if is_partial else "different" if recorded["differences"] else "done"

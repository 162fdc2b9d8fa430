"""A whole restore from a shell: resolve, fetch, replay, check, one after the other."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache

from pachvault import home
from pachvault.errors import DamageError
from pachvault.format.ids import RepoName
from pachvault.pach.connection import Connection, connect, retrying
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT
from pachvault.processes import spread
from pachvault.progress import Progress
from pachvault.request import Request
from pachvault.restore import staging
from pachvault.restore.check import Difference, check
from pachvault.restore.replay import Replayed, replay
from pachvault.restore.resolve import resolve
from pachvault.restore.shares import Resolved
from pachvault.restore.staging import fetch
from pachvault.restore.work import FetchShare, RestorePlan
from pachvault.store.store import open_store
from pachvault.vault import blobs
from pachvault.vault.reader import BlobReader
from pachvault.vault.vault import Vault, open_vault

DONE = RepoName(HOME_PROJECT, "restored")
"""Where finished requests are recorded, outside of any pipeline's output."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a restore did."""

    request_id: str
    summary: str
    replayed: list[Replayed]
    differences: list[Difference]

    @property
    def lost(self) -> list[str]:
        """A line for each commit or branch that could not be had."""
        return [line for each in self.replayed for line in each.lost]


def plan_only(address: str, token: str | None, request: Request, vault: Vault) -> Resolved:
    """The dry run."""
    with connect(address, token) as connection:
        return resolve(request, vault, Source(connection))


def restore(
    address: str, token: str | None, request: Request, vault: Vault, progress: Progress, workers: int = 1
) -> Report:
    """Carry out a request; again after a crash, it goes on where it was."""
    with connect(address, token) as connection:
        source, target = Source(connection), Target(connection)
        progress.start("plan", 0)
        resolved = resolve(request, vault, source)
        plan = resolved.plan
        progress.say(f"plan: {plan.summary}")
        progress.start("fetch", sum(part.size_bytes for share in resolved.shares for part in share.parts))
        # every stage goes on where it was: what fails in passing is tried again as a whole
        try:
            if workers > 1 and len(resolved.shares) > 1:
                spread(_fetch, plan, resolved.shares, address, token, progress, workers)
            elif resolved.shares:
                reader = BlobReader(vault, blobs.load(vault))
                for share in resolved.shares:
                    retrying()(fetch, source, target, vault, plan, share, progress, reader)
            progress.start("replay", plan.bytes)
            replayed = retrying()(replay, source, target, vault, plan, progress)
        except DamageError:
            staging.remove(target, request.id)
            raise
        progress.start("check", plan.bytes)
        differences = check(source, vault, plan, replayed, progress)
        report = Report(request.id, plan.summary, replayed, differences)
        record(target, report)
        return report


def _fetch(connection: Connection, plan: RestorePlan, share: FetchShare, progress: Progress) -> int:
    """A share in a process of its own."""
    reader, source, target = _reader(plan.vault), Source(connection), Target(connection)
    return retrying()(fetch, source, target, reader.vault, plan, share, progress, reader)


@lru_cache(maxsize=1)
def _reader(url: str) -> BlobReader:
    """For processes that live as long as one fetch: the vault's index is loaded once, not for each share."""
    vault = open_vault(open_store(url))
    return BlobReader(vault, blobs.load(vault))


def record(target: Target, report: Report) -> dict[str, object]:
    """Note a finished request in the cluster; what is noted."""
    target.ensure_project(DONE.project)
    target.ensure_repo(DONE.project, DONE.repo, "finished restore requests")
    said: dict[str, object] = {
        "request": report.request_id,
        "finished_at": datetime.now(UTC).isoformat(),
        "summary": report.summary,
        "ids": {str(each.repo): each.ids | each.appended for each in report.replayed},
        "lost": report.lost,
        "differences": [asdict(each) for each in report.differences],
    }
    data = (json.dumps(said, indent=1) + "\n").encode()
    target.put_file(DONE.project, DONE.repo, home.MASTER, f"/{report.request_id}.json", data)
    return said


def finished(source: Source) -> list[dict[str, object]]:
    """All recorded requests, oldest first."""
    said = [json.loads(data) for data in home.files(source, DONE).values()]
    return sorted(said, key=lambda each: str(each["finished_at"]))

"""The restore drill: restores a random sample into a scratch project, compares it, and deletes it.

It runs the code of every restore, from a request to commits that are compared with the vault's tables, so it
shows that restores work. `drill_sample` chooses the files. An audit records the result.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pachvault.errors import DamageError, DeniedError, PachvaultError, PachydermError
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.maintenance.drill.drill_sample import SampleRestore, sample
from pachvault.maintenance.verify import audits
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import DRILL_PROJECT
from pachvault.request import Request
from pachvault.restore.restore import restore
from pachvault.restore.restore_report import RestoreReport
from pachvault.restore.stage import staging
from pachvault.runtime.progress import Progress
from pachvault.syntax import strict_yaml
from pachvault.vault import clock, snapshots
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024 * 1024
_SHOWN = 3
"""Of the problems of a sample, at most."""
ABANDONED_AFTER = timedelta(hours=6)
"""A drill takes minutes: an older repo in the scratch project is left from an interrupted one."""
NOTHING = "there is no file with content in snapshot"
_REQUEST = re.compile(r"request ([0-9a-f]{64})")
"""In the description of a scratch repo: the request that restores into it."""


@dataclass(slots=True)
class DrillOutcome:
    """What a drill did."""

    snapshot: str
    """Its short id."""
    results: list[AuditEntry] = field(default_factory=list)
    """Of each sample, and of each repo that cannot be read."""
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether at least one sample was restored, and all of them are equal to the source."""
        return bool(self.results) and all(sample.result == "ok" for sample in self.results)


def drill(
    address: str,
    token: str | None,
    vault: Vault,
    progress: Progress,
    *,
    seed: int | None = None,
    max_bytes: int = MAX_BYTES,
    abandoned_after: timedelta = ABANDONED_AFTER,
) -> DrillOutcome:
    """Restore a sample of the newest snapshot, and write an audit of it unless there is nothing to restore.

    Damage in the vault, and a cluster that refuses, are results. Raises UsageError where there is no
    snapshot, and PachydermError where the cluster does not answer.
    """
    began = time.monotonic()
    snapshot = snapshots.resolve(vault, "latest")
    outcome = DrillOutcome(snapshot.short_id)
    progress.start("drill", 0)
    with connect(address, token) as connection:
        source, target = Source(connection), Target(connection)
        # by age, not by name: another drill may be in progress
        clear(source, target, _now(vault) - abandoned_after)
        restores, unread = sample(snapshot, seed, max_bytes)
        outcome.results += unread
        target.ensure_project(DRILL_PROJECT, "restore drills; empty unless one is in progress")
        for sample_restore in restores:
            outcome.results.append(_restored(address, token, vault, target, sample_restore, progress))
            outcome.files += sample_restore.files_count
            outcome.bytes += sample_restore.size_bytes
    outcome.seconds = time.monotonic() - began
    if outcome.results:
        try:
            audits.record(vault, audits.DRILL, outcome.results)
        except DeniedError as error:  # a read-only vault can be drilled, too
            _log.warning("the drill's results are not recorded in the vault: %s", error)
    return outcome


def _now(vault: Vault) -> datetime:
    """The earlier of two clocks: one that is ahead must not make a drill in progress look abandoned."""
    try:
        return clock.read(vault, is_cleared=False).earlier
    except DeniedError:
        return datetime.now(UTC)


def clear(source: Source, target: Target, before: datetime) -> None:
    """Delete the repos of the scratch project that were created before that time."""
    for repo in source.repos():
        if repo.name.project == DRILL_PROJECT and repo.created_at <= before:
            _remove(target, repo.name.repo, repo.description)


def _restored(
    address: str,
    token: str | None,
    vault: Vault,
    target: Target,
    sample_restore: SampleRestore,
    progress: Progress,
) -> AuditEntry:
    """Restore a sample into a scratch repo, and delete the repo; the result of the comparison."""
    request = _request(vault, sample_restore)
    repo = str(request.to.repo)
    description = f"restore drill; request {request.id}"
    name = sample_restore.name
    try:
        # made here and not by the restore: the description names the request, so that a later drill can
        # remove what an interrupted one staged
        target.ensure_repo(DRILL_PROJECT, repo, description)
        report = restore(address, token, request, vault, progress)
        problems = _problems(report)
        return AuditEntry(name=name, result="damaged" if problems else "ok", message=problems)
    except DamageError as error:
        return AuditEntry(name=name, result="damaged", message=str(error))
    except PachvaultError as error:
        return AuditEntry(name=name, result="unreadable", message=str(error))
    finally:
        try:
            _remove(target, repo, description)
        except PachydermError as error:
            _log.warning("the drill's repo %s stays, the next drill removes it: %s", repo, error)


def _request(vault: Vault, sample_restore: SampleRestore) -> Request:
    fields: dict[str, object] = {
        "version": 1,
        "snapshot": sample_restore.snapshot,
        "vault": vault.store.url,
        "what": [f"{sample_restore.repo}@{sample_restore.commit}"],
        "paths": list(sample_restore.paths),
        "to": {"project": DRILL_PROJECT, "repo": sample_restore.scratch, "branch": "drill"},
        # the point of the drill: the cluster and the mirror may have the commit, too, and a restore would
        # prefer them
        "from": "vault",
        "verify": "full",
    }
    return strict_yaml.validate(Request, fields, "drill")


def _problems(report: RestoreReport) -> str:
    """The first differences of the restored commits from the vault, in a line; empty if there are none."""
    differences = (f"{difference.path}: {difference.message}" for difference in report.differences)
    problems = [*report.lost, *differences]
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more


def _remove(target: Target, repo: str, description: str) -> None:
    """Delete a scratch repo, and what its restore staged: that is left if the drill was interrupted."""
    match = _REQUEST.search(description)
    if match:
        staging.remove(target, match[1])
    target.delete_repo(DRILL_PROJECT, repo)

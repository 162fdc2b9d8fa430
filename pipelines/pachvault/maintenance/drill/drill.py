"""The restore drill: a random sample is restored into a scratch project, compared, removed, and noted.

The one proof that restores work: it goes the whole way that a restore goes, from a request to commits that
are compared with the vault's tables. Which files it takes is for `drill_sample` to say.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pachvault.errors import DamageError, DeniedError, PachvaultError, PachydermError
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.maintenance.drill.drill_sample import Trial, sample
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
ABANDONED_AFTER = timedelta(hours=6)
"""A drill takes minutes: what is older in the scratch project was left by one that died."""
NOTHING = "there is no file with content in snapshot"
_REQUEST = re.compile(r"request ([0-9a-f]{64})")


@dataclass(slots=True)
class Drill:
    """What a drill did."""

    snapshot: str
    """The short id."""
    results: list[AuditEntry] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether something was tried, and all of it came back as it was."""
        return bool(self.results) and all(each.result == "ok" for each in self.results)


def drill(
    address: str,
    token: str | None,
    vault: Vault,
    progress: Progress,
    *,
    seed: int | None = None,
    max_bytes: int = MAX_BYTES,
    abandoned_after: timedelta = ABANDONED_AFTER,
) -> Drill:
    """Restore a sample of the newest snapshot, and note in the vault how that went, if there is any file.

    A vault that is damaged, or a cluster that refuses, is a result. Raises UsageError where there is no
    snapshot, and PachydermError where there is no cluster to restore into.
    """
    began = time.monotonic()
    snapshot = snapshots.resolve(vault, "latest")
    done = Drill(snapshot.short_id)
    progress.start("drill", 0)
    with connect(address, token) as connection:
        source, target = Source(connection), Target(connection)
        clear(source, target, _now(vault) - abandoned_after)
        trials, unread = sample(snapshot, seed, max_bytes)
        done.results += unread
        target.ensure_project(DRILL_PROJECT, "restore drills; empty but while one is under way")
        for trial in trials:
            done.results.append(_tried(address, token, vault, target, trial, progress))
            done.files += trial.files_count
            done.bytes += trial.size_bytes
    done.seconds = time.monotonic() - began
    if done.results:
        try:
            audits.record(vault, audits.DRILL, done.results)
        except DeniedError as error:  # a vault that takes no notes is no reason for the drill to fail
            _log.warning("the drill's results are not recorded in the vault: %s", error)
    return done


def _now(vault: Vault) -> datetime:
    """The earlier of two clocks: nobody's drill that is under way is removed because one of them is ahead."""
    try:
        return clock.read(vault, is_cleared=False).earlier
    except DeniedError:
        return datetime.now(UTC)


def clear(source: Source, target: Target, before: datetime) -> None:
    """Remove from the scratch project what was made before then."""
    for repo in source.repos():
        if repo.name.project == DRILL_PROJECT and repo.created_at <= before:
            _remove(target, repo.name.repo, repo.description)


def _tried(
    address: str, token: str | None, vault: Vault, target: Target, trial: Trial, progress: Progress
) -> AuditEntry:
    request = _request(vault, trial)
    repo = str(request.to.repo)
    said = f"restore drill; request {request.id}"
    try:
        target.ensure_repo(DRILL_PROJECT, repo, said)
        report = restore(address, token, request, vault, progress)
        return AuditEntry(
            name=trial.name, result="damaged" if _problems(report) else "ok", message=_problems(report)
        )
    except DamageError as error:
        return AuditEntry(name=trial.name, result="damaged", message=str(error))
    except PachvaultError as error:
        return AuditEntry(name=trial.name, result="unreadable", message=str(error))
    finally:
        try:
            _remove(target, repo, said)
        except PachydermError as error:
            _log.warning("the drill's repo %s stays, the next drill removes it: %s", repo, error)


def _request(vault: Vault, trial: Trial) -> Request:
    fields: dict[str, object] = {
        "version": 1,
        "snapshot": trial.snapshot,
        "vault": vault.store.url,
        "what": [f"{trial.repo}@{trial.commit}"],
        "paths": list(trial.paths),
        "to": {"project": DRILL_PROJECT, "repo": trial.scratch, "branch": "drill"},
        "from": "vault",
        "verify": "full",
    }
    return strict_yaml.validate(Request, fields, "drill")


def _problems(report: RestoreReport) -> str:
    """What is not as it was, in a line; nothing where all is."""
    found = [*report.lost, *(f"{each.path}: {each.message}" for each in report.differences)]
    return _some(found)


def _some(lines: Iterable[str]) -> str:
    known = list(lines)
    more = f"; and {len(known) - 3} more" if len(known) > 3 else ""
    return "; ".join(known[:3]) + more


def _remove(target: Target, repo: str, description: str) -> None:
    """Delete a scratch repo and, where its drill died over it, what its restore staged."""
    found = _REQUEST.search(description)
    if found:
        staging.remove(target, found[1])
    target.delete_repo(DRILL_PROJECT, repo)

"""The Python interface: a backup as a task.

task = pachvault.create_backup_task("file:///mnt/backup/vault", sources=["images/*"])
snapshot = task.execute()
task.verify("packs")
report = task.recover("images/raw@master", to="images/raw-before")
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from pachvault import policy, request
from pachvault.backup.backup import back_up
from pachvault.errors import BusyError
from pachvault.format import layout
from pachvault.maintenance import reserve
from pachvault.maintenance.verify.findings import Finding
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.policy import Policy
from pachvault.request import Request
from pachvault.restore.restore import restore
from pachvault.restore.restore_report import RestoreReport
from pachvault.runtime.progress import Quiet
from pachvault.store.open_store import open_store
from pachvault.syntax import strict_yaml
from pachvault.vault import vault
from pachvault.vault.snapshots import Snapshot

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """The progress of a task at one moment. `bytes_total` is an estimate; rates are bytes a second."""

    is_running: bool
    phase: str
    """Of a backup: freeze, export or seal. Of a restore: plan, fetch, replay or check. Before the first run:
    idle. After a run: done or failed."""
    bytes_done: int
    bytes_total: int
    files_done: int
    seconds: float
    error: str | None

    @property
    def bytes_per_second(self) -> float:
        """The mean rate of the phase."""
        return self.bytes_done / self.seconds if self.seconds else 0.0


class BackupTask:
    """Backs up to one target and restores from it, any number of times. Safe to share between threads."""

    def __init__(self, chosen: Policy, pachd: str, token: str | None, workers: int) -> None:
        self.policy = chosen
        self._pachd, self._token, self._workers = pachd, token, workers
        self._progress = _WatchedProgress()
        # one thread: `_begin` refuses a second run, so none ever waits in its queue
        self._pool = ThreadPoolExecutor(1, "pachvault-task")
        self._lock = threading.Lock()
        self._run: Future[Any] | None = None

    def execute(self) -> Snapshot:
        """Back up once and wait for it. Returns the sealed snapshot, which may be partial.

        `snapshot.manifest.partial` is True if it lacks something that was chosen. Raises BusyError if the
        task runs already, NoVaultError if the target has no vault, and what the stages raise.
        """
        return self.start().result()

    def start(self) -> Future[Snapshot]:
        """Back up once in the background. Raises BusyError if the task runs already."""
        return self._begin(self._back_up)

    def recover(
        self,
        *what: str,
        snapshot: str | datetime = "latest",
        to: str | None = None,
        exists: str = "fail",
        history: str | dict[str, object] = "head",
        paths: Sequence[str] = (),
        pipelines: bool = False,
        outputs: str = "recompute",
        source: str = "auto",
        verify: str = "full",
        keep_going: bool = False,
    ) -> RestoreReport:
        """Restore `what` (project/repo@branch patterns) from the target and wait for it.

        `snapshot` is an id, the start of an id, latest, or a time, which means the newest snapshot frozen at
        or before it. `to` restores under another name: project/repo@branch, or project/. The other arguments
        are the fields of a restore request.

        `report.differences` lists restored files that differ from the vault. If there are any and
        `report.is_settled` is False, no branch was changed.

        Raises UsageError for a request that cannot be carried out, BusyError if the task runs already or
        another run carries out the same request, and DamageError for a damaged vault unless `keep_going`.
        """
        fields: dict[str, object] = {
            "version": 1,
            "what": list(what),
            "snapshot": {"at": snapshot} if isinstance(snapshot, datetime) else snapshot,
            "to": request.place(to) if to else {},
            "exists": exists,
            "history": history,
            "paths": list(paths),
            "pipelines": pipelines,
            "outputs": outputs,
            "from": source,
            "verify": verify,
            "keep_going": keep_going,
        }
        chosen = strict_yaml.validate(Request, fields, "recover")
        return self._begin(lambda: self._recover(chosen)).result()

    def is_running(self) -> bool:
        """Whether a backup or a restore of this task is in progress."""
        return self._run is not None and not self._run.done()

    def monitor(self) -> TaskStatus:
        """The progress of the task now."""
        error = None
        progress = self._progress.now()
        phase = progress.phase
        # read once: another thread may start the next run meanwhile
        run = self._run
        if run is not None and run.done():
            failure = run.exception()
            error = str(failure) if failure else None
            phase = "failed" if failure else "done"
        return TaskStatus(
            is_running=self.is_running(),
            phase=phase,
            bytes_done=progress.bytes_done,
            bytes_total=progress.bytes_total,
            files_done=progress.files_done,
            seconds=time.monotonic() - progress.began,
            error=error,
        )

    def verify(self, level: str = "structure") -> list[Finding]:
        """Check the vault at a level: structure, packs or data. Returns what is damaged."""
        return verify(vault.open_vault(open_store(self.policy.target)), Level(level), Quiet())

    def _begin(self, work: Callable[[], Result]) -> Future[Result]:
        with self._lock:
            # asked and started under one lock: two threads must not both find the task idle
            if self.is_running():
                raise BusyError("this task runs already", where=self.policy.target)
            run = self._pool.submit(work)
            self._run = run
            return run

    def _recover(self, chosen: Request) -> RestoreReport:
        target = vault.open_vault(open_store(self.policy.target))
        return restore(self._pachd, self._token, chosen, target, self._progress, self._workers)

    def _back_up(self) -> Snapshot:
        return back_up(self._pachd, self._token, self.policy, self._progress, self._workers)


def create_backup_task(
    target: str,
    *,
    sources: Sequence[str] = ("*/*",),
    exclude: Sequence[str] = (),
    history: str | dict[str, object] = "all",
    create: bool = False,
    pachd: str = "grpc://127.0.0.1:30650",
    token: str | None = None,
    workers: int = 1,
) -> BackupTask:
    """A task that backs up `sources` (project/repo@branch patterns) to `target` (a URL).

    With `create`, a vault is created in a target that has none. Without it, a missing vault is an error when
    the task runs, because the target may be a mount that is absent. `pachd` is the address of the cluster.
    Raises UsageError for a bad pattern or target.
    """
    store = open_store(target)
    # an existing vault is used as it is: `vault.create` refuses a place that has one
    if create and not (store.exists() and store.stat(layout.CONFIG)):
        reserve.fill(vault.create(store))
    fields = {
        "version": 1,
        "target": target,
        "sources": list(sources),
        "exclude": list(exclude),
        "history": history,
    }
    return BackupTask(policy.without_name(fields, "create_backup_task"), pachd, token, workers)


@dataclass(frozen=True, slots=True)
class _Counts:
    """The progress of a phase."""

    phase: str
    bytes_total: int
    began: float
    bytes_done: int = 0
    files_done: int = 0


class _WatchedProgress(Quiet):
    """Progress that shows nothing, and that other threads can read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = _Counts("idle", 0, time.monotonic())

    def now(self) -> _Counts:
        """The counts at this moment."""
        # no lock: the counts are one immutable value, which is replaced as a whole
        return self._counts

    def start(self, what: str, total_bytes: int) -> None:
        """See Progress.start."""
        with self._lock:
            self._counts = _Counts(what, total_bytes, time.monotonic())

    def add(self, size: int, files: int) -> None:
        """See Progress.add."""
        with self._lock:
            # under the lock: threads that add at once would lose counts otherwise
            before = self._counts
            self._counts = replace(
                before, bytes_done=before.bytes_done + size, files_done=before.files_done + files
            )

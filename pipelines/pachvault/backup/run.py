"""A whole backup from a shell: the three stages one after the other, shares over processes."""

from __future__ import annotations

import multiprocessing
import queue
import secrets
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pachvault.backup.export import export_share
from pachvault.backup.freeze import Frozen, freeze
from pachvault.backup.seal import seal
from pachvault.backup.work import Receipt, Share
from pachvault.errors import PachvaultError
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import Policy
from pachvault.progress import Progress, Quiet
from pachvault.store.store import open_store
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import open_vault


def new_run_id() -> str:
    """An id for a run from a shell; in a worker the job's id serves."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def back_up(address: str, token: str | None, policy: Policy, progress: Progress, workers: int) -> Snapshot:
    """Freeze, export and seal. See the stages for what they raise."""
    vault = open_vault(open_store(policy.target))
    with connect(address, token) as connection:
        progress.start("freeze", 0)
        source = Source(connection)
        frozen = freeze(source, Target(connection), vault, policy=policy, run_id=new_run_id())
        progress.say(f"frozen: {frozen.plan.summary}")
        progress.start("export", frozen.plan.expected_bytes)
        if workers <= 1 or len(frozen.shares) <= 1:
            receipts = [export_share(source, vault, share, progress) for share in frozen.shares]
        else:
            receipts = _in_processes(address, token, frozen, progress, workers)
        progress.start("seal", 0)
        return seal(vault, frozen.plan, receipts)


def _in_processes(
    address: str, token: str | None, frozen: Frozen, progress: Progress, workers: int
) -> list[Receipt]:
    # spawn: a forked child would share the parent's gRPC channel
    context = multiprocessing.get_context("spawn")
    with _relayed(context, progress) as reports:
        pool = ProcessPoolExecutor(
            min(workers, len(frozen.shares)), context, _begin, (address, token, reports)
        )
        with pool:
            try:
                with _uninterruptible():
                    receipts = pool.map(_export, frozen.shares)
                return list(receipts)
            except BaseException as error:
                # a share may take minutes: nobody waits for it once the run has failed
                for process in list((pool._processes or {}).values()):
                    process.terminate()
                pool.shutdown(wait=False, cancel_futures=True)
                if isinstance(error, BrokenProcessPool):
                    raise PachvaultError(
                        "a worker process ended before its time",
                        hint="was memory short? fewer --workers need less",
                    ) from error
                raise


@contextmanager
def _uninterruptible() -> Iterator[None]:
    """Processes started in here leave Ctrl-C to the one that started them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no thread but the main one is interrupted, or may set what is
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _relayed(context: Any, progress: Progress) -> Iterator[Any]:
    """A queue whose reports reach `progress`."""
    reports = context.Queue()
    done = threading.Event()

    def relay() -> None:
        while not (done.is_set() and reports.empty()):
            try:
                progress.add(*reports.get(timeout=0.2))
            except queue.Empty:
                continue

    thread = threading.Thread(target=relay, name="progress", daemon=True)
    thread.start()
    try:
        yield reports
    finally:
        done.set()
        thread.join()


class _Reports(Quiet):
    """Progress in a child: sums handed to the parent."""

    def __init__(self, reports: Any) -> None:
        self._reports = reports
        self._size = self._files = 0

    def add(self, size: int, files: int) -> None:
        """See Progress.add."""
        self._size += size
        self._files += files
        if self._size > 1_000_000 or self._files > 1000:
            self.pass_on()

    def pass_on(self) -> None:
        """Hand over what has come together."""
        self._reports.put((self._size, self._files))
        self._size = self._files = 0


_child: dict[str, Any] = {}


def _begin(address: str, token: str | None, reports: Any) -> None:
    _child.update(source=Source(connect(address, token)), progress=_Reports(reports))


def _export(share: Share) -> Receipt:
    vault = open_vault(open_store(share.target))
    receipt = export_share(_child["source"], vault, share, _child["progress"])
    _child["progress"].pass_on()
    return receipt

"""The shares of a run from a shell, spread over processes: each with a connection of its own."""

from __future__ import annotations

import logging
import multiprocessing
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from pachvault.errors import PachvaultError
from pachvault.pach.connection import Connection, connect
from pachvault.runtime import allocator, logs
from pachvault.runtime.logs import ChildLog
from pachvault.runtime.progress import Progress, Quiet

Item = TypeVar("Item")
Common = TypeVar("Common")
Result = TypeVar("Result")


def spread(
    work: Callable[[Connection, Common, Item, Progress], Result],
    common: Common,
    items: Sequence[Item],
    address: str,
    token: str | None,
    progress: Progress,
    workers: int,
) -> list[Result]:
    """The results of `work` for each item, in order. `work` is a function of a module; all else is pickled.

    The first failure ends them all. Raises what `work` raises, and PachvaultError where a process ends
    before its time.
    """
    # spawn: a forked child would share the parent's gRPC channel
    context = multiprocessing.get_context("spawn")
    with _relayed(context, progress) as reports:
        given = (address, token, reports, logs.ChildLog.of_this_process(), work, common)
        with ProcessPoolExecutor(min(workers, len(items)), context, _begin, given) as pool:
            try:
                with _uninterruptible():
                    # map submits all items at once, and that starts the processes: later ones are not needed
                    results = pool.map(_carry_out, items)
                return list(results)
            except BaseException as error:
                # a share may take minutes: do not wait for it once the run has failed
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
    """Processes that are started in this block ignore Ctrl-C; their parent handles it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted, and may set a signal handler
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _relayed(context: Any, progress: Progress) -> Iterator[Any]:
    """A queue whose reports reach `progress`, and whose log records reach the loggers of this process."""
    reports = context.Queue()
    ended = threading.Event()

    def relay() -> None:
        while not (ended.is_set() and reports.empty()):
            try:
                report = reports.get(timeout=0.2)
            except queue.Empty:
                continue
            if isinstance(report, logging.LogRecord):
                logs.relay(report)
            else:
                progress.add(*report)

    thread = threading.Thread(target=relay, name="progress", daemon=True)
    thread.start()
    try:
        yield reports
    finally:
        ended.set()
        thread.join()


class _Reports(Quiet):
    """Progress in a child: sums sent to the parent."""

    def __init__(self, reports: Any) -> None:
        self._reports = reports
        self._size = self._files = 0
        self._lock = threading.Lock()

    def add(self, size: int, files: int) -> None:
        """See Progress.add."""
        with self._lock:
            self._size += size
            self._files += files
            is_worth_it = self._size > 1_000_000 or self._files > 1000
        if is_worth_it:
            self.pass_on()

    def pass_on(self) -> None:
        """Send the sums so far."""
        with self._lock:
            sums = self._size, self._files
            self._size = self._files = 0
        self._reports.put(sums)


_child: dict[str, Any] = {}


def _begin(address: str, token: str | None, reports: Any, log: ChildLog, work: Any, common: Any) -> None:
    allocator.share()
    log.send_to(reports)
    _child.update(connection=connect(address, token), progress=_Reports(reports), work=work, common=common)


def _carry_out(item: Any) -> Any:
    result = _child["work"](_child["connection"], _child["common"], item, _child["progress"])
    _child["progress"].pass_on()
    return result

"""Requests to object stores from any thread, each of which an interrupt ends at once.

A blocking call into obstore cannot be interrupted. So requests run on one event loop, in a thread of its
own, and the callers wait for their results.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from pachvault.errors import StoreError
from pachvault.store.interrupts import on_interrupt

Answer = TypeVar("Answer")


class _Loop:
    """An event loop in a daemon thread, and the requests that run on it."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._pending: set[Future[Any]] = set()
        threading.Thread(target=self._loop.run_forever, name="store requests", daemon=True).start()

    def run(self, request: Callable[[], Awaitable[Answer]]) -> Answer:
        """The result of a request. StoreError where it was cancelled."""

        async def awaited() -> Answer:
            return await request()

        running: Coroutine[Any, Any, Answer] = awaited()
        future = asyncio.run_coroutine_threadsafe(running, self._loop)
        self._pending.add(future)
        try:
            return future.result()
        except CancelledError:
            raise StoreError("interrupted") from None
        finally:
            future.cancel()
            self._pending.discard(future)

    def cancel(self) -> None:
        """End every request."""
        for future in list(self._pending):
            future.cancel()


_lock = threading.Lock()
_loops: list[_Loop] = []


def run(request: Callable[[], Awaitable[Answer]]) -> Answer:
    """Send a request, given as a function that starts it, and wait for its result."""
    with _lock:
        # a forked process has no thread but its own
        if not _loops or _loops[0].process != os.getpid():
            _loops[:] = [_Loop()]
        loop = _loops[0]
    return loop.run(request)


def _cancel() -> None:
    for loop in _loops:
        loop.cancel()


on_interrupt(_cancel)

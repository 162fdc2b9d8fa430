"""Ctrl-C while threads wait for answers: what they wait for is ended, then KeyboardInterrupt is raised."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

_callbacks: list[Callable[[], None]] = []


def on_interrupt(callback: Callable[[], None]) -> None:
    """Have `callback` called at each Ctrl-C, once `install` was called. It must not block."""
    _callbacks.append(callback)


def install() -> None:
    """Take over SIGINT. For the command's entry point alone.

    Without it only the main thread learns of a Ctrl-C, and then waits for the pools of its threads to end.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for callback in _callbacks:
        callback()
    signal.default_int_handler(number, frame)

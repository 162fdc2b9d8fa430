"""How the process asks the system for memory, and when it gives it back (glibc's mallopt, malloc.h)."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_ARENAS = 2
_SMALL, _LARGE = 256 * 1024, 32 * 1024 * 1024


class _Owned:
    """Whether this process is ours, and how many are within `returning`."""

    def __init__(self) -> None:
        self.is_ours = False
        self.depth = 0
        self.lock = threading.Lock()


_process = _Owned()


def share() -> None:
    """Let all threads, and Arrow, share two heaps. For the entry points of processes of our own alone.

    To be called before there are threads and before Arrow. A program that imports pachvault keeps its
    allocator as it is: without this call nothing in this module does anything.

    glibc gives each thread a heap of its own, eight for each core, and Arrow brings another allocator; what
    is freed in one is not used in the others: a backup's buffers of megabytes, made by one thread and
    dropped by another, took a quarter more memory. Where there is no glibc its part is left out.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read when Arrow is imported
    _process.is_ours = True
    _set(_M_ARENA_MAX, _ARENAS)


@contextmanager
def returning() -> Iterator[None]:
    """Within it, freed memory goes back to the system at once, but for small pieces.

    Only in a process of our own (`share`). May be entered by several threads, and again within itself: the
    last one out sets it back.

    For work that needs many buffers of some megabytes for a moment, before what needs few for long. As a rule
    it does not pay: each new buffer is then zeroed by the system, which takes a backup a sixth more time.
    """
    if not _process.is_ours:
        yield
        return
    with _process.lock:
        _process.depth += 1
        if _process.depth == 1:
            _set(_M_MMAP_THRESHOLD, _SMALL)
    try:
        yield
    finally:
        with _process.lock:
            _process.depth -= 1
            if not _process.depth:
                # as glibc has them by itself once large buffers were freed
                _set(_M_MMAP_THRESHOLD, _LARGE)
                _set(_M_TRIM_THRESHOLD, 2 * _LARGE)


def _set(what: int, value: int) -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(what, value)

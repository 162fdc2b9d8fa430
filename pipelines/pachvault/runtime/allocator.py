"""How the process asks the system for memory, and when it gives it back (glibc's mallopt, malloc.h)."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_ARENAS = 2
# _LARGE is the most to which glibc raises its threshold by itself on 64-bit systems
_SMALL, _LARGE = 256 * 1024, 32 * 1024 * 1024


class _Owned:
    """Whether this process is ours, and how many are within `returning`."""

    def __init__(self) -> None:
        self.is_ours = False
        self.depth = 0
        self.lock = threading.Lock()


_process = _Owned()


def share() -> None:
    """Let all threads, and Arrow, share two heaps. Only for processes that pachvault starts.

    Call it before threads are started and before Arrow is imported. A program that imports pachvault keeps
    its allocator: without this call nothing in this module has an effect.

    glibc gives each thread a heap of its own, up to eight for each core, and Arrow has another allocator.
    Memory that is freed in one heap is not reused in another. A backup allocates buffers of megabytes in
    one thread and frees them in another: it took a quarter more memory. Without glibc only Arrow's
    allocator is chosen.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read when Arrow is imported
    _process.is_ours = True
    _set(_M_ARENA_MAX, _ARENAS)


@contextmanager
def returning() -> Iterator[None]:
    """While the block runs, freed memory goes back to the system at once, except small pieces.

    Only in a process that called `share`. Several threads may enter it, and it may be nested: the last exit
    restores the settings.

    Use it for work that needs many buffers of some megabytes for a moment, before work that needs few for
    long. As a rule it does not pay: the system zeroes each new buffer, which makes a backup a sixth slower.
    """
    if not _process.is_ours:
        yield
        return
    with _process.lock:
        _process.depth += 1
        if _process.depth == 1:
            # setting it turns off that glibc adjusts it: so both values are set again at the end
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

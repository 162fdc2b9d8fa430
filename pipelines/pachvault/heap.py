"""How the process asks the system for memory, and when it gives it back (glibc's mallopt, malloc.h)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_ARENAS = 2
_SMALL, _LARGE = 256 * 1024, 32 * 1024 * 1024


def share() -> None:
    """Let all threads, and Arrow, share two heaps. To be called before there are threads and before Arrow.

    glibc gives each thread a heap of its own, eight for each core, and Arrow brings another allocator; what
    is freed in one is not used in the others: a backup's buffers of megabytes, made by one thread and
    dropped by another, took a quarter more memory. Where there is no glibc its part is left out.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read when Arrow is imported
    _set(_M_ARENA_MAX, _ARENAS)


@contextmanager
def returning() -> Iterator[None]:
    """Within it, freed memory goes back to the system at once, but for small pieces.

    For work that needs many buffers of some megabytes for a moment, before what needs few for long. As a rule
    it does not pay: each new buffer is then zeroed by the system, which takes a backup a sixth more time.
    """
    _set(_M_MMAP_THRESHOLD, _SMALL)
    try:
        yield
    finally:
        # as glibc has them by itself once large buffers were freed
        _set(_M_MMAP_THRESHOLD, _LARGE)
        _set(_M_TRIM_THRESHOLD, 2 * _LARGE)


def _set(what: int, value: int) -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(what, value)

"""The C library's heap: how many of them a process has."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8  # malloc.h of glibc
_ARENAS = 2


def share() -> None:
    """Let all threads share two heaps. To be called before there are threads.

    glibc gives each thread a heap of its own, eight for each core, and what is freed in one is not used
    in the others: a backup's buffers of megabytes, made by one thread and dropped by another, took a quarter
    more memory. Where there is no glibc nothing happens.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)

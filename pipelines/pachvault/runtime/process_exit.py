"""How the command's process ends: as usual, but without the interpreter's teardown.

gRPC serves open calls by daemon threads. The teardown stops them wherever they are, also while they hold a
lock or run C++ code, and then collects what is left. With calls open at the exit, about one of ten
processes waited for ever in the `__del__` of a call, for the lock of a stopped thread (grpcio 1.85, Python
3.11). Without open calls none of 800 did. An interruption may leave calls open, so the last exit function
ends the process before the teardown, when all other threads and exit functions have ended.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn


class ProcessExit:
    """Ends the process after its threads and all exit functions, and before the interpreter's teardown.

    To be made before anything registers an exit function: they are called in reverse order. For the command's
    entry point alone.
    """

    def __init__(self) -> None:
        self._code = 1
        """Of a process that ends in another way than by `leave`: an exception was not caught."""
        atexit.register(self._end)

    def leave(self, code: int) -> NoReturn:
        """End the process with this exit code."""
        self._code = code
        sys.exit(code)

    def _end(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(self._code)

"""How the command's process ends: as usual, but for the interpreter's own teardown.

Threads of native libraries (gRPC's, Arrow's) may still run when the interpreter tears itself down. One that
asks for the interpreter then is ended by it in the midst of C++ code, which aborts the process: the command
would have done its work and end with signal 6. So the last exit function ends the process before that.
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

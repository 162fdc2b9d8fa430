"""The branches of a restore that nobody subscribes to: what they are called.

A commit on a branch starts the jobs of all that subscribe to it; on these nobody does.
"""

from __future__ import annotations

import re

_REPLAY = "pachvault-replay-"
_DIFFERS = "pachvault-differs-"
_NAME = re.compile(rf"{_REPLAY}(?P<request>[0-9a-f]{{12}})-")


def replayed(request_id: str) -> str:
    """How the names of the branches begin on which a request's commits are made; they go with it."""
    return f"{_REPLAY}{request_id[:12]}-"


def differing(request_id: str) -> str:
    """How the names of the branches begin that keep what a request made and what is not what it was."""
    return f"{_DIFFERS}{request_id[:12]}-"


def request_of(branch: str) -> str | None:
    """The request (12 digits of its id) of a branch on which commits are made; None for any other branch."""
    match = _NAME.match(branch)
    return match["request"] if match else None

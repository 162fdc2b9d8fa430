"""The names of the working branches of a restore.

A commit on a branch starts the jobs of the pipelines that subscribe to it. None subscribes to these.
"""

from __future__ import annotations

import re

from pachvault.pach.records import CommitInfo

_REPLAY = "pachvault-replay-"
_DIFFERS = "pachvault-differs-"
_NAME = re.compile(rf"{_REPLAY}(?P<request>[0-9a-f]{{12}})-")


def replayed(request_id: str) -> str:
    """The prefix of the branches that a request's commits are made on; they are deleted with the request."""
    return f"{_REPLAY}{request_id[:12]}-"


def differing(request_id: str) -> str:
    """The prefix of the branches that keep commits which differ from what they should be."""
    return f"{_DIFFERS}{request_id[:12]}-"


def request_of(branch: str) -> str | None:
    """The request (12 digits of its id) whose commits are made on a branch; None for any other branch."""
    match = _NAME.match(branch)
    return match["request"] if match else None


def holds_nothing(head: CommitInfo) -> bool:
    """Whether a head is the empty commit that Pachyderm makes where a pipeline reads a branch without one."""
    return head.origin == "auto" and head.parent is None and not head.size_bytes

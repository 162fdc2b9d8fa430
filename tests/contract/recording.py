"""Observations: what a test saw of the server, as plain JSON, compared with what the real one answered.

An observation holds no id, time, content hash or project name, only stable placeholders for them, so that
equal placeholders mean equal values. It is not a transcript: a test puts into it only what matters.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

Json = Any

# The longest first: a file's hash holds what looks like a commit's id.
_PLACEHOLDERS = re.compile(
    r"(?P<hash>\b[0-9a-f]{64}\b)"
    r"|(?P<id>\b[0-9a-f]{32}\b)"
    r"|(?P<time>\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)"
    r"|(?P<project>\bcontract-[0-9a-f]{10}\b)"
)

# Of an error's message only these count: what it is about, never how it is put.
_GISTS = (
    "already exists",
    "ambiguous",
    "does not exist",
    "finished",
    "globbing",
    "invalid",
    "not allowed",
    "not been activated",
    "not found",
    "not activated",
    "printable",
    "provenance",
    "unknown field",
)


@dataclass(slots=True)
class Normaliser:
    """Replaces what differs from run to run by numbered placeholders, in order of appearance."""

    seen: dict[str, str] = field(default_factory=dict)

    def __call__(self, value: Json) -> Json:
        if isinstance(value, dict):
            return {self(key): self(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self(item) for item in value]
        if isinstance(value, str):
            return _PLACEHOLDERS.sub(self._placeholder, value)
        return value

    def _placeholder(self, match: re.Match[str]) -> str:
        kind, text = str(match.lastgroup), match.group()
        if text not in self.seen:
            number = 1 + sum(placeholder.startswith(f"<{kind} ") for placeholder in self.seen.values())
            self.seen[text] = f"<{kind} {number}>"
        return self.seen[text]


@dataclass(frozen=True, slots=True)
class Recording:
    """One test's recorded observation; calling it compares, or writes when recording.

    `path` is that of the server's version. It is there only where the answer differs from that of `base`.
    """

    path: Path
    base: Path
    writes: bool

    def __call__(self, observation: Json) -> None:
        text = json.dumps(Normaliser()(observation), indent=1, sort_keys=False, ensure_ascii=True) + "\n"
        if self.writes:
            self._write(text)
        file = self.path if self.path.exists() else self.base
        recorded = json.loads(file.read_text(encoding="ascii"))
        assert json.loads(text) == recorded

    def _write(self, text: str) -> None:
        if self.path != self.base and self.base.exists() and self.base.read_text(encoding="ascii") == text:
            self.path.unlink(missing_ok=True)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(text, encoding="ascii")


def refusal(call: Callable[..., object], *given: object, **named: object) -> str:
    """How a call is refused: its status, and what its message is about; "OK" when it is not."""
    try:
        result = call(*given, **named)
        if isinstance(result, Iterator):
            deque(result, maxlen=0)
    except grpc.RpcError as error:
        message = str(error.details()).lower()
        gist = ", ".join(gist for gist in _GISTS if gist in message)
        return f"{error.code().name}: {gist}" if gist else str(error.code().name)
    return "OK"

"""Fault injection: calls fail, break off, end early or wait, as rules in a file of the state folder define.

`STATE/faults.json` holds a list of rules and is read again whenever it changes:

    [{"method": "GetFileTAR", "nth": 3, "times": 1, "cut_after_bytes": 1000000},
     {"method": "ListRepo", "nth": 1, "code": "UNAVAILABLE", "message": "try later"}]

A rule counts the calls of its method (those whose request's text contains `match`, where given)
since the file was written, and applies from the `nth` on to `times` calls. Tests use it to see what clients
do when a server misbehaves.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import BytesValue

FILE_NAME = "faults.json"

_BYTE_STREAMS = {"GetFile", "GetFileTAR"}  # whose messages can be cut anywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of the fault file."""

    method: str
    nth: int = 1
    times: int = 1
    match: str = ""
    code: str = ""
    message: str = "injected fault"
    cut_after_bytes: int | None = None
    end_early: bool = False
    delay_seconds: float = 0.0


@dataclass(slots=True)
class _Armed:
    rule: Rule
    calls: int = 0

    def strikes(self) -> bool:
        """Count one call and return whether it fails."""
        self.calls += 1
        return self.rule.nth <= self.calls < self.rule.nth + self.rule.times


@dataclass(slots=True)
class Faults:
    """The rules of one state folder. Without a file, nothing ever fails."""

    state: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stamp: tuple[int, int, int] | None = None
    _armed: list[_Armed] = field(default_factory=list)

    def strike(self, method: str, request_text: Callable[[], str]) -> Rule | None:
        """The rule that applies to this call, if any; every rule of the method counts the call."""
        with self._lock:
            self._reload()
            struck = None
            for armed in self._armed:
                if armed.rule.method != method:
                    continue
                if armed.rule.match and armed.rule.match not in request_text():
                    continue
                if armed.strikes() and struck is None:
                    struck = armed.rule
            return struck

    def _reload(self) -> None:
        try:
            status = (self.state / FILE_NAME).stat()
        except FileNotFoundError:
            self._armed, self._stamp = [], None
            return
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._stamp:
            return
        text = (self.state / FILE_NAME).read_text(encoding="utf-8")
        self._armed = [_Armed(Rule(**entry)) for entry in json.loads(text or "[]")]
        self._stamp = stamp


def before(rule: Rule | None, context: grpc.ServicerContext) -> None:
    """Apply a rule before the call is served: wait, or refuse the call."""
    if rule is None:
        return
    if rule.delay_seconds:
        time.sleep(rule.delay_seconds)
    if rule.code and rule.cut_after_bytes is None:
        context.abort(grpc.StatusCode[rule.code], rule.message)


def during(rule: Rule | None, messages: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    """The stream as the client gets it: complete, broken off, or ended too early with OK."""
    if rule is None or (rule.cut_after_bytes is None and not rule.end_early):
        yield from messages
        return
    limit = rule.cut_after_bytes or 0
    sent_bytes = 0
    for message in messages:
        data = message if isinstance(message, bytes) else message.SerializeToString()
        if sent_bytes + len(data) > limit:
            if rule.method in _BYTE_STREAMS and sent_bytes < limit:
                yield _shortened(data, limit - sent_bytes)
            break
        sent_bytes += len(data)
        yield data
    if not rule.end_early:
        context.abort(grpc.StatusCode[rule.code or "UNAVAILABLE"], rule.message)


def _shortened(message: bytes, size: int) -> bytes:
    """The beginning of a message of plain bytes."""
    value = BytesValue.FromString(message).value
    return bytes(BytesValue(value=value[:size]).SerializeToString())

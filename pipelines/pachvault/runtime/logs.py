"""Log records: how the command writes them, and what they carry.

Every module logs through `logging.getLogger(__name__)`; `context` adds run, source and stage, to which
a record belongs. A handler is installed by the command alone (`to_stderr`). A program that imports pachvault
configures the logger `pachvault` itself, and may use `ContextFilter` to get the fields.

Levels: a warning is something that an operator should look at and that no result reports. What a result or a
snapshot notes as well, what was decided, retried or skipped is an info.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pachvault.runtime.terminal import printable

if TYPE_CHECKING:
    from tenacity import RetryCallState

ROOT = "pachvault"
FIELDS = ("run", "source", "stage")
_REDACTED = "[redacted]"
_URL_PASSWORD = re.compile(r"(?<=://)[^/\s@]+@")

_context: ContextVar[Mapping[str, str]] = ContextVar("pachvault_log_context")


@contextmanager
def context(**fields: str) -> Iterator[None]:
    """Records of this thread carry these fields (`FIELDS`) while it lasts. May be nested."""
    unknown = fields.keys() - set(FIELDS)
    if unknown:
        raise TypeError(f"not a field of log records: {', '.join(sorted(unknown))}")
    # a new dictionary: a mutable one would be shared with what the context was copied to
    token = _context.set({**_context.get({}), **fields})
    try:
        yield
    finally:
        _context.reset(token)


class ContextFilter(logging.Filter):
    """Gives each record the attributes `run`, `source` and `stage`; empty where they are not known."""

    def __init__(self, **process_fields: str) -> None:
        super().__init__()
        self.process_fields = process_fields
        """What holds for all threads of the process, unless a thread's context has another value."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter. Every record passes; one of another process keeps the fields that it has."""
        # threads of a pool begin with an empty context: for them the fields of the process count
        fields = {**self.process_fields, **_context.get({})}
        for name in FIELDS:
            setattr(record, name, getattr(record, name, "") or fields.get(name, ""))
        return True


class LogOutput(logging.Handler):
    """Writes records to standard error: lines for people, or JSON lines in a worker.

    Values of `secrets` and the user part of URLs are replaced. Where standard error fails the work continues.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = [secret for secret in secrets if secret]
        self._fields = ContextFilter()
        self.addFilter(self._fields)
        self.is_json = False

    def use_verbose(self) -> None:
        """Write what is decided, retried and skipped, too."""
        logging.getLogger(ROOT).setLevel(logging.INFO)

    def use_json(self, *, run: str, stage: str) -> None:
        """Write a JSON object a line, for a worker: all its threads belong to this run and stage."""
        self.is_json = True
        self._fields.process_fields = {"run": run, "stage": stage}
        self.use_verbose()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        with suppress(OSError):
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        return self._json(record) if self.is_json else self._line(record)

    def _line(self, record: logging.LogRecord) -> str:
        return printable(f"{ROOT}: {self._redacted(' '.join(record.getMessage().split()))}")

    def _json(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redacted(record.getMessage()),
            **{name: getattr(record, name) for name in FIELDS if getattr(record, name)},
        }
        if record.exc_info:
            entry["traceback"] = self._redacted(logging.Formatter().formatException(record.exc_info))
        return json.dumps(entry)

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _REDACTED)
        return _URL_PASSWORD.sub(f"{_REDACTED}@", text)


@contextmanager
def to_stderr(secrets: Iterable[str] = ()) -> Iterator[LogOutput]:
    """Write pachvault's records to standard error while it lasts: warnings, a line each. For the command."""
    logger = logging.getLogger(ROOT)
    level = logger.level
    output = LogOutput(secrets)
    logger.addHandler(output)
    logger.setLevel(logging.WARNING)
    try:
        yield output
    finally:
        logger.removeHandler(output)
        logger.setLevel(level)


@dataclass(frozen=True, slots=True)
class ChildLog:
    """What a worker process needs to log as the process that started it does. Pickles."""

    level: int
    fields: Mapping[str, str]

    @classmethod
    def of_this_process(cls) -> ChildLog:
        """The level of this process and the context of this thread."""
        return cls(logging.getLogger(ROOT).getEffectiveLevel(), dict(_context.get({})))

    def send_to(self, records: Any) -> None:
        """In the child: send all records to a queue. The parent calls `relay` for each."""
        from logging.handlers import QueueHandler  # noqa: PLC0415  (imports sockets; most commands do without)

        handler = QueueHandler(records)
        handler.addFilter(ContextFilter(**self.fields))
        logger = logging.getLogger(ROOT)
        logger.addHandler(handler)
        logger.setLevel(self.level)


def relay(record: logging.LogRecord) -> None:
    """Log a record of a child in this process."""
    logging.getLogger(record.name).handle(record)


def retries(logger: logging.Logger) -> Callable[[RetryCallState], None]:
    """What tenacity calls before it waits for the next attempt: logs the reason."""

    def log_retry(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        seconds = state.next_action.sleep if state.next_action else 0.0
        logger.info("attempt %d failed, the next is in %.1f s: %s", state.attempt_number, seconds, error)

    return log_retry


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

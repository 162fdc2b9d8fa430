"""The SQLite database of the file system's metadata: one connection, transactions, waiting for changes.

WAL with synchronous=NORMAL: SQLite's file stays consistent whatever happens, and a killed process
loses nothing, since what it committed is in the kernel's page cache; only a power cut may take the
last transactions, never tear one. File content is synced before a transaction that names it.

It knows no branch and no commit; those modules bring their SQL.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS project (
  name TEXT PRIMARY KEY, description TEXT NOT NULL, created INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS repo (
  id INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL,
  description TEXT NOT NULL, created INTEGER NOT NULL, UNIQUE (project, name, type));
CREATE TABLE IF NOT EXISTS branch (
  id INTEGER PRIMARY KEY AUTOINCREMENT, repo INTEGER NOT NULL, name TEXT NOT NULL, head INTEGER,
  "trigger" BLOB, created INTEGER NOT NULL, UNIQUE (repo, name));
CREATE TABLE IF NOT EXISTS branch_provenance (
  branch INTEGER NOT NULL, upstream INTEGER NOT NULL, PRIMARY KEY (branch, upstream));
CREATE INDEX IF NOT EXISTS branch_provenance_upstream ON branch_provenance (upstream);
CREATE TABLE IF NOT EXISTS "commit" (
  id INTEGER PRIMARY KEY AUTOINCREMENT, repo INTEGER NOT NULL, set_id TEXT NOT NULL, branch INTEGER,
  origin INTEGER NOT NULL, description TEXT NOT NULL, parent INTEGER, started INTEGER NOT NULL,
  finishing INTEGER, finished INTEGER, error TEXT NOT NULL DEFAULT '', size INTEGER,
  diff TEXT NOT NULL DEFAULT '[]', total TEXT, UNIQUE (repo, set_id));
CREATE INDEX IF NOT EXISTS commit_parent ON "commit" (parent);
CREATE INDEX IF NOT EXISTS commit_set ON "commit" (set_id);
CREATE INDEX IF NOT EXISTS commit_finishing ON "commit" (id) WHERE finishing IS NOT NULL AND finished IS NULL;
CREATE TABLE IF NOT EXISTS commit_provenance (
  "commit" INTEGER NOT NULL, upstream INTEGER NOT NULL, PRIMARY KEY ("commit", upstream));
CREATE INDEX IF NOT EXISTS commit_provenance_upstream ON commit_provenance (upstream);
CREATE TABLE IF NOT EXISTS layer (
  id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB NOT NULL, segments TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fileset (
  id TEXT PRIMARY KEY, layers TEXT NOT NULL, expires INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS metadata (
  kind TEXT NOT NULL, object, value TEXT NOT NULL, PRIMARY KEY (kind, object)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

WAIT_SECONDS = 0.5


def now_ns() -> int:
    """The time, to the microsecond that Pachyderm keeps."""
    return time.time_ns() // 1000 * 1000


def new_id() -> str:
    """A commit set's or file set's id."""
    return uuid.uuid4().hex


@dataclass(slots=True)
class Transaction:
    """One change: everything it makes shares an id and a time, and it propagates at its end."""

    sql: sqlite3.Connection
    set_id: str = field(default_factory=new_id)
    time: int = field(default_factory=now_ns)
    moved_branches: list[int] = field(default_factory=list)


class Database:
    """The connection, its lock, and who waits for a change."""

    def __init__(self, path: Path) -> None:
        self._sql = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._sql.execute("PRAGMA journal_mode=WAL")
        self._sql.execute("PRAGMA synchronous=NORMAL")
        self._sql.execute("PRAGMA cache_size=-65536")
        self._sql.executescript(SCHEMA)
        self._changed = threading.Condition(threading.RLock())
        self._in_transaction = False
        self.before_commit: list[Callable[[Transaction], None]] = []

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A consistent view: nobody writes meanwhile."""
        with self._changed:
            yield self._sql

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """All or nothing; whoever waits is woken after it."""
        with self._changed:
            if self._in_transaction:
                raise RuntimeError("a transaction inside a transaction")
            self._in_transaction = True
            transaction = Transaction(self._sql)
            self._sql.execute("BEGIN IMMEDIATE")
            try:
                yield transaction
                for hook in self.before_commit:
                    hook(transaction)
            except BaseException:
                self._sql.execute("ROLLBACK")
                raise
            else:
                self._sql.execute("COMMIT")
                self._changed.notify_all()
            finally:
                self._in_transaction = False

    def wait_until(
        self, look_for: Callable[[sqlite3.Connection], T | None], active: Callable[[], bool]
    ) -> T | None:
        """What `look_for` finds, looked for again after every change; nothing if the caller went away."""
        with self._changed:
            while True:
                result = look_for(self._sql)
                if result is not None or not active():
                    return result
                self._changed.wait(WAIT_SECONDS)

    def wake(self) -> None:
        """Let all who wait look again, though nothing changed."""
        with self._changed:
            self._changed.notify_all()

    def one(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of a query, if any."""
        with self._changed:
            row: tuple[Any, ...] | None = self._sql.execute(query, values).fetchone()
            return row

    def close(self) -> None:
        """Close the file; nothing may follow."""
        with self._changed:
            self._sql.close()

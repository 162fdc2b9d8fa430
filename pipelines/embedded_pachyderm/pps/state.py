"""The stored state of the embedded PPS: pipelines, jobs, datums, defaults and secrets, in one SQLite file.

This module stores messages and finds them; it does not interpret them. Every write is committed at once and
wakes all waiting threads. Nothing of PFS is stored here.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_pachyderm.proto.v2.pps import pps_pb2

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pipelines (
    project TEXT, name TEXT, version INTEGER, effective TEXT, info BLOB,
    PRIMARY KEY (project, name, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT, pipeline TEXT, id TEXT, version INTEGER,
    state INTEGER, info BLOB, UNIQUE (project, pipeline, id)
);
CREATE INDEX IF NOT EXISTS jobs_by_id ON jobs (id);
CREATE TABLE IF NOT EXISTS datums (
    project TEXT, pipeline TEXT, job TEXT, id TEXT, hash TEXT, state INTEGER, info BLOB, outputs TEXT,
    PRIMARY KEY (project, pipeline, job, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, type TEXT, created REAL, data TEXT);
CREATE TABLE IF NOT EXISTS defaults (project TEXT PRIMARY KEY, json TEXT NOT NULL);
"""

TERMINAL = frozenset((pps_pb2.JOB_SUCCESS, pps_pb2.JOB_FAILURE, pps_pb2.JOB_KILLED, pps_pb2.JOB_UNRUNNABLE))


@dataclass(frozen=True, slots=True)
class Key:
    """A pipeline: its project and its name."""

    project: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}/{self.name}"


@dataclass(frozen=True, slots=True)
class DatumRow:
    """A datum as one job saw it: what went in (`hash`), what became of it, what files came out."""

    id: str
    hash: str
    state: int
    info: Any
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SecretRow:
    name: str
    type: str
    created_at: float
    data: dict[str, str]


class State:
    """One connection, one writer at a time, and a condition that is notified of every change."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        # A killed process loses nothing under NORMAL; a power cut may cost the newest job states, which
        # the next start derives from the commits again.
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._changed:
            self._changed.notify_all()
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._changed:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            self._changed.notify_all()

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def wait(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Wait until `ready` is true or the time is over; `ready` is evaluated after every change."""
        with self._changed:
            return self._changed.wait_for(ready, seconds)

    def notify(self) -> None:
        """Wake waiting threads after a change outside this file."""
        with self._changed:
            self._changed.notify_all()

    # pipelines

    def put_pipeline(self, info: Any, effective: str) -> None:
        key = key_of(info.pipeline)
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO pipelines VALUES (?, ?, ?, ?, ?)",
                (key.project, key.name, info.version, effective, info.SerializeToString()),
            )

    def edit_pipeline(self, key: Key, edit: Callable[[Any], None]) -> None:
        """Change the newest version in place; nothing when the pipeline is gone."""
        with self._changed:
            versions = self.pipeline_versions(key, 1)
            if versions:
                info, effective = versions[0]
                edit(info)
                self.put_pipeline(info, effective)

    def pipeline_versions(self, key: Key, limit: int = -1) -> list[tuple[Any, str]]:
        """(info, effective spec), newest first."""
        rows = self._rows(
            "SELECT info, effective FROM pipelines WHERE project=? AND name=? ORDER BY version DESC LIMIT ?",
            key.project,
            key.name,
            limit,
        )
        return [(pps_pb2.PipelineInfo.FromString(info), effective) for info, effective in rows]

    def pipeline(self, key: Key) -> Any | None:
        versions = self.pipeline_versions(key, 1)
        return versions[0][0] if versions else None

    def pipeline_at(self, key: Key, version: int) -> Any | None:
        rows = self._rows(
            "SELECT info FROM pipelines WHERE project=? AND name=? AND version=?",
            key.project,
            key.name,
            version,
        )
        return pps_pb2.PipelineInfo.FromString(rows[0][0]) if rows else None

    def pipeline_keys(self) -> list[Key]:
        """Newest first, as the real server lists them."""
        rows = self._rows("SELECT project, name, info FROM pipelines WHERE version=1")
        created_at = {}
        for project, name, info in rows:
            created = pps_pb2.PipelineInfo.FromString(info).details.created_at
            created_at[Key(project, name)] = (created.seconds, created.nanos)
        return sorted(created_at, key=lambda key: created_at[key], reverse=True)

    def delete_pipeline(self, key: Key) -> None:
        with self._writing() as db:
            for table, column in (("pipelines", "name"), ("jobs", "pipeline"), ("datums", "pipeline")):
                db.execute(f"DELETE FROM {table} WHERE project=? AND {column}=?", (key.project, key.name))  # noqa: S608

    # jobs

    def add_job(self, info: Any) -> bool:
        """False when the job exists."""
        key = key_of(info.job.pipeline)
        with self._writing() as db:
            added = db.execute(
                "INSERT OR IGNORE INTO jobs (project, pipeline, id, version, state, info)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    key.project,
                    key.name,
                    info.job.id,
                    info.pipeline_version,
                    info.state,
                    info.SerializeToString(),
                ),
            )
            return added.rowcount == 1

    def edit_job(self, key: Key, job_id: str, edit: Callable[[Any], None]) -> Any | None:
        """Change an unfinished job; none when it is gone or finished."""
        with self._changed:
            info = self.job(key, job_id)
            if info is None or info.state in TERMINAL:
                return None
            edit(info)
            with self._writing() as db:
                db.execute(
                    "UPDATE jobs SET state=?, info=? WHERE project=? AND pipeline=? AND id=?",
                    (info.state, info.SerializeToString(), key.project, key.name, job_id),
                )
            return info

    def job(self, key: Key, job_id: str) -> Any | None:
        rows = self._rows(
            "SELECT info FROM jobs WHERE project=? AND pipeline=? AND id=?", key.project, key.name, job_id
        )
        return pps_pb2.JobInfo.FromString(rows[0][0]) if rows else None

    def jobs(self, key: Key | None = None) -> list[Any]:
        """The newest first."""
        where = "" if key is None else "WHERE project=? AND pipeline=?"
        values = () if key is None else (key.project, key.name)
        rows = self._rows(f"SELECT info FROM jobs {where} ORDER BY seq DESC", *values)  # noqa: S608
        return [pps_pb2.JobInfo.FromString(info) for (info,) in rows]

    def unfinished_jobs(self, key: Key) -> list[Any]:
        """Oldest first: the order in which they are run."""
        marks = ",".join("?" * len(TERMINAL))
        rows = self._rows(
            f"SELECT info FROM jobs WHERE project=? AND pipeline=? AND state NOT IN ({marks}) ORDER BY seq",  # noqa: S608
            key.project,
            key.name,
            *TERMINAL,
        )
        return [pps_pb2.JobInfo.FromString(info) for (info,) in rows]

    def last_job_state(self, key: Key) -> int:
        rows = self._rows(
            "SELECT state FROM jobs WHERE project=? AND pipeline=? ORDER BY seq DESC LIMIT 1",
            key.project,
            key.name,
        )
        return int(rows[0][0]) if rows else int(pps_pb2.JOB_STATE_UNKNOWN)

    # datums

    def put_datums(self, key: Key, job_id: str, rows: list[DatumRow]) -> None:
        with self._writing() as db:
            db.executemany(
                "INSERT OR REPLACE INTO datums VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (key.project, key.name, job_id, row.id, row.hash, row.state, row.info.SerializeToString(),
                     json.dumps(row.outputs))
                    for row in rows
                ],
            )  # fmt: skip

    def clear_datums(self, key: Key, job_id: str) -> None:
        with self._writing() as db:
            db.execute(
                "DELETE FROM datums WHERE project=? AND pipeline=? AND job=?", (key.project, key.name, job_id)
            )

    def datums(self, key: Key, job_id: str) -> list[DatumRow]:
        """In the order of their ids, which is the order they are run in."""
        rows = self._rows(
            "SELECT id, hash, state, info, outputs FROM datums"
            " WHERE project=? AND pipeline=? AND job=? ORDER BY id",
            key.project,
            key.name,
            job_id,
        )
        return [
            DatumRow(id_, digest, state, pps_pb2.DatumInfo.FromString(info), tuple(json.loads(outputs)))
            for id_, digest, state, info, outputs in rows
        ]

    # defaults

    def defaults(self, project: str = "") -> str | None:
        """The defaults for pipelines of a project, or of the cluster: JSON."""
        rows = self._rows("SELECT json FROM defaults WHERE project=?", project)
        return str(rows[0][0]) if rows else None

    def put_defaults(self, text: str, project: str = "") -> None:
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO defaults VALUES (?, ?)", (project, text))

    # secrets

    def put_secret(self, row: SecretRow) -> bool:
        """False when the name is taken."""
        with self._writing() as db:
            added = db.execute(
                "INSERT OR IGNORE INTO secrets VALUES (?, ?, ?, ?)",
                (row.name, row.type, row.created_at, json.dumps(row.data)),
            )
            return added.rowcount == 1

    def secrets(self) -> list[SecretRow]:
        rows = self._rows("SELECT name, type, created, data FROM secrets ORDER BY name")
        return [SecretRow(name, type_, created, json.loads(data)) for name, type_, created, data in rows]

    def secret(self, name: str) -> SecretRow | None:
        return next((row for row in self.secrets() if row.name == name), None)

    def delete_secret(self, name: str) -> bool:
        with self._writing() as db:
            return db.execute("DELETE FROM secrets WHERE name=?", (name,)).rowcount == 1


def key_of(pipeline: Any) -> Key:
    """The key of a Pipeline message; no project means the default one."""
    return Key(pipeline.project.name or "default", pipeline.name)


def pipeline_of(key: Key) -> Any:
    """The Pipeline message of a key."""
    message = pps_pb2.Pipeline(name=key.name)
    message.project.name = key.project
    return message

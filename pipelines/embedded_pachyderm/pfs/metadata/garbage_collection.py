"""What nobody needs any more: expired file sets, layers that nothing names, segments without layers.

Layers are looked after while the server runs; segments only when it starts, before anybody writes,
since content is written before the layer that names it.
"""

from __future__ import annotations

import json
import sqlite3
import threading

from embedded_pachyderm.pfs.content.segments import Segments
from embedded_pachyderm.pfs.metadata.database import Database, now_ns

SWEEP_SECONDS = 300.0


def drop_garbage(database: Database) -> None:
    """Delete expired file sets and every layer that no commit and no file set names."""
    with database.write() as transaction:
        sql = transaction.sql
        sql.execute("DELETE FROM fileset WHERE expires <= ?", (now_ns(),))
        needed = _named_layers(sql)
        stored = {row[0] for row in sql.execute("SELECT id FROM layer")}
        sql.executemany("DELETE FROM layer WHERE id = ?", [(layer,) for layer in stored - needed])


def _named_layers(sql: sqlite3.Connection) -> set[int]:
    rows = sql.execute(
        'SELECT diff FROM "commit" UNION ALL SELECT total FROM "commit" WHERE total IS NOT NULL'
        " UNION ALL SELECT layers FROM fileset"
    )
    return {layer for (stack,) in rows for layer in json.loads(stack)}


def drop_segments(database: Database, segments: Segments) -> None:
    """Delete the segments that no layer names. Only while nobody writes."""
    with database.read() as sql:
        rows = sql.execute("SELECT segments FROM layer").fetchall()
    segments.keep_only({segment for (named,) in rows for segment in json.loads(named)})


class Sweeper:
    """A thread that drops garbage now and then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pfs-sweeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait for a sweep that is under way."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(SWEEP_SECONDS):
            drop_garbage(self._database)

"""File sets: a temporary name for a stack of layers, and the layers themselves.

The same stack is what a commit's change and its total are, so that giving a commit's files to
another commit moves no data.
"""

from __future__ import annotations

import json
import sqlite3

from embedded_pachyderm.pfs.content.layers import Entry, Layer, compose
from embedded_pachyderm.pfs.content.segments import Segments
from embedded_pachyderm.pfs.content.trees import Stack, Trees
from embedded_pachyderm.pfs.metadata.database import Database, Transaction, new_id, now_ns
from embedded_pachyderm.pfs.pfs_errors import LayerGoneError, NotFoundError, PfsError

REPO_NAME = "__filesets__"
DEFAULT_TTL_SECONDS = 600
MAX_TTL_SECONDS = 1800
ID_LENGTH = 32

MAX_STACK = 100  # layers to read before a total is written whole again


class FileSets:
    """Layers by number, file sets by id."""

    def __init__(self, database: Database, segments: Segments) -> None:
        self._database = database
        self.segments = segments
        self.trees = Trees(self.load, segments.digest)

    def load(self, layer_id: int) -> Layer:
        """The layer of that number."""
        row = self._database.one("SELECT data FROM layer WHERE id = ?", layer_id)
        if row is None:
            raise LayerGoneError("path does not exist")
        return Layer.decode(row[0])

    def store(self, sql: sqlite3.Connection, layer: Layer) -> int:
        """Keep a layer; its content must have been synced."""
        cursor = sql.execute(
            "INSERT INTO layer (data, segments) VALUES (?, ?)",
            (layer.encode(), json.dumps(sorted(layer.segments()))),
        )
        return int(cursor.lastrowid or 0)

    def entries(self, stack: Stack) -> list[Entry]:
        """The files that the stack amounts to."""
        return self.trees.fold(stack)

    def flattened(self, stack: Stack) -> Layer:
        """The stack as one layer, deletes included."""
        return compose([self.load(layer_id) for layer_id in stack], self.segments.digest)

    def create(self, transaction: Transaction, stack: Stack, ttl_seconds: int = DEFAULT_TTL_SECONDS) -> str:
        """A new file set over layers that exist."""
        file_set_id = new_id()
        transaction.sql.execute(
            "INSERT INTO fileset (id, layers, expires) VALUES (?, ?, ?)",
            (file_set_id, json.dumps(stack), now_ns() + ttl_seconds * 1_000_000_000),
        )
        return file_set_id

    def stack(self, file_set_id: str) -> Stack:
        """The layers of a file set that has not expired."""
        check_id(file_set_id)
        row = self._database.one("SELECT layers, expires FROM fileset WHERE id = ?", file_set_id)
        if row is None or row[1] <= now_ns():
            raise LayerGoneError("path does not exist")
        return tuple(json.loads(row[0]))

    def renew(self, file_set_id: str, ttl_seconds: int) -> None:
        """Let it live so long from now on."""
        if ttl_seconds < 1:
            raise PfsError(f"ttl ({ttl_seconds * 10**9}) must be at least one second")
        if ttl_seconds > MAX_TTL_SECONDS:
            raise PfsError(f"ttl ({ttl_seconds * 10**9}) exceeds max ttl ({MAX_TTL_SECONDS * 10**9})")
        try:
            self.stack(file_set_id)
        except PfsError:
            raise NotFoundError(f"tracker does not contain item: (fileset/{file_set_id})") from None
        with self._database.write() as transaction:
            transaction.sql.execute(
                "UPDATE fileset SET expires = ? WHERE id = ?",
                (now_ns() + ttl_seconds * 1_000_000_000, file_set_id),
            )


def check_id(file_set_id: str) -> None:
    """Whether the text can be a file set's id at all."""
    if len(file_set_id) < ID_LENGTH:
        raise PfsError(f"parsing fileset.ID: too short to be ID len={len(file_set_id)}")

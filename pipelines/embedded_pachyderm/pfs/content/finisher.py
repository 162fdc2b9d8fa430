"""The finisher: a thread that takes closed commits to finished ones, parents before children.

It folds a commit's change upon its parent's files, checks that the result is a tree, and notes the
total and its size; a total over many layers is written whole. A commit that was closed with an
error gets no total. What a killed server left unfinished is found again when it starts.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import suppress
from dataclasses import dataclass

from embedded_pachyderm.pfs.content.filesets import MAX_STACK, FileSets
from embedded_pachyderm.pfs.content.layers import Layer
from embedded_pachyderm.pfs.content.trees import Stack, collision, collision_near, size_at
from embedded_pachyderm.pfs.metadata import commits, triggers
from embedded_pachyderm.pfs.metadata.database import Database
from embedded_pachyderm.pfs.metadata.records import COMMIT_COLUMNS, Commit, commit_by_id, commit_of
from embedded_pachyderm.pfs.pfs_errors import LayerGoneError, NotFoundError

_CLOSED = f"""
SELECT {COMMIT_COLUMNS} FROM "commit" WHERE finishing IS NOT NULL AND finished IS NULL ORDER BY id
"""  # noqa: S608


def base_of(sql: sqlite3.Connection, commit: Commit) -> Commit | None:
    """The commit whose files the commit builds upon: the nearest ancestor without an error."""
    parent = None if commit.parent is None else commit_by_id(sql, commit.parent)
    # as Pachyderm does: a failed commit has no total
    while parent and parent.error and parent.parent is not None:
        parent = commit_by_id(sql, parent.parent)
    return None if parent is None or parent.error else parent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What a commit came to; one that was closed with an error comes to nothing."""

    below: Stack | None = None
    problem: str = ""
    size: int | None = None
    compacted: Layer | None = None
    whole: Layer | None = None


class Finisher:
    """The thread."""

    def __init__(self, database: Database, file_sets: FileSets) -> None:
        self._database = database
        self._file_sets = file_sets
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="pfs-finisher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the commit that is being finished."""
        self._stopping = True
        self._database.wake()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            commit = self._database.wait_until(self._next, lambda: not self._stopping)
            if commit and not self._stopping:
                with suppress(NotFoundError, LayerGoneError):  # deleted meanwhile, and with it the work
                    self._finish(commit)

    @staticmethod
    def _next(sql: sqlite3.Connection) -> Commit | None:
        for row in sql.execute(_CLOSED).fetchall():
            commit = commit_of(row)
            base = base_of(sql, commit)
            # a total is folded on the base's, so a base that is not finished comes first
            if commit.error or base is None or base.finished is not None:
                return commit
        return None

    def _finish(self, commit: Commit) -> None:
        result = _Result() if commit.error else self._folded(commit)
        with self._database.write() as transaction:
            sql = transaction.sql
            diff: Stack = commit.diff
            if result.compacted is not None:
                diff = (self._file_sets.store(sql, result.compacted),)
            total: Stack | None = None
            if result.below is not None:
                total = result.below + diff
                if result.whole is not None:
                    total = (self._file_sets.store(sql, result.whole),)
            sql.execute(
                'UPDATE "commit" SET finished = ?, error = ?, size = ?, diff = ?, total = ? WHERE id = ?',
                (
                    *(transaction.time, commit.error or result.problem, result.size, json.dumps(diff)),
                    *(None if total is None else json.dumps(total), commit.id),
                ),
            )
            finished = commits.must_exist(sql, commit.id)
            if not finished.error:
                triggers.fire(transaction, finished)

    def _folded(self, commit: Commit) -> _Result:
        with self._database.read() as sql:
            base = base_of(sql, commit)
        below: Stack = (base.total or ()) if base else ()
        change = self._file_sets.flattened(commit.diff)
        entries = self._file_sets.entries(below + commit.diff)
        keys = {*change.deletes, *(entry[:2] for entry in change.puts)}
        # few changes in a large tree: only their neighbours are looked at, so a commit costs what it changed
        if base is None or base.size is None or len(keys) > len(entries) // 10:
            problem = collision(entries)
            size = sum(entry.size for entry in entries)
        else:
            before = self._file_sets.entries(below)
            problem = collision_near(entries, keys)
            size = base.size + size_at(entries, keys) - size_at(before, keys)
        return _Result(
            below=below,
            problem=problem,
            size=size,
            compacted=change if len(commit.diff) > 1 else None,
            whole=Layer((), tuple(entries)) if len(below) + len(commit.diff) > MAX_STACK else None,
        )

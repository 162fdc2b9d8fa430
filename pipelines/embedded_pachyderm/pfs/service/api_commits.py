"""The gRPC methods of commits and commit sets, with those that wait and those that follow."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import grpc
from google.protobuf.empty_pb2 import Empty
from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.pfs.content.filesets import REPO_NAME as FILE_SETS
from embedded_pachyderm.pfs.content.reading import Reader
from embedded_pachyderm.pfs.metadata import commits, commitsets, provenance, repos
from embedded_pachyderm.pfs.metadata.database import Database
from embedded_pachyderm.pfs.metadata.records import (
    COMMIT_COLUMNS,
    Commit,
    commit_by_id,
    commit_message,
    commit_of,
    repo_key,
)
from embedded_pachyderm.pfs.pfs_errors import NotFoundError, PfsError

Context: TypeAlias = grpc.ServicerContext


class CommitsApi:
    """Commits one by one, by line, and by set."""

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    def start_commit(self, request: Any, _context: Context) -> Any:
        parent = request.parent if request.HasField("parent") else None
        try:
            with self._database.write() as transaction:
                commit = commits.start(transaction, request.branch, parent, request.description)
                return commit_message(transaction.sql, commit)
        except PfsError as error:
            raise type(error)(f"start commit in transaction: {error}") from None

    def finish_commit(self, request: Any, _context: Context) -> Any:
        with self._database.write() as transaction:
            commit = commits.resolve(transaction.sql, request.commit)
            commits.finish(transaction, commit, description=request.description, error=request.error)
        return Empty()

    def clear_commit(self, request: Any, _context: Context) -> Any:
        with self._database.write() as transaction:
            commit = commits.resolve(transaction.sql, request.commit)
            if commit.finishing is not None:
                raise PfsError("cannot clear finished commit")
            transaction.sql.execute("UPDATE \"commit\" SET diff = '[]' WHERE id = ?", (commit.id,))
        return Empty()

    def inspect_commit(self, request: Any, context: Context) -> Any:
        commits.check_commit(request.commit)
        if commits.commit_repo(request.commit).name == FILE_SETS:
            virtual = pfs_pb2.CommitInfo(commit=request.commit, description="FileSet - Virtual Commit")
            virtual.finished.SetInParent()
            return virtual
        try:
            with self._database.read() as sql:
                commit = commits.resolve(sql, request.commit)
            commit = self._reached(commit, request.wait, context)
        except PfsError as error:
            raise type(error)(f"inspect commitHandle: {error}") from None
        with self._database.read() as sql:
            return commits.info(sql, commit)

    def _reached(self, commit: Commit, state: int, context: Context) -> Commit:
        """The commit once it is in that state, or as it is when the caller goes away."""

        def look(sql: sqlite3.Connection) -> Commit | None:
            now = commit_by_id(sql, commit.id)
            if now is None:
                raise PfsError(f"commit {commit.set_id} was deleted")
            return now if _in_state(sql, now, state) else None

        return self._database.wait_until(look, context.is_active) or commit

    def list_commit(self, request: Any, _context: Context) -> Iterator[Any]:
        if request.HasField("to"):
            selected = self._line(request)
        elif request.HasField("from"):
            raise PfsError("cannot use `from` commit without `to` commit")
        else:
            selected = self._all_commits(request)
        sent = 0
        for commit in selected:
            if request.origin_kind and not request.all and commit.origin != request.origin_kind:
                continue
            with self._database.read() as sql:
                message = commits.info(sql, commit, upper_bound=self._reader.upper_bound(commit))
            yield message
            sent += 1
            if sent == request.number:
                return

    def _line(self, request: Any) -> Iterator[Commit]:
        """From `to` back to `from`, which is left out."""
        if request.reverse:
            raise PfsError("cannot use 'Reverse' while also using 'From' or 'To'")
        with self._database.read() as sql:
            repos.find(sql, repo_key(request.repo))
            end = getattr(request, "from")
            last = commits.resolve(sql, end).id if request.HasField("from") else None
            commit: Commit | None = commits.resolve(sql, request.to)
        while commit and commit.id != last:
            yield commit
            with self._database.read() as sql:
                commit = None if commit.parent is None else commit_by_id(sql, commit.parent)

    def _all_commits(self, request: Any) -> Iterator[Commit]:
        order = "ASC" if request.reverse else "DESC"
        with self._database.read() as sql:
            where, values = "", []
            if request.repo.name:
                where, values = "WHERE repo = ?", [repos.find(sql, repo_key(request.repo)).id]
            query = f'SELECT {COMMIT_COLUMNS} FROM "commit" {where} ORDER BY id {order}'  # noqa: S608
            rows = sql.execute(query, values).fetchall()
        limit = _started_limit(request)
        for row in rows:
            commit = commit_of(row)
            if limit(commit):
                yield commit

    def subscribe_commit(self, request: Any, context: Context) -> Iterator[Any]:
        start = getattr(request, "from")
        with self._database.read() as sql:
            repo = repos.find(sql, repo_key(request.repo))
        last = 0

        def next_commit(sql: sqlite3.Connection) -> Commit | None:
            repos.find(sql, repo_key(request.repo))
            row = sql.execute(
                f'SELECT {COMMIT_COLUMNS} FROM "commit" WHERE repo = ? AND id > ? ORDER BY id LIMIT 1',  # noqa: S608
                (repo.id, last),
            ).fetchone()
            return commit_of(row) if row else None

        while context.is_active():
            commit = self._database.wait_until(next_commit, context.is_active)
            if commit is None:
                return
            last = commit.id
            if commit.set_id == start.id or not self._on_branch(commit, request):
                continue
            commit = self._reached(commit, request.state, context)
            with self._database.read() as sql:
                message = commits.info(sql, commit)
            if context.is_active():
                yield message

    def _on_branch(self, commit: Commit, request: Any) -> bool:
        if request.origin_kind and not request.all and commit.origin != request.origin_kind:
            return False
        if not request.branch:
            return True
        row = self._database.one("SELECT name FROM branch WHERE id = ?", commit.branch)
        return row is not None and row[0] == request.branch

    def inspect_commit_set(self, request: Any, context: Context) -> Iterator[Any]:
        set_id = request.commit_set.id
        with self._database.read() as sql:
            members = commitsets.whole(sql, set_id)
        if not members:
            raise NotFoundError(f"no commits found for commitset {set_id}")
        if request.wait:
            finished = [commit for commit in members if commit.finished is not None]
            unfinished = [commit for commit in members if commit.finished is None]
            members = finished + unfinished
        for commit in members:
            reached = self._reached(commit, pfs_pb2.FINISHED, context) if request.wait else commit
            with self._database.read() as sql:
                message = commits.info(sql, reached)
            yield message

    def list_commit_set(self, request: Any, _context: Context) -> Iterator[Any]:
        with self._database.read() as sql:
            rows = sql.execute(
                'SELECT c.set_id FROM "commit" c JOIN repo r ON c.repo = r.id'
                " WHERE ?1 = '' OR r.project = ?1 GROUP BY c.set_id ORDER BY max(c.id) DESC",
                (request.project.name,),
            ).fetchall()
        for (set_id,) in rows:
            with self._database.read() as sql:
                infos = [commits.info(sql, commit) for commit in commitsets.whole(sql, set_id)]
            if infos:
                yield pfs_pb2.CommitSetInfo(commit_set=pfs_pb2.CommitSet(id=set_id), commits=infos)

    def squash_commit_set(self, request: Any, _context: Context) -> Any:
        with self._database.write() as transaction:
            commitsets.squash(transaction, request.commit_set.id)
        return Empty()

    def drop_commit_set(self, request: Any, _context: Context) -> Any:
        with self._database.write() as transaction:
            commitsets.drop(transaction, request.commit_set.id)
        return Empty()


def _in_state(sql: sqlite3.Connection, commit: Commit, state: int) -> bool:
    if state == pfs_pb2.READY and commit.finished is None:
        return all(up.finished is not None for up in provenance.commits_upstream(sql, commit.id))
    if state == pfs_pb2.FINISHING:
        return commit.finishing is not None
    if state == pfs_pb2.FINISHED:
        return commit.finished is not None
    return True


def _started_limit(request: Any) -> Callable[[Commit], bool]:
    if not request.HasField("started_time"):
        return lambda _commit: True
    limit = request.started_time.seconds * 10**9 + request.started_time.nanos
    if request.reverse:
        return lambda commit: commit.started > limit
    return lambda commit: commit.started < limit

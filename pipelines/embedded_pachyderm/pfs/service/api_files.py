"""The gRPC methods of files and file sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import grpc
from google.protobuf.empty_pb2 import Empty
from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.pfs.content.filesets import FileSets
from embedded_pachyderm.pfs.content.layers import Entry, Layer
from embedded_pachyderm.pfs.content.reading import Reader
from embedded_pachyderm.pfs.content.trees import Stack
from embedded_pachyderm.pfs.content.writer import Writer
from embedded_pachyderm.pfs.metadata import commits
from embedded_pachyderm.pfs.metadata.database import Database
from embedded_pachyderm.pfs.metadata.names import clean_path, is_commit_id
from embedded_pachyderm.pfs.metadata.records import Commit, commit_text
from embedded_pachyderm.pfs.pfs_errors import NotFoundError, PfsError, UnimplementedError
from embedded_pachyderm.pfs.service import listing, pfs_codec

Context: TypeAlias = grpc.ServicerContext

DIFF = 1  # of GetFileSetRequest.type, newer than python-pachyderm's messages
SHARD_FILES = 1_000_000
SHARD_BYTES = 1_000_000_000


class FilesApi:
    """Reading, writing, and moving files between commits."""

    def __init__(self, database: Database, file_sets: FileSets, reader: Reader) -> None:
        self._database = database
        self._file_sets = file_sets
        self._reader = reader

    def get_file(self, request: Any, context: Context) -> Iterator[bytes]:
        _refuse_url(request.URL)
        return pfs_codec.bytes_values(self._reader.content(request.file, request.offset, context.is_active))

    def get_file_tar(self, request: Any, context: Context) -> Iterator[bytes]:
        _refuse_url(request.URL)
        path_range = request.path_range if request.HasField("path_range") else None
        items = self._reader.get(request.file, path_range, context.is_active)
        return pfs_codec.bytes_values(self._reader.tar(items))

    def inspect_file(self, request: Any, context: Context) -> bytes:
        return self._reader.inspect(request.file, context.is_active)

    def list_file(self, request: Any, context: Context) -> Iterator[bytes]:
        return self._reader.list(request, context.is_active)

    def walk_file(self, request: Any, context: Context) -> Iterator[bytes]:
        return self._reader.walk(request, context.is_active)

    def glob_file(self, request: Any, context: Context) -> Iterator[bytes]:
        return self._reader.glob(request, context.is_active)

    def diff_file(self, request: Any, context: Context) -> Iterator[bytes]:
        return self._reader.diff(request, context.is_active)

    def modify_file(self, requests: Iterator[Any], context: Context) -> Any:
        first = next(requests, None)
        if first is None or isinstance(first, pfs_codec.Put) or first.WhichOneof("body") != "set_commit":
            raise PfsError("first message must be a commit")
        target = first.set_commit
        commits.check_commit(target)
        commit = self._open_commit(target)
        layer = self._written(requests, commit, context)
        with self._database.write() as transaction:
            if commit is None or commit.finishing is not None:
                commit = commits.start(transaction, _branch_of(target), None, "")
                self._add(transaction.sql, commit, layer)
                commits.finish(transaction, commits.must_exist(transaction.sql, commit.id))
            else:
                self._add(transaction.sql, commit, layer)
        return Empty()

    def _add(self, sql: Any, commit: Commit, layer: Layer) -> None:
        if layer.deletes or layer.puts:
            commits.add_layers(sql, commit, (self._file_sets.store(sql, layer),))

    def _open_commit(self, target: Any) -> Commit | None:
        """The commit to write to; a finished head or none means: a commit of its own."""
        try:
            with self._database.read() as sql:
                commit = commits.resolve(sql, target)
        except NotFoundError:
            if _branch_of(target).name:
                return None
            raise
        if commit.finishing is not None and not _branch_of(target).name:
            with self._database.read() as sql:
                raise PfsError(f"commit {commit_text(sql, commit)} has already finished")
        return commit

    def _written(self, requests: Iterator[Any], commit: Commit | None, context: Context) -> Layer:
        def parent() -> list[Entry]:
            return self._file_sets.entries(self._reader.stack_of(commit)) if commit else []

        writer = Writer(self._file_sets.segments, parent)
        for request in requests:
            self._apply(writer, request, context)
        layer = writer.finish()
        if not context.is_active():  # broken off, which looked like the end
            raise PfsError("context canceled")
        return layer

    def _apply(self, writer: Writer, request: Any, context: Context) -> None:
        if isinstance(request, pfs_codec.Put):
            writer.put(request.path, request.datum, request.data)
            return
        kind = request.WhichOneof("body")
        if kind == "add_file":
            add = request.add_file
            if add.WhichOneof("source") == "url":
                _refuse_url(add.url.URL or "url")
            writer.put(add.path, add.datum, add.raw.value)
        elif kind == "delete_file":
            writer.delete(request.delete_file.path, request.delete_file.datum)
        elif kind == "copy_file":
            copy = request.copy_file
            writer.copy(self._copied(copy, context), copy.datum, append=copy.append)
        elif kind == "set_commit":
            raise PfsError("cannot set commit")
        else:
            raise PfsError("unrecognized message type")

    def _copied(self, copy: Any, context: Context) -> Iterator[Entry]:
        """The source's files under the names they are to have."""
        opened = self._reader.open(copy.src.commit, context.is_active)
        source, target = clean_path(copy.src.path), clean_path(copy.dst)
        below = "/" if source == "/" else source + "/"
        for entry in listing.below(opened.entries, source):
            if copy.src.datum and entry.datum != copy.src.datum:
                continue
            if entry.path == source or entry.path.startswith(below):
                relative = entry.path[len(source) :]
                yield entry._replace(path=clean_path(f"{target}/{relative}"))

    def create_file_set(self, requests: Iterator[Any], context: Context) -> Any:
        layer = self._written(requests, None, context)
        with self._database.write() as transaction:
            stack: Stack = (self._file_sets.store(transaction.sql, layer),)
            return _file_set(self._file_sets.create(transaction, stack))

    def get_file_set(self, request: Any, _context: Context) -> Any:
        commits.check_commit(request.commit)
        try:
            with self._database.read() as sql:
                commit = commits.resolve(sql, request.commit)
            stack = self._reader.stack_of(commit)
        except PfsError as error:
            raise type(error)(f"get file set: {error}") from None
        if pfs_codec.unknown_number(request, 2) == DIFF:
            stack = commit.diff
        with self._database.write() as transaction:
            return _file_set(self._file_sets.create(transaction, stack))

    def add_file_set(self, request: Any, _context: Context) -> Any:
        commits.check_commit(request.commit)
        with self._database.write() as transaction:
            commit = commits.resolve(transaction.sql, request.commit)
            if commit.finishing is not None:
                text = commit_text(transaction.sql, commit)
                raise PfsError(f"commit {text} has already finished")
            try:
                stack = self._file_sets.stack(request.file_set_id)
            except PfsError as error:
                raise PfsError(f"add file set: {error}") from None
            commits.add_layers(transaction.sql, commit, stack)
        return Empty()

    def renew_file_set(self, request: Any, _context: Context) -> Any:
        self._file_sets.renew(request.file_set_id, request.ttl_seconds)
        return Empty()

    def compose_file_set(self, request: Any, _context: Context) -> Any:
        with self._database.write() as transaction:
            stack: Stack = ()
            for file_set_id in request.file_set_ids:
                try:
                    stack += self._file_sets.stack(file_set_id)
                except PfsError:
                    raise PfsError("the operation would create a dangling reference") from None
            ttl_seconds = max(int(request.ttl_seconds), 1)
            return _file_set(self._file_sets.create(transaction, stack, ttl_seconds))

    def shard_file_set(self, request: Any, _context: Context) -> Any:
        entries = self._file_sets.entries(self._file_sets.stack(request.file_set_id))
        most_files = pfs_codec.unknown_number(request, 2) or SHARD_FILES
        most_bytes = pfs_codec.unknown_number(request, 3) or SHARD_BYTES
        shards = [pfs_pb2.PathRange()]
        files = size = 0
        for entry in entries:
            if files >= most_files or size >= most_bytes:
                shards[-1].upper = entry.path
                shards.append(pfs_pb2.PathRange(lower=entry.path))
                files = size = 0
            files += 1
            size += entry.size
        return pfs_pb2.ShardFileSetResponse(shards=shards)


def _branch_of(target: Any) -> Any:
    """The branch a write names, if it names no commit."""
    name = "" if is_commit_id(target.id) else target.branch.name
    return pfs_pb2.Branch(repo=commits.commit_repo(target), name=name)


def _file_set(file_set_id: str) -> Any:
    return pfs_pb2.CreateFileSetResponse(file_set_id=file_set_id)


def _refuse_url(url: str) -> None:
    if url:
        raise UnimplementedError("the embedded server reads and writes no URLs")

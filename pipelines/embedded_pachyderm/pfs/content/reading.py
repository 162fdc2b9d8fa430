"""Reading the files of commits and file sets: by path, glob or range; the differences between two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from embedded_pachyderm.pfs.content import tar_headers
from embedded_pachyderm.pfs.content.filesets import REPO_NAME as FILE_SETS
from embedded_pachyderm.pfs.content.filesets import FileSets
from embedded_pachyderm.pfs.content.finisher import base_of
from embedded_pachyderm.pfs.content.glob import matcher
from embedded_pachyderm.pfs.content.layers import Entry
from embedded_pachyderm.pfs.content.trees import Stack, collision
from embedded_pachyderm.pfs.metadata import commits
from embedded_pachyderm.pfs.metadata.database import Database
from embedded_pachyderm.pfs.metadata.names import as_directory, clean_path, literal_prefix
from embedded_pachyderm.pfs.metadata.records import (
    Commit,
    commit_message,
    commit_text,
    repo_key,
    repo_text,
    timestamp,
)
from embedded_pachyderm.pfs.pfs_errors import NotFoundError, PfsError
from embedded_pachyderm.pfs.service import listing, pfs_codec
from embedded_pachyderm.pfs.service.listing import Item

Active = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Opened:
    """The files of a commit or file set, and its commit message."""

    entries: list[Entry]
    commit: Any
    committed: Any | None

    def infos(self) -> pfs_codec.FileInfos:
        """The writer of its FileInfo messages."""
        return pfs_codec.FileInfos(self.commit, self.committed)


class Reader:
    """Reads through the database's commits and the file sets' layers."""

    def __init__(self, database: Database, file_sets: FileSets) -> None:
        self._database = database
        self._file_sets = file_sets

    def stack_of(self, commit: Commit) -> Stack:
        """The layers that make up all files of a commit, open and failed ones included."""
        if commit.finished is not None and not commit.error:
            if commit.total is None:
                raise PfsError("the commit is forgotten")
            return commit.total
        with self._database.read() as sql:
            base = base_of(sql, commit)
            if base is None:
                return commit.diff
            if base.finished is None:
                raise PfsError(
                    f"base commit {commit_text(sql, base)} for commit {commit_text(sql, commit)} unfinished"
                )
            return (base.total or ()) + commit.diff

    def upper_bound(self, commit: Commit) -> int:
        """An upper bound of the size of a commit: the size of its base and of all that it puts."""
        if commit.size is not None:
            return commit.size
        with self._database.read() as sql:
            base = base_of(sql, commit)
        if base and base.finished is None:
            return 0
        layers = map(self._file_sets.load, commit.diff)
        below = base.size or 0 if base else 0
        return below + sum(entry.size for layer in layers for entry in layer.puts)

    def open(self, message: Any, active: Active) -> Opened:
        """Open the commit or file set that a message names; wait for a commit that is being finished."""
        commits.check_commit(message)
        if commits.commit_repo(message).name == FILE_SETS:
            return Opened(_checked(self._file_sets.entries(self._file_sets.stack(message.id))), message, None)
        commit = self._settled(message, active)
        with self._database.read() as sql:
            named = commit_message(sql, commit)
        entries = self._file_sets.entries(self.stack_of(commit))
        if commit.error or commit.finished is None:
            _checked(entries)
        return Opened(entries, named, timestamp(commit.finishing))

    def _settled(self, message: Any, active: Active) -> Commit:
        with self._database.read() as sql:
            commit = commits.resolve(sql, message)
        if commit.finishing is None or commit.finished is not None:
            return commit

        def finished(sql: Any) -> Commit | None:
            now = commits.must_exist(sql, commit.id)
            return now if now.finished is not None else None

        return self._database.wait_until(finished, active) or commit

    def get(self, file: Any, path_range: Any | None, active: Active) -> Iterator[Item]:
        """Files and directories that a path or glob matches, and all below them."""
        opened = self.open(file.commit, active)
        glob = clean_path(file.path)
        match = matcher(glob)
        lower, upper, entries = literal_prefix(glob), "", listing.below(opened.entries, literal_prefix(glob))
        if path_range is not None:
            lower, upper = path_range.lower, path_range.upper
            entries = listing.from_lower(opened.entries, lower)
        if file.datum:
            entries = [entry for entry in entries if entry.datum == file.datum]
        items = listing.matching(listing.items(entries, lower, upper, hashed=False), match)
        return _or_not_found(items, file)

    def content(self, file: Any, offset: int, active: Active) -> Iterator[bytes]:
        """One file's bytes, from an offset on."""
        if offset < 0:
            raise PfsError(f"offset {offset} is negative")
        first, *more = islice(self.get(file, None, active), 2)
        if first.path.endswith("/") or (more and more[0].path.endswith("/")):
            raise PfsError("cannot get directory or non-regular file. Use GetFileTAR instead")
        if more:
            raise PfsError("matched multiple files. Use GetFileTAR instead")
        return self._file_sets.segments.read(first.parts, offset)

    def tar(self, items: Iterator[Item]) -> Iterator[bytes]:
        """The items as a tar stream, in pieces."""
        segments = self._file_sets.segments
        for item in items:
            directory = item.path.endswith("/")
            yield tar_headers.header(item.path, 0 if directory else item.size)
            if item.size and not directory:
                if item.size <= pfs_codec.MESSAGE_BYTES:
                    yield segments.read_small(item.parts)
                else:
                    yield from segments.read(item.parts)
                yield tar_headers.padding(item.size)
        yield tar_headers.END

    def inspect(self, file: Any, active: Active) -> bytes:
        """One file's or directory's message."""
        opened = self.open(file.commit, active)
        path = _without_root(file.path)
        for item in listing.subtree(opened.entries, path, file.datum):
            if item.path in {path, path + "/"}:
                return opened.infos().encode(item)
        raise _file_not_found(file)

    def walk(self, request: Any, active: Active) -> Iterator[bytes]:
        """Everything at and below a path."""
        listing.check_page(request)
        opened = self.open(request.file.commit, active)
        path = _without_root(request.file.path)
        marker = request.paginationMarker if request.HasField("paginationMarker") else None
        items = listing.subtree(opened.entries, path, request.file.datum, marker, reverse=request.reverse)
        first = next(items, None)
        if first is None and path:
            raise NotFoundError(f"commit/{opened.commit.id} does not contain item: ({path})")
        infos = opened.infos()
        rest = iter(()) if first is None else _chain(first, items)
        return map(infos.encode, listing.page(rest, request, marker))

    def list(self, request: Any, active: Active) -> Iterator[bytes]:
        """A directory's own children, or the file itself."""
        listing.check_page(request)
        opened = self.open(request.file.commit, active)
        path = clean_path(request.file.path)
        base = "" if path == "/" else path
        marker = request.paginationMarker if request.HasField("paginationMarker") else None
        items = listing.subtree(opened.entries, base, request.file.datum, marker, reverse=request.reverse)
        own = as_directory(path)
        children = (
            item for item in items if item.path != own and "/" not in item.path[len(path) :].strip("/")
        )
        return map(opened.infos().encode, listing.page(children, request, marker))

    def glob(self, request: Any, active: Active) -> Iterator[bytes]:
        """Files and directories that a glob matches, without what lies below them."""
        opened = self.open(request.commit, active)
        glob = clean_path(request.pattern)
        match = matcher(glob)
        lower, upper, entries = literal_prefix(glob), "", listing.below(opened.entries, literal_prefix(glob))
        if request.HasField("path_range"):
            lower, upper = request.path_range.lower, request.path_range.upper
            entries = listing.from_lower(opened.entries, lower)
        items = listing.items(entries, lower, upper)
        return map(opened.infos().encode, (item for item in items if match(item.path)))

    def diff(self, request: Any, active: Active) -> Iterator[bytes]:
        """Where two files or trees differ; without an old one, the same path in the parent."""
        if not request.HasField("new_file"):
            raise PfsError("file cannot be nil")
        new = self.open(request.new_file.commit, active)
        old = self._old_side(request, active)
        new_infos = new.infos()
        old_infos = old.infos() if old else None
        old_path = request.old_file.path if request.HasField("old_file") else request.new_file.path
        if old and old.entries is new.entries and clean_path(old_path) == clean_path(request.new_file.path):
            return
        new_items = listing.subtree(new.entries, _without_root(request.new_file.path), request.new_file.datum)
        old_items = listing.subtree(
            old.entries if old else [], _without_root(old_path), request.old_file.datum
        )
        for new_item, old_item in listing.differences(new_items, old_items):
            yield pfs_codec.difference(
                None if new_item is None else new_infos.encode(new_item),
                None if old_item is None or old_infos is None else old_infos.encode(old_item),
            )

    def _old_side(self, request: Any, active: Active) -> Opened | None:
        if request.HasField("old_file"):
            if not request.old_file.HasField("commit"):
                raise PfsError("check old file commit: commit cannot be nil")
            return self.open(request.old_file.commit, active)
        if commits.commit_repo(request.new_file.commit).name == FILE_SETS:
            return None
        with self._database.read() as sql:
            commit = commits.resolve(sql, request.new_file.commit)
            if commit.parent is None:
                return None
            parent = commit_message(sql, commits.must_exist(sql, commit.parent))
        return self.open(parent, active)


def _checked(entries: list[Entry]) -> list[Entry]:
    """The entries; PfsError if two paths collide, as in unfinished and failed commits they may."""
    problem = collision(entries)
    if problem:
        raise PfsError(problem)
    return entries


def _without_root(path: str) -> str:
    cleaned = clean_path(path)
    return "" if cleaned == "/" else cleaned


def _chain(first: Item, rest: Iterator[Item]) -> Iterator[Item]:
    yield first
    yield from rest


def _or_not_found(items: Iterator[Item], file: Any) -> Iterator[Item]:
    first = next(items, None)
    if first is None:
        raise _file_not_found(file)
    return _chain(first, items)


def _file_not_found(file: Any) -> NotFoundError:
    repo = repo_text(repo_key(commits.commit_repo(file.commit)))
    return NotFoundError(f"file {file.path} not found in repo {repo} at commit {file.commit.id}")

"""A vault in a folder or on a mount.

Durability: an object is written under a temporary name, synced, renamed, and its folder synced, so
that after a power cut it is there whole or not at all. Temporary names begin with a dot and are
never listed.

An object is a regular file. Links below the root are not followed, for reading, writing or deleting.

Permissions: files and folders are for their owner alone, whatever the umask. Where the root is for its group,
set-group-ID and writable (`chmod g+ws`), all that is written below it is, too.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pachvault.errors import (
    AbsentError,
    CorruptError,
    DeniedError,
    FullError,
    StoreError,
    TakenError,
    UsageError,
)
from pachvault.store import files
from pachvault.store.store import UNREADABLE, WHOLE_BYTES, ObjectInfo

_TEMPORARY = ".part"
_TEMPORARY_NAME = re.compile(rf"\.(?P<name>[^/]+)\.[0-9a-f]{{8}}{re.escape(_TEMPORARY)}")
_SHARED = stat.S_ISGID | stat.S_IWGRP
_MOUNTED = "is it still mounted?"
_DENIED = (errno.EACCES, errno.EPERM)
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class FolderStore:
    """A store in folder `root`. See `Store` for the contract."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = root.as_uri()
        self._identity: tuple[int, int] | None = None

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        """See Store.put."""
        parts = list(parts)
        with self._explained(name), self._made_folder(name) as (folder, last):
            there = files.status(folder, last)
            if there is not None:
                if not files.is_file(there):
                    raise TakenError("what is no object has this name", where=self._where(name))
                if there.st_size == size and files.has_content(folder, last, parts):
                    return False
                if there.st_size >= size:
                    raise TakenError("another object has this name already", where=self._where(name))
            with self._temporary(folder, name, parts, size) as temporary:
                os.rename(temporary, last, src_dir_fd=folder, dst_dir_fd=folder)
            files.sync_folder(folder)
        return True

    def put_new(self, name: str, data: bytes) -> None:
        """See Store.put_new."""
        with self._explained(name), self._made_folder(name) as (folder, last):
            with self._temporary(folder, name, [data], len(data)) as temporary:
                try:
                    files.link(folder, temporary, last)
                except FileExistsError as error:
                    # a network file system may ask twice: then it is ours that is there
                    if not files.has_content(folder, last, [data]):
                        raise TakenError(
                            "an object has this name already", where=self._where(name)
                        ) from error
            files.sync_folder(folder)

    def get(self, name: str, most: int = WHOLE_BYTES) -> bytes:
        """See Store.get."""
        with self._explained(name), self._opened(name) as (file, size):
            if size > most:
                raise CorruptError(
                    f"{size:,} bytes long where such an object has at most {most:,}", where=self._where(name)
                )
            with os.fdopen(file, "rb", buffering=0, closefd=False) as stream:
                return stream.read()

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See Store.get_range."""
        end = offset + length
        with self._explained(name), self._opened(name) as (file, size):
            # nothing is allocated for what cannot be there
            data = files.read_at(file, offset, length) if 0 <= offset <= end <= size else b""
        if len(data) != length:
            raise CorruptError(
                f"the object ends at byte {size}, {end} were promised", where=self._where(name)
            )
        return data

    def stat(self, name: str) -> ObjectInfo | None:
        """See Store.stat."""
        found = None
        with self._explained(name):
            try:
                with self._folder(name) as (folder, last):
                    found = files.status(folder, last)
            except (FileNotFoundError, NotADirectoryError):
                self._check_place()
        return _entry(name, found) if found is not None and files.is_file(found) else None

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """See Store.list."""
        found: list[ObjectInfo] = []
        with self._explained(folder):
            try:
                found += self._listed(folder)
            except (FileNotFoundError, NotADirectoryError):
                self._check_place()
        yield from sorted(found, key=lambda info: info.name)

    def delete(self, name: str) -> None:
        """See Store.delete."""
        with self._explained(name):
            try:
                with self._folder(name) as (folder, last):
                    if files.is_file(files.status(folder, last)):
                        os.unlink(last, dir_fd=folder)
            except (FileNotFoundError, NotADirectoryError):
                self._check_place()

    def sweep(self, before: datetime, is_own: Callable[[str], bool]) -> None:
        """See Store.sweep."""
        with self._explained(""):
            for info in list(self._listed("", is_temporary=True)):
                place, _, last = info.name.rpartition("/")
                match = _TEMPORARY_NAME.fullmatch(last)
                name = "/".join(filter(None, [place, match["name"]])) if match else ""
                if is_own(name) and info.modified_at < before:
                    self.delete(info.name)

    def create(self, *, is_shared: bool = False) -> None:
        """See Store.create."""
        try:
            for path in reversed([self.root, *self.root.parents]):
                if not path.is_dir():
                    path.mkdir(0o700, exist_ok=True)
                    with files.open_folder(path.parent) as parent:
                        files.sync_folder(parent)
            if is_shared:
                self.root.chmod(stat.S_IMODE(self.root.stat().st_mode) | 0o2770)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"cannot make the folder: {reason}", where=self.url) from error

    def exists(self) -> bool:
        """See Store.exists."""
        with self._explained(""):
            try:
                self._check_place()
            except AbsentError:
                return False
            return self.root.is_dir()

    def _check_place(self) -> None:
        """StoreError where the folder is another one than at first, AbsentError where there never was one.

        An unmounted folder is empty or gone: what was in it is not absent, it cannot be reached.
        """
        try:
            self._check_identity(self.root.stat())
        except (FileNotFoundError, NotADirectoryError) as error:
            if self._identity is None:
                raise AbsentError("no such place", where=self.url) from error
            raise StoreError("the place is gone", where=self.url, hint=_MOUNTED) from error

    def _check_identity(self, found: os.stat_result) -> None:
        identity = (found.st_dev, found.st_ino)
        if self._identity is None:
            self._identity = identity
        elif self._identity != identity:
            raise StoreError("the place is another one than before", where=self.url, hint=_MOUNTED)

    @contextmanager
    def _folder(self, name: str, *, is_made: bool = False) -> Iterator[tuple[int, str]]:
        """The folder of an object, opened, and the object's name in it."""
        *folders, last = name.split("/")
        with files.open_folder(self.root) as root:
            self._check_identity(os.fstat(root))
            with files.open_below(root, folders, is_made=is_made, is_shared=_is_shared(root)) as folder:
                yield folder, last

    @contextmanager
    def _made_folder(self, name: str) -> Iterator[tuple[int, str]]:
        try:
            with self._folder(name, is_made=True) as found:
                yield found
        except NotADirectoryError as error:
            if not self.root.is_dir():
                raise
            what = "a file or a link is where a folder of the vault should be"
            raise TakenError(what, where=self._where(name)) from error

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[int, int]]:
        """An object opened for reading, and its size; AbsentError where a link or a file is on the way."""
        try:
            with self._folder(name) as (folder, last), files.open_file(folder, last) as found:
                yield found
        except NotADirectoryError as error:
            self._check_place()
            raise AbsentError("no such object", where=self._where(name)) from error

    @contextmanager
    def _temporary(self, folder: int, name: str, parts: Iterable[bytes], size: int) -> Iterator[str]:
        """The content under a temporary name, whole and synced; what is left of it goes at the end."""
        temporary = f".{name.rpartition('/')[2][:200]}.{secrets.token_hex(4)}{_TEMPORARY}"
        with files.written(folder, temporary, parts, is_shared=_is_shared(folder)) as arrived:
            if arrived != size:
                what = f"{arrived} bytes arrived where {size} were sent"
                raise CorruptError(what, where=self._where(name))
            yield temporary

    def _listed(self, folder: str, *, is_temporary: bool = False) -> Iterator[ObjectInfo]:
        """What lies in a folder and in those below it; hidden is all but temporary files, or these alone are.

        A folder that was deleted since its name was read is empty.
        """
        pending = [folder]
        while pending:
            place = pending.pop()
            prefix = f"{place}/" if place else ""
            try:
                with self._folder(f"{prefix}.") as (handle, _), os.scandir(handle) as entries:
                    for entry in entries:
                        name, is_hidden = f"{prefix}{entry.name}", entry.name.startswith(".")
                        if entry.is_dir(follow_symlinks=False):
                            pending += [] if is_hidden else [name]
                        elif is_hidden == is_temporary:
                            with suppress(FileNotFoundError):  # deleted since
                                yield _entry(name, entry.stat(follow_symlinks=False))
            except (FileNotFoundError, NotADirectoryError):
                if place == folder:
                    raise
            except PermissionError:
                if place == folder:
                    raise
                yield ObjectInfo(place, 0, _FIRST, other=UNREADABLE)

    def _where(self, name: str) -> str:
        return f"{self.url}/{name}"

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turn the system's errors into one line that says what to do."""
        try:
            yield
        except OSError as error:
            number = error.errno
            where = self._where(name)
            if number == errno.ENOENT:
                self._check_place()
                raise AbsentError("no such object", where=where) from error
            if number in (errno.ENOSPC, errno.EDQUOT):
                raise FullError("the target is full", where=self.url, hint="make room, run again") from error
            if number in (*_DENIED, errno.EROFS):
                raise DeniedError("no right to read or write here", where=where) from error
            reason = os.strerror(number) if number else str(error).splitlines()[0]
            raise StoreError(f"input or output failed: {reason}", where=where) from error


def _is_shared(folder: int) -> bool:
    """Whether a folder of the vault is for its group, too: those below the root inherit that."""
    return os.fstat(folder).st_mode & _SHARED == _SHARED


def _entry(name: str, found: os.stat_result) -> ObjectInfo:
    """As a listing shows it. A time that no calendar has is the nearest one that it has."""
    seconds = min(max(found.st_mtime_ns / 1e9, _FIRST.timestamp()), _LAST.timestamp())
    other = "" if files.is_file(found) else "a link" if stat.S_ISLNK(found.st_mode) else "no regular file"
    return ObjectInfo(name, found.st_size, datetime.fromtimestamp(seconds, UTC), other)

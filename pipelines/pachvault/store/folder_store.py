"""A vault in a folder or on a mount.

Durability: an object is written under a temporary name, synced and renamed, and its folder is synced. So
after a power failure an object is complete or absent. Temporary names begin with a dot and are never listed.

An object is a regular file. Below the root no call follows a link.

Permissions: only the owner has access to files and folders, whatever the umask is. Where the root is
set-group-ID and writable for its group (`chmod g+ws`), the group has access, too.
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
            existing = files.status(folder, last)
            if existing is not None:
                if not files.is_file(existing):
                    raise TakenError("something that is not an object has this name", where=self._where(name))
                # format 3.3: the bytes are compared, because a damaged object may have the right size
                if existing.st_size == size and files.has_content(folder, last, parts):
                    # its writer may have died, or still be, between the rename and this
                    files.sync_folder(folder)
                    return False
                # format 3.4: only a shorter one is an aborted write that may be replaced
                if existing.st_size >= size:
                    raise TakenError("another object has this name already", where=self._where(name))
            with self._temporary(folder, name, parts, size) as temporary:
                # rename replaces: the name is free or has an aborted write; its writers have equal bytes
                os.rename(temporary, last, src_dir_fd=folder, dst_dir_fd=folder)
            files.sync_folder(folder)
        return True

    def put_new(self, name: str, data: bytes) -> None:
        """See Store.put_new."""
        with self._explained(name), self._made_folder(name) as (folder, last):
            with self._temporary(folder, name, [data], len(data)) as temporary:
                try:
                    # a link and no rename: it fails where the name is taken
                    files.link(folder, temporary, last)
                except FileExistsError as error:
                    # a network file system may send the call twice; then the existing object is ours
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
                    f"{size:,} bytes long, such an object has at most {most:,}", where=self._where(name)
                )
            with os.fdopen(file, "rb", buffering=0, closefd=False) as stream:
                return stream.read()

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See Store.get_range."""
        end = offset + length
        with self._explained(name), self._opened(name) as (file, size):
            # checked first: no memory is allocated for a range that does not exist
            data = files.read_at(file, offset, length) if 0 <= offset <= end <= size else b""
        if len(data) != length:
            raise CorruptError(
                f"the object ends at byte {size}, a read goes up to {end}", where=self._where(name)
            )
        return data

    def stat(self, name: str) -> ObjectInfo | None:
        """See Store.stat."""
        status = None
        with self._explained(name):
            try:
                with self._folder(name) as (folder, last):
                    status = files.status(folder, last)
            except (FileNotFoundError, NotADirectoryError):
                self._check_place()
        return _entry(name, status) if status is not None and files.is_file(status) else None

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """See Store.list."""
        entries: list[ObjectInfo] = []
        with self._explained(folder):
            try:
                entries += self._listed(folder)
            except (FileNotFoundError, NotADirectoryError):
                self._check_place()
        yield from sorted(entries, key=lambda info: info.name)

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
                # format 3.5: a hidden file of somebody else is not ours to delete
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
            raise UsageError(f"cannot create the folder: {reason}", where=self.url) from error

    def exists(self) -> bool:
        """See Store.exists."""
        with self._explained(""):
            try:
                self._check_place()
            except AbsentError:
                return False
            return self.root.is_dir()

    def _check_place(self) -> None:
        """StoreError where the root is another folder than at first, AbsentError where it never existed.

        After an unmount the root is empty or missing. Its objects are then unreachable, not absent.
        """
        try:
            self._check_identity(self.root.stat())
        except (FileNotFoundError, NotADirectoryError) as error:
            if self._identity is None:
                raise AbsentError("no such place", where=self.url) from error
            raise StoreError("the place no longer exists", where=self.url, hint=_MOUNTED) from error

    def _check_identity(self, status: os.stat_result) -> None:
        identity = (status.st_dev, status.st_ino)
        if self._identity is None:
            self._identity = identity
        elif self._identity != identity:
            raise StoreError("the place was replaced by another folder", where=self.url, hint=_MOUNTED)

    @contextmanager
    def _folder(self, name: str, *, is_made: bool = False) -> Iterator[tuple[int, str]]:
        """The folder of an object, opened, and the object's name in it."""
        *folders, last = name.split("/")
        with files.open_folder(self.root) as root:
            # by the open folder, not by its path: a mount may change between the two calls
            self._check_identity(os.fstat(root))
            with files.open_below(root, folders, is_made=is_made, is_shared=_is_shared(root)) as folder:
                yield folder, last

    @contextmanager
    def _made_folder(self, name: str) -> Iterator[tuple[int, str]]:
        try:
            with self._folder(name, is_made=True) as folder_and_name:
                yield folder_and_name
        except NotADirectoryError as error:
            if not self.root.is_dir():
                raise
            what = "a file or a link has the name of a folder of the vault"
            raise TakenError(what, where=self._where(name)) from error

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[int, int]]:
        """An object opened for reading, and its size; AbsentError where a component is a link or a file."""
        try:
            with self._folder(name) as (folder, last), files.open_file(folder, last) as file_and_size:
                yield file_and_size
        except NotADirectoryError as error:
            self._check_place()
            raise AbsentError("no such object", where=self._where(name)) from error

    @contextmanager
    def _temporary(self, folder: int, name: str, parts: Iterable[bytes], size: int) -> Iterator[str]:
        """The synced content under a temporary name. At the end that is removed, unless it was renamed."""
        # file systems allow 255 bytes in a name
        temporary = f".{name.rpartition('/')[2][:200]}.{secrets.token_hex(4)}{_TEMPORARY}"
        with files.written(folder, temporary, parts, is_shared=_is_shared(folder)) as written:
            if written != size:
                what = f"{written} bytes were written, {size} were expected"
                raise CorruptError(what, where=self._where(name))
            yield temporary

    def _listed(self, folder: str, *, is_temporary: bool = False) -> Iterator[ObjectInfo]:
        """The files in a folder and below: those without a dot, or with `is_temporary` those with one.

        A folder that was deleted since its name was read counts as empty.
        """
        pending = [folder]
        while pending:
            place = pending.pop()
            prefix = f"{place}/" if place else ""
            try:
                # each folder is opened from the root, which is checked again: after an unmount the listing
                # fails, it does not end early
                with self._folder(f"{prefix}.") as (handle, _), os.scandir(handle) as entries:
                    for entry in entries:
                        name, is_hidden = f"{prefix}{entry.name}", entry.name.startswith(".")
                        if entry.is_dir(follow_symlinks=False):
                            pending += [] if is_hidden else [name]
                        elif is_hidden == is_temporary:
                            with suppress(FileNotFoundError):  # deleted since the name was read
                                yield _entry(name, entry.stat(follow_symlinks=False))
            except (FileNotFoundError, NotADirectoryError):
                if place == folder:
                    raise
            except PermissionError:
                if place == folder:
                    raise
                # listed, not raised: a folder of others, such as lost+found, must not stop a listing
                yield ObjectInfo(place, 0, _FIRST, other=UNREADABLE)

    def _where(self, name: str) -> str:
        return f"{self.url}/{name}"

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Raise errors of the system as errors of pachvault."""
        try:
            yield
        except OSError as error:
            number = error.errno
            where = self._where(name)
            if number == errno.ENOENT:
                self._check_place()
                raise AbsentError("no such object", where=where) from error
            if number in (errno.ENOSPC, errno.EDQUOT):
                raise FullError(
                    "the target is full", where=self.url, hint="make room and run again"
                ) from error
            if number in (*_DENIED, errno.EROFS):
                raise DeniedError("permission to read or write is missing", where=where) from error
            reason = os.strerror(number) if number else str(error).splitlines()[0]
            raise StoreError(f"input or output failed: {reason}", where=where) from error


def _is_shared(folder: int) -> bool:
    """Whether the group of a folder has access, too. Folders below the root inherit that."""
    return os.fstat(folder).st_mode & _SHARED == _SHARED


def _entry(name: str, status: os.stat_result) -> ObjectInfo:
    """A listing entry. A time out of range becomes the nearest one in range."""
    seconds = min(max(status.st_mtime_ns / 1e9, _FIRST.timestamp()), _LAST.timestamp())
    other = (
        "" if files.is_file(status) else "a link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
    )
    return ObjectInfo(name, status.st_size, datetime.fromtimestamp(seconds, UTC), other)

"""A vault in a folder or on a mount, through pyarrow's local file system.

Durability: an object is written under a temporary name, synced, renamed, and its folder synced, so
that after a power cut it is there whole or not at all. Temporary names begin with a dot and are
never listed.

Permissions: files and folders are for their owner alone, whatever the umask. Where the root is for its group,
set-group-ID and writable (`chmod g+ws`), all that is written below it is, too.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pyarrow.fs import FileSelector, FileType, LocalFileSystem

from pachvault.errors import (
    AbsentError,
    CorruptError,
    DeniedError,
    FullError,
    StoreError,
    TakenError,
    UsageError,
)
from pachvault.store.store import ObjectInfo

_TEMPORARY = ".part"
_SHARED = stat.S_ISGID | stat.S_IWGRP
_MOUNTED = "is it still mounted?"


class LocalStore:
    """A store in folder `root`. See `Store` for the contract."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = root.as_uri()
        self._fs = LocalFileSystem()
        self._identity: tuple[int, int] | None = None

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        """See Store.put."""
        path = self.root / name
        parts = list(parts)
        with self._explained(name):
            if path.exists():
                found = path.stat().st_size
                if found == size and self._same(path, parts):
                    return False
                if found >= size:
                    raise TakenError("another object has this name already", where=self._where(name))
            self._make_folder(path.parent)
            self._write(path, parts, size)
        return True

    def get(self, name: str) -> bytes:
        """See Store.get."""
        with self._explained(name), self._fs.open_input_file(str(self.root / name)) as file:
            data: bytes = file.read()
            return data

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See Store.get_range."""
        with self._explained(name), self._fs.open_input_file(str(self.root / name)) as file:
            data: bytes = file.read_at(length, offset)
        if len(data) != length:
            raise CorruptError(
                f"the object ends at byte {offset + len(data)}, {offset + length} were promised",
                where=self._where(name),
            )
        return data

    def stat(self, name: str) -> ObjectInfo | None:
        """See Store.stat."""
        with self._explained(name):
            info = self._fs.get_file_info(str(self.root / name))
            if info.type == FileType.NotFound:
                self._check_place()
        return _entry(name, info) if info.type == FileType.File else None

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """See Store.list."""
        selector = FileSelector(str(self.root / folder), allow_not_found=True, recursive=True)
        with self._explained(folder):
            infos = self._fs.get_file_info(selector)
            if not infos:
                self._check_place()
        prefix = len(str(self.root)) + 1
        for info in sorted(infos, key=lambda info: info.path):
            if info.type == FileType.File and not info.base_name.startswith("."):
                yield _entry(info.path[prefix:], info)

    def delete(self, name: str) -> None:
        """See Store.delete."""
        with self._explained(name):
            (self.root / name).unlink(missing_ok=True)

    def sweep(self, before: datetime) -> None:
        """See Store.sweep."""
        with self._explained(""):
            for path in self.root.rglob(f".*{_TEMPORARY}"):
                with suppress(FileNotFoundError):  # its writer was quicker
                    if path.stat().st_mtime < before.timestamp():
                        path.unlink()

    def create(self, *, is_shared: bool = False) -> None:
        """See Store.create."""
        try:
            self._make_folder(self.root)
            if is_shared:
                self.root.chmod(stat.S_IMODE(self.root.stat().st_mode) | 0o2770)
        except OSError as error:
            raise UsageError(f"cannot make the folder: {error.strerror}", where=self.url) from error

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
            status = self.root.stat()
        except FileNotFoundError as error:
            if self._identity is None:
                raise AbsentError("no such place", where=self.url) from error
            raise StoreError("the place is gone", where=self.url, hint=_MOUNTED) from error
        identity = (status.st_dev, status.st_ino)
        if self._identity is None:
            self._identity = identity
        elif self._identity != identity:
            raise StoreError("the place is another one than before", where=self.url, hint=_MOUNTED)

    def _write(self, path: Path, parts: Iterable[bytes], size: int) -> None:
        temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}{_TEMPORARY}")
        try:
            self._make_private(temporary)
            with self._fs.open_output_stream(str(temporary)) as stream:
                for part in parts:
                    stream.write(part)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            written = temporary.stat().st_size
            if written != size:
                raise CorruptError(f"{written} bytes arrived where {size} were sent", where=str(path))
            temporary.rename(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)

    def _is_shared(self) -> bool:
        return self.root.is_dir() and self.root.stat().st_mode & _SHARED == _SHARED

    def _make_private(self, file: Path) -> None:
        """An empty file that those alone may open for whom the vault is."""
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        if self._is_shared():
            file.chmod(0o660)  # the umask does not count

    def _make_folder(self, folder: Path) -> None:
        missing = [folder, *folder.parents]
        missing = [path for path in missing if not path.is_dir()]
        for path in reversed(missing):
            path.mkdir(0o700, exist_ok=True)
            if path != self.root and self._is_shared():
                path.chmod(0o2770)
            _sync_folder(path.parent)

    def _same(self, path: Path, parts: Iterable[bytes]) -> bool:
        with path.open("rb") as file:
            return all(file.read(len(part)) == part for part in parts) and not file.read(1)

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
            if number in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise DeniedError("no right to read or write here", where=where) from error
            reason = os.strerror(number) if number else str(error).splitlines()[0]
            raise StoreError(f"input or output failed: {reason}", where=where) from error


def _entry(name: str, info: object) -> ObjectInfo:
    size, modified = info.size, info.mtime_ns  # type: ignore[attr-defined]  # pyarrow has no types
    return ObjectInfo(name, size, datetime.fromtimestamp(modified / 1e9, UTC))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Opens and writes files below an open folder without following links.

A folder is passed as an open file descriptor. Every component of a path is opened by itself, so a link that
somebody puts below the folder leads nowhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# not blocking: opening a pipe would wait for a writer
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK)
"""The errors of file systems without hard links."""
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS)
"""The errors of file systems that cannot sync folders (CIFS, some of FUSE)."""


@contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """A folder, opened."""
    handle = os.open(path, _DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def open_below(
    root: int, names: Iterable[str], *, is_made: bool = False, is_shared: bool = False
) -> Iterator[int]:
    """The folder below `root` with this path, opened; with `is_made` it is created where it is missing.

    Only the owner has access to a new folder; with `is_shared` the group has, too.
    Raises NotADirectoryError where a component is a link or a file.
    """
    handle = os.dup(root)
    try:
        for name in names:
            inner = _inner(handle, name, is_made=is_made, is_shared=is_shared)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def _inner(handle: int, name: str, *, is_made: bool, is_shared: bool) -> int:
    flags = _DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=handle)
    except FileNotFoundError:
        if not is_made:
            raise
    is_new = False
    with suppress(FileExistsError):  # another writer created it first
        os.mkdir(name, 0o700, dir_fd=handle)
        is_new = True
    inner = os.open(name, flags, dir_fd=handle)
    if is_new and is_shared:
        os.fchmod(inner, 0o2770)  # by its descriptor: another folder may have the name by now
    # also where another writer made the folder: it may not have synced the name yet
    sync_folder(handle)
    return inner


@contextmanager
def open_file(handle: int, name: str) -> Iterator[tuple[int, int]]:
    """A regular file, opened for reading, and its size; FileNotFoundError for anything else."""
    try:
        file = os.open(name, _READ, dir_fd=handle)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise FileNotFoundError(errno.ENOENT, "not a regular file") from error
        raise
    try:
        status = os.fstat(file)
        # asked of the open file: the name may mean something else by now
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file")
        yield file, status.st_size
    finally:
        os.close(file)


def status(handle: int, name: str) -> os.stat_result | None:
    """The status of a name in a folder, without following a link; None where it does not exist."""
    try:
        return os.stat(name, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_file(entry: os.stat_result | None) -> bool:
    """Whether a status is that of a regular file."""
    return entry is not None and stat.S_ISREG(entry.st_mode)


def read_at(file: int, offset: int, length: int) -> bytes:
    """`length` bytes from `offset`, fewer where the file ends before."""
    data = os.pread(file, length, offset)
    while len(data) < length and (more := os.pread(file, length - len(data), offset + len(data))):
        data += more  # one call reads at most 2 GiB
    return data


def has_content(handle: int, name: str, parts: Iterable[bytes]) -> bool:
    """Whether a name is that of a regular file with exactly this content."""
    try:
        with open_file(handle, name) as (file, _), os.fdopen(file, "rb", closefd=False) as stream:
            return all(stream.read(len(part)) == part for part in parts) and not stream.read(1)
    except FileNotFoundError:
        return False


@contextmanager
def written(handle: int, name: str, parts: Iterable[bytes], *, is_shared: bool = False) -> Iterator[int]:
    """Write and sync a new file; its size. At the end it is deleted, unless it was renamed."""
    try:
        file = os.open(name, _NEW_FILE, 0o600, dir_fd=handle)
        if is_shared:
            # not by the mode of the call to open: the umask would take the group's bits away
            os.fchmod(file, 0o660)
        with os.fdopen(file, "wb") as stream:
            for part in parts:
                stream.write(part)
            stream.flush()
            os.fsync(file)
            size = os.fstat(file).st_size
        yield size
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=handle)


def link(handle: int, name: str, new: str) -> None:
    """Give a file a second name; FileExistsError where the name is taken.

    On a file system without hard links the file is copied: exclusively, too, but not atomically.
    """
    try:
        os.link(name, new, src_dir_fd=handle, dst_dir_fd=handle, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with open_file(handle, name) as (file, size):
            data, mode = read_at(file, 0, size), stat.S_IMODE(os.fstat(file).st_mode)
        copy = os.open(new, _NEW_FILE, 0o600, dir_fd=handle)
        os.fchmod(copy, mode)
        with os.fdopen(copy, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(copy)


def sync_folder(handle: int) -> None:
    """Make the names in a folder durable, if the file system can."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise

"""Files and folders by their names in an open folder: below it no link is followed.

A folder is given as an open file descriptor. What stands for a folder or for an object and is neither, a link
above all, is never looked through.
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
# not blocking: it may be a pipe that nobody writes to
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK)
"""What a file system without hard links answers."""
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS)
"""What a file system answers that syncs no folders (CIFS, some of FUSE)."""


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
    """The folder that is reached from `root` by these names, opened; with `is_made` made where it is missing.

    What is made is for its owner alone, or for the group, too, where `is_shared`.
    Raises NotADirectoryError where a link or a file stands for a folder.
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
    is_own = False
    with suppress(FileExistsError):  # another writer was quicker
        os.mkdir(name, 0o700, dir_fd=handle)
        is_own = True
    made = os.open(name, flags, dir_fd=handle)
    if is_own and is_shared:
        os.fchmod(made, 0o2770)  # by its descriptor: the name may lead elsewhere by now
    sync_folder(handle)
    return made


@contextmanager
def open_file(handle: int, name: str) -> Iterator[tuple[int, int]]:
    """A regular file, opened for reading, and its size; FileNotFoundError where what has the name is none."""
    try:
        file = os.open(name, _READ, dir_fd=handle)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise FileNotFoundError(errno.ENOENT, "no regular file") from error
        raise
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(errno.ENOENT, "no regular file")
        yield file, found.st_size
    finally:
        os.close(file)


def status(handle: int, name: str) -> os.stat_result | None:
    """What has the name, itself: of a link not what it leads to; None where nothing has."""
    try:
        return os.stat(name, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_file(found: os.stat_result | None) -> bool:
    """Whether that is a regular file."""
    return found is not None and stat.S_ISREG(found.st_mode)


def read_at(file: int, offset: int, length: int) -> bytes:
    """`length` bytes from `offset`, fewer where the file ends before."""
    data = os.pread(file, length, offset)
    while len(data) < length and (more := os.pread(file, length - len(data), offset + len(data))):
        data += more  # a call reads 2 GiB at most
    return data


def has_content(handle: int, name: str, parts: Iterable[bytes]) -> bool:
    """Whether that is a file with just this content."""
    try:
        with open_file(handle, name) as (file, _), os.fdopen(file, "rb", closefd=False) as stream:
            return all(stream.read(len(part)) == part for part in parts) and not stream.read(1)
    except FileNotFoundError:
        return False


@contextmanager
def written(handle: int, name: str, parts: Iterable[bytes], *, is_shared: bool = False) -> Iterator[int]:
    """A new file with this content, synced, and its size; it goes at the end, if it still has its name."""
    try:
        file = os.open(name, _NEW_FILE, 0o600, dir_fd=handle)
        if is_shared:
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
    """Give a file a second name; FileExistsError where something has it.

    A file system without hard links gets a copy: exclusive, too, but not whole at once.
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
    """Make the names in a folder durable, as far as the file system can."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise

"""A plain folder that files are written to: never through a link, and each file completely or not at all.

Folders are opened one component at a time, without following links: a link that somebody put below the
destination cannot lead a write outside. The destination itself may be reached through a link.

A file is written in the working folder `.pachvault-extract` and then renamed. The working folder also has the
id of the snapshot, and is removed at the end. Where it was left, an extraction of that snapshot may go on.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from pachvault.errors import BusyError, FullError, PachvaultError, UsageError
from pachvault.store import files

WORKING = ".pachvault-extract"
"""No project has such a name: theirs begin with a letter, a digit or a hyphen."""
_SNAPSHOT = "snapshot"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)


class PlaceError(UsageError):
    """A folder that files belong in cannot be created or entered; `where` is the folder."""


class Folder:
    """An opened destination; use `opened`. Names are tuples of path components without `..`."""

    def __init__(self, path: Path, root: int, working: int, *, may_replace: bool, is_shared: bool) -> None:
        self.path = path
        self._root, self._working = root, working
        self._may_replace = may_replace
        self._folder_mode, self._file_mode = (0o777, 0o666) if is_shared else (0o700, 0o600)

    @contextmanager
    def entered(self, names: Sequence[str]) -> Iterator[int]:
        """The descriptor of a folder, which is created where it is missing.

        Raises PlaceError where that is not possible, FullError where the disk is full.
        """
        # a copy: threads share the root, and every handle on the way is closed
        handle = os.dup(self._root)
        try:
            for depth, name in enumerate(names, 1):
                try:
                    inner = _enter(name, handle, self._folder_mode)
                except OSError as error:
                    raise _refused(error, self.path, names[:depth], handle) from error
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)

    def has(self, parent: int, name: str, size: int, digest: bytes) -> bool:
        """Whether a regular file of this size and BLAKE3 digest is in an entered folder."""
        with ExitStack() as stack:
            try:
                handle, actual_size = stack.enter_context(files.open_file(parent, name))
            except OSError:
                return False  # absent, a link, or unreadable for this user: writing it reports what is wrong
            if actual_size != size:
                return False
            file = stack.enter_context(os.fdopen(handle, "rb", closefd=False))
            # typeshed's protocol has more than is used
            return hashlib.file_digest(file, blake3).digest() == digest  # type: ignore[arg-type]

    @contextmanager
    def written(self, parent: int, name: str) -> Iterator[BinaryIO]:
        """A file to write in an entered folder. It appears when the block ends without an error.

        Raises UsageError where something else has the name and may not be replaced, FullError where the disk
        is full, OSError otherwise.
        """
        self._check_free(parent, name)
        temporary = secrets.token_hex(8)
        try:
            # in the working folder, not beside its place: what a dead run leaves is found and deleted there
            # alone. It is below the destination, so the rename stays within one file system unless a folder
            # in it is a mount
            handle = os.open(temporary, _NEW, self._file_mode, dir_fd=self._working)
            with os.fdopen(handle, "wb") as file:
                yield file
            os.rename(temporary, name, src_dir_fd=self._working, dst_dir_fd=parent)
        except OSError as error:
            _remove(temporary, self._working)
            if error.errno in _FULL:
                raise _full(self.path) from error
            raise
        except BaseException:
            _remove(temporary, self._working)
            raise

    def _check_free(self, parent: int, name: str) -> None:
        if not self._may_replace and files.status(parent, name) is not None:
            raise UsageError("something else is there", hint="--overwrite replaces files")


def _remove(name: str, parent: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)


@contextmanager
def opened(path: Path, snapshot_id: str, *, overwrite: bool, is_shared: bool = False) -> Iterator[Folder]:
    """The destination of an extraction, created where it is missing.

    Files and folders are for their owner alone; with `is_shared` the umask decides. Raises UsageError where
    the folder has other content, unless files may be overwritten or an interrupted extraction of the same
    snapshot left it; BusyError while another extraction is at work there.
    """
    root = _opened_root(path)
    try:
        is_free = overwrite or not _has_content(root)
        with (
            _working(path, root, is_made=is_free) as working,
            _marked(path, working, snapshot_id, is_free=is_free),
        ):
            yield Folder(path, root, working, may_replace=overwrite, is_shared=is_shared)
            # only at a good end: after an error the mark lets the same snapshot go on in a folder that is not
            # empty
            os.unlink(_SNAPSHOT, dir_fd=working)
        with suppress(OSError):  # another extraction has begun
            os.rmdir(WORKING, dir_fd=root)
    finally:
        os.close(root)


def _opened_root(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(0o700)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _FULL:
            raise _full(path) from error
        what = "is a file" if path.is_file() else f"cannot be written: {error.strerror}"
        raise UsageError(what, where=str(path)) from error


def _has_content(root: int) -> bool:
    with os.scandir(root) as entries:
        return any(entry.name != WORKING for entry in entries)


@contextmanager
def _working(path: Path, root: int, *, is_made: bool) -> Iterator[int]:
    """The descriptor of the working folder; UsageError where it is missing and must not be created."""
    try:
        handle = _enter(WORKING, root, 0o700 if is_made else None)
    except FileNotFoundError as error:
        raise _not_empty(path) from error
    except OSError as error:
        raise _refused(error, path, [WORKING], root) from error
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _marked(path: Path, working: int, snapshot_id: str, *, is_free: bool) -> Iterator[None]:
    """Lock the working folder, write the snapshot's id to it, and delete what dead runs left in it."""
    where = str(path / WORKING)
    try:
        mark = os.open(
            _SNAPSHOT, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=working
        )
    except OSError as error:
        raise _refused(error, path, [WORKING, _SNAPSHOT], working) from error
    try:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError("another extraction is at work in this folder", where=str(path)) from error
        except OSError:
            pass  # a file system without locks
        try:
            # another snapshot's files, or the user's own: without `overwrite` they are not mixed with this
            # one's
            if os.pread(mark, 128, 0) != snapshot_id.encode():
                if not is_free:
                    raise _not_empty(path)
                os.ftruncate(mark, 0)
                os.pwrite(mark, snapshot_id.encode(), 0)
            # safe under the lock alone: these could be the files that another extraction writes
            for leftover in {*os.listdir(working)} - {_SNAPSHOT}:
                os.unlink(leftover, dir_fd=working)
        except OSError as error:
            if error.errno in _FULL:
                raise _full(path) from error
            raise UsageError(f"cannot be written: {error.strerror}", where=where) from error
        yield
    finally:
        os.close(mark)


def _enter(name: str, parent: int, mode: int | None) -> int:
    """The descriptor of a folder in a folder; created with `mode` where missing, unless that is None."""
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        if mode is None:
            raise
        with suppress(FileExistsError):
            os.mkdir(name, mode, dir_fd=parent)
        # opened by name again, and without following links: the name may be another process's by now
        return os.open(name, _FOLDER, dir_fd=parent)


def _refused(error: OSError, path: Path, names: Sequence[str], parent: int) -> PachvaultError:
    """The error for the last of `names`, in the folder `parent`, which cannot be entered."""
    if error.errno in _FULL:
        return _full(path)
    where = str(path.joinpath(*names))
    with suppress(OSError):
        info = files.status(parent, names[-1])
        if info is not None and stat.S_ISLNK(info.st_mode):
            return PlaceError("is a link, and nothing is written through a link", where=where)
    reason = "a file is in the way" if error.errno == errno.ENOTDIR else error.strerror
    return PlaceError(f"cannot be made: {reason}", where=where)


def _full(path: Path) -> FullError:
    hint = "make room and run the same command again: what is there is kept"
    return FullError("the disk is full", where=str(path), hint=hint)


def _not_empty(path: Path) -> UsageError:
    return UsageError("is not empty", where=str(path), hint="--overwrite replaces files in it")

"""A folder whose disk is full or whose system fails at any write: said in one line, and made up for."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

import stored
from memory import MemoryStore
from pachvault.errors import PachvaultError
from pachvault.store.folder_store import FolderStore
from stored import NamedError, Stored, attempt

ERRORS = {
    errno.ENOSPC: "the target is full",
    errno.EIO: "input or output failed",
    errno.EROFS: "permission to read or write is missing",
}
WRITERS = ["back up", "forget", "prune"]


def on_disk(folder: Path) -> Stored:
    """The story's vault in a folder, with the ages that it has."""
    story = stored.made()
    folder.mkdir()
    here = folder.stat().st_mtime
    for name, (data, written_at) in story.store.objects.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        then = here - (story.store.now - written_at).total_seconds()
        os.utime(path, (then, then))
    return replace(story, store=cast("MemoryStore", FolderStore(folder)))


class Counted:
    """A system's call that fails from its n-th time on, for so many times."""

    def __init__(self, inner: Callable[[int], None], nth: int, number: int, times: int) -> None:
        self._inner, self._nth, self._number, self._times = inner, nth, number, times
        self.calls = 0

    def __call__(self, handle: int) -> None:
        self.calls += 1
        if self._nth <= self.calls < self._nth + self._times:
            raise OSError(self._number, os.strerror(self._number))
        self._inner(handle)


@pytest.mark.parametrize("times", [1, 1000], ids=["once", "for good"])
@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("command", WRITERS)
def test_a_sync_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, number: int, times: int
) -> None:
    nth = 1
    while True:
        story = on_disk(tmp_path / str(nth))
        fails = Counted(lambda _: None, nth, number, times)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fails)
            error = attempt(command, story, story.store)
            if fails.calls < nth:
                break
            assert isinstance(error, (PachvaultError, NamedError))
            assert ERRORS[number] in str(error)
            assert not list((tmp_path / str(nth)).rglob(".*")), "a half-written file was left"
            patch.setattr(os, "fsync", lambda _: None)
            story.again(command)
        nth += 3  # an object takes two, three in a new folder
    assert nth > 4


class Closing:
    """A file that fails when it is closed, as those of network mounts do."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __enter__(self) -> Closing:
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


def closing(file: int, mode: str, **options: Any) -> Any:
    """os.fdopen, whose files for writing are such ones."""
    stream = FDOPEN(file, mode, **options)
    return Closing(stream) if "w" in mode else stream


FDOPEN = os.fdopen


@pytest.mark.parametrize("command", WRITERS)
def test_closing_a_file_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    story = on_disk(tmp_path / "vault")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", closing)
        error = attempt(command, story, story.store)
    assert "the target is full" in str(error)
    assert not list((tmp_path / "vault").rglob(".*"))
    story.again(command)

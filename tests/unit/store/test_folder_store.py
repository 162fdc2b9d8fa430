"""A store in a folder: objects are complete or absent and never overwritten; errors are one line."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pachvault.errors import (
    AbsentError,
    CorruptError,
    DamageError,
    DeniedError,
    PachvaultError,
    TakenError,
    UsageError,
)
from pachvault.store.folder_store import FolderStore
from pachvault.store.store import UNREADABLE


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    folder_store = FolderStore(tmp_path / "place")
    folder_store.create()
    return folder_store


def names(store: FolderStore, folder: str = "") -> list[str]:
    return [info.name for info in store.list(folder)]


def everything(store: FolderStore) -> list[str]:
    """Every file of the folder, temporary ones too."""
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


def test_an_object_is_read_back_whole_and_in_ranges(store: FolderStore) -> None:
    assert store.put("a/b/c", [b"hello ", b"", b"world"], 11) is True
    assert store.get("a/b/c") == b"hello world"
    assert store.get_range("a/b/c", 6, 5) == b"world"
    assert store.get_range("a/b/c", 0, 0) == b""
    info = store.stat("a/b/c")
    assert info is not None
    assert (info.name, info.size) == ("a/b/c", 11)
    assert abs(info.modified_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_empty_object_is_an_object(store: FolderStore) -> None:
    assert store.put("empty", [], 0) is True
    assert store.get("empty") == b""
    assert store.put("empty", [], 0) is False


def test_a_range_past_the_end_is_damage(store: FolderStore) -> None:
    store.put("a", [b"12345"], 5)
    with pytest.raises(DamageError, match="ends at byte 5, a read goes up to 9"):
        store.get_range("a", 3, 6)
    with pytest.raises(DamageError):
        store.get_range("a", 50, 1)


def test_listings_are_sorted_deep_and_of_one_folder(store: FolderStore) -> None:
    for name in ("b/2", "a", "b/1/x", "b.txt", "c/3"):
        store.put(name, [b"x"], 1)
    assert names(store) == ["a", "b.txt", "b/1/x", "b/2", "c/3"]
    assert names(store, "b") == ["b/1/x", "b/2"]
    assert names(store, "nothing/here") == []


def test_what_is_not_there_is_none_or_damage(store: FolderStore) -> None:
    assert store.stat("x") is None
    assert store.stat("x/y") is None
    store.put("f/x", [b"x"], 1)
    assert store.stat("f") is None
    for read in (lambda: store.get("x"), lambda: store.get_range("x", 0, 1)):
        with pytest.raises(DamageError, match="no such object"):
            read()


def test_deleting_is_idempotent(store: FolderStore) -> None:
    store.put("a/b", [b"x"], 1)
    store.delete("a/b")
    store.delete("a/b")
    assert store.stat("a/b") is None


def test_putting_the_same_again_does_nothing(store: FolderStore) -> None:
    store.put("a", [b"12", b"345"], 5)
    before = (store.root / "a").stat()
    assert store.put("a", [b"1234", b"5"], 5) is False
    assert (store.root / "a").stat().st_ino == before.st_ino


@pytest.mark.parametrize("other", [b"abcde", b"123456", b"1234567"])
def test_another_complete_object_is_never_overwritten(store: FolderStore, other: bytes) -> None:
    store.put("a", [other], len(other))
    with pytest.raises(DamageError, match="another object has this name"):
        store.put("a", [b"12345"], 5)
    assert store.get("a") == other
    assert everything(store) == ["a"]


def test_an_aborted_write_is_replaced(store: FolderStore) -> None:
    (store.root / "a").write_bytes(b"123")
    assert store.put("a", [b"12345"], 5) is True
    assert store.get("a") == b"12345"


def test_parts_that_do_not_add_up_leave_nothing(store: FolderStore) -> None:
    with pytest.raises(DamageError, match="4 bytes were written, 5 were expected"):
        store.put("a/b", [b"1234"], 5)
    assert everything(store) == []


def test_an_interrupted_write_leaves_nothing(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.put("b", [b"12345"], 5)
    assert everything(store) == []
    assert store.put("b", [b"12345"], 5) is True


def test_what_a_power_cut_left_is_not_listed(store: FolderStore) -> None:
    store.put("packs/aa/x", [b"x"], 1)
    (store.root / "packs/aa/.y.0123abcd").write_bytes(b"half")
    assert names(store) == ["packs/aa/x"]


def test_a_file_where_a_folder_is_needed_is_one_line(store: FolderStore) -> None:
    store.put("a", [b"x"], 1)
    with pytest.raises(TakenError, match="a file or a link has the name of a folder of the vault") as caught:
        store.put("a/b", [b"x"], 1)
    assert "\n" not in str(caught.value)
    assert store.get("a") == b"x"


def no_object(kind: str, store: FolderStore, outside: Path) -> None:
    """Something under the name of an object that is none; what it leads to is outside."""
    outside.mkdir()
    (outside / "x").write_bytes(b"precious")
    path = store.root / "a" / "x"
    path.parent.mkdir()
    if kind == "link":
        path.symlink_to(outside / "x")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.parent.rmdir()
        path.parent.symlink_to(outside)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "linked folder"])
def test_what_is_no_regular_file_is_no_object_and_no_link_is_followed(
    store: FolderStore, tmp_path: Path, kind: str
) -> None:
    no_object(kind, store, tmp_path / "outside")
    assert store.stat("a/x") is None
    for read in (lambda: store.get("a/x"), lambda: store.get_range("a/x", 0, 1)):
        with pytest.raises(AbsentError, match="no such object"):
            read()
    with pytest.raises(TakenError):
        store.put("a/x", [b"new"], 3)
    with pytest.raises(TakenError):
        store.put_new("a/x", b"new")
    store.delete("a/x")
    assert [info.name for info in store.list("") if not info.other] == []
    assert (tmp_path / "outside" / "x").read_bytes() == b"precious"
    assert os.path.lexists(store.root / "a" / "x")
    store.sweep(datetime.now(UTC) + timedelta(days=1), lambda _: True)
    assert (tmp_path / "outside" / "x").exists()


def test_a_listing_shows_what_is_no_object_and_does_not_look_into_it(
    store: FolderStore, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_bytes(b"precious")
    (store.root / "link").symlink_to(tmp_path / "outside")
    os.mkfifo(store.root / "pipe")
    store.put("a", [b"x"], 1)
    assert {info.name: info.other for info in store.list("")} == {
        "a": "",
        "link": "a link",
        "pipe": "not a regular file",
    }


def test_names_that_are_no_utf8_and_times_that_no_calendar_has_are_listed(store: FolderStore) -> None:
    Path(os.fsdecode(os.fsencode(store.root) + b"/\xff\xfe")).write_bytes(b"x")
    store.put("old", [b"x"], 1)
    store.put("late", [b"x"], 1)
    os.utime(store.root / "old", (-(10**10), -(10**10)))
    os.utime(store.root / "late", (10**11, 10**11))
    years = {info.name: info.modified_at.year for info in store.list("")}
    assert years.keys() == {"\udcff\udcfe", "old", "late"}
    assert years["old"] == 1970
    assert years["late"] > 2400  # some file systems keep less


def test_a_folder_that_may_not_be_read_hides_no_other(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a/x", [b"x"], 1)
    store.put("b/x", [b"x"], 1)
    there = (store.root / "a").stat().st_ino
    scandir = os.scandir

    def refuse(handle: int) -> Iterator[os.DirEntry[str]]:
        if os.fstat(handle).st_ino == there:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return scandir(handle)

    monkeypatch.setattr(os, "scandir", refuse)
    assert {info.name: info.other for info in store.list("")} == {"a": UNREADABLE, "b/x": ""}
    with pytest.raises(DeniedError):
        names(store, "a")


def test_an_object_that_is_too_long_is_not_read(store: FolderStore) -> None:
    with (store.root / "large").open("wb") as file:
        file.truncate(8 * 2**30)
    with pytest.raises(CorruptError, match="8,589,934,592 bytes long, such an object has at most 1,000"):
        store.get("large", 1000)
    with pytest.raises(CorruptError):
        store.get("large")
    store.put("small", [b"12345"], 5)
    with pytest.raises(CorruptError, match="the object ends at byte 5"):
        store.get_range("small", 0, 2**62)
    for offset, length in ((-1, 2), (3, -1)):
        with pytest.raises(CorruptError):
            store.get_range("small", offset, length)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EBADF])
def test_a_file_system_that_syncs_no_folders_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fsync = os.fsync

    def refuse(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    store = FolderStore(tmp_path / "a" / "b")
    store.create()
    assert store.put("x/y", [b"1"], 1)
    store.put_new("z", b"1")
    assert names(store) == ["x/y", "z"]


@pytest.mark.parametrize("has_links", [True, False])
def test_a_new_object_is_made_once_however_many_try(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, *, has_links: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    barrier = threading.Barrier(8)

    def attempt(number: int) -> bytes | None:
        data = b"%d" % number
        barrier.wait()
        try:
            store.put_new("config", data)
        except TakenError:
            return None
        return data

    with ThreadPoolExecutor(8) as pool:
        won = [data for data in pool.map(attempt, range(8)) if data is not None]
    assert won == [store.get("config")]
    assert everything(store) == ["config"]


def test_a_place_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot create the folder"):
        FolderStore(tmp_path / "file" / "vault").create()


def test_a_place_is_there_once_it_is_made(tmp_path: Path) -> None:
    folder_store = FolderStore(tmp_path / "x" / "y")
    assert not folder_store.exists()
    folder_store.create()
    folder_store.create()
    assert folder_store.exists()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EROFS, "permission to read or write is missing"),
        (errno.EACCES, "permission to read or write is missing"),
        (errno.ENOSPC, "the target is full"),
        (errno.EDQUOT, "the target is full"),
        (errno.EIO, "input or output failed: Input/output error"),
    ],
)
def test_a_refusing_system_is_explained_and_nothing_is_left(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(PachvaultError, match=message):
            store.put("a", [b"12345"], 5)
    assert everything(store) == []


@contextmanager
def full_disk(at: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A real file system of 1 MiB; where this user may not mount one, a system that says it is full."""
    at.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(at)]
    if os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0:
        try:
            yield
        finally:
            subprocess.run(["umount", str(at)], check=True)
        return

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(
        os, "fsync", lambda handle: refuse(handle) if os.fstat(handle).st_size > 2**20 else None
    )
    yield


def test_a_full_disk_is_said_and_what_was_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full_disk(tmp_path / "disk", monkeypatch):
        store = FolderStore(tmp_path / "disk" / "vault")
        store.create()
        store.put("kept", [b"kept"], 4)
        with pytest.raises(PachvaultError, match="the target is full"):
            store.put("large", [bytes(2**20)] * 4, 4 * 2**20)
        assert everything(store) == ["kept"]
        assert store.get("kept") == b"kept"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("is_shared", [False, True])
def test_objects_are_private_or_for_the_folder_s_group_whatever_the_umask(
    tmp_path: Path, umask: int, is_shared: bool
) -> None:
    before = os.umask(umask)
    try:
        store = FolderStore(tmp_path / "place")
        store.create(is_shared=is_shared)
        store.put("packs/ab/c", [b"data"], 4)
        store.put("top", [b"data"], 4)
    finally:
        os.umask(before)
    folders, files = (0o2770, 0o660) if is_shared else (0o700, 0o600)
    for path in [store.root, *store.root.rglob("*")]:
        assert path.stat().st_mode & 0o7777 == (folders if path.is_dir() else files), path


def test_an_existing_folder_keeps_its_permissions_and_what_is_written_in_it_is_private(
    tmp_path: Path,
) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place").chmod(0o777)
    store = FolderStore(tmp_path / "place")
    store.create()
    store.put("a/b", [b"data"], 4)
    modes = [path.stat().st_mode & 0o7777 for path in (store.root, store.root / "a", store.root / "a/b")]
    assert modes == [0o777, 0o700, 0o600]


def test_a_folder_that_its_owner_shares_later_is_shared_from_then_on(store: FolderStore) -> None:
    store.root.chmod(0o2770)
    store.put("a/b", [b"data"], 4)
    assert (store.root / "a/b").stat().st_mode & 0o777 == 0o660

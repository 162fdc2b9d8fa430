"""Tar streams against what Python's own `tarfile` writes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator

import pytest

from pachvault.errors import TransientError
from pachvault.pach import tar

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}
LONG = "/" + "/".join(["d" * 60] * 5) + "/" + "f" * 120


def archive(files: dict[str, bytes], kind: str = "pax", *, folders: Iterable[str] = ()) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=FORMATS[kind]) as writer:
        for folder in folders:
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            writer.addfile(info)
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            writer.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def cut(data: bytes, size: int) -> Iterator[memoryview]:
    for at in range(0, len(data), size):
        yield memoryview(data)[at : at + size]


def read(messages: Iterable[memoryview]) -> dict[str, bytes]:
    """Whole files; pieces must be in order and without gaps."""
    contents: dict[str, bytes] = {}
    done: list[str] = []
    for piece in tar.pieces(messages):
        assert piece.path not in done
        assert piece.offset == len(contents.get(piece.path, b""))
        contents[piece.path] = contents.get(piece.path, b"") + bytes(piece.data)
        if piece.is_last:
            assert len(contents[piece.path]) == piece.size
            done.append(piece.path)
    assert sorted(done) == sorted(contents)
    return contents


def gather(pieces: Iterable[tar.FilePiece], whole: dict[str, bytes]) -> None:
    """Add the files that came to their end to `whole`."""
    part = b""
    for piece in pieces:
        part = bytes(piece.data) if piece.offset == 0 else part + bytes(piece.data)
        if piece.is_last:
            whole[piece.path] = part


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1023, 1024, 5000])
def test_files_of_every_size_around_a_block_come_whole(kind: str, size: int) -> None:
    files = {"/a": b"x" * size, "/b": b"after"}
    assert read([memoryview(archive(files, kind))]) == files


@pytest.mark.parametrize("kind", ["pax", "gnu"])
def test_long_names_come_whole(kind: str) -> None:
    files = {LONG: b"long", "/short": b"s", LONG + "2": b"", "/" + "n" * 100: b"100"}
    assert read([memoryview(archive(files, kind))]) == files


def test_ustar_splits_a_name_over_prefix_and_name() -> None:
    files = {"/" + "p" * 90 + "/" + "n" * 90: b"x"}
    assert read([memoryview(archive(files, "ustar"))]) == files


def test_pax_records_of_any_name_and_size_are_followed() -> None:
    files = {"/ü€ name=with\nsigns": b"x" * 700}
    assert read([memoryview(archive(files))]) == files
    body = b"x" * 12345
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 14
    header = archive({"/a": b"1"})[:512]  # says one byte: the record before it says more
    data = (
        info.tobuf() + b"14 size=12345\n".ljust(512, b"\0") + header + body.ljust(12_800, b"\0") + bytes(1024)
    )
    assert read([memoryview(data)]) == {"/a": body}


def test_sizes_in_base_256_are_read() -> None:
    data = bytearray(archive({"/a": b"12345"}, "ustar"))
    data[124:136] = b"\x80" + (5).to_bytes(11, "big")
    assert read([memoryview(bytes(data))]) == {"/a": b"12345"}


def test_folders_are_left_out() -> None:
    assert read([memoryview(archive({"/d/a": b"x"}, folders=["/d/", "/e/"]))]) == {"/d/a": b"x"}


def test_an_archive_of_nothing_has_no_files() -> None:
    assert read([memoryview(bytes(1024))]) == {}
    assert read([memoryview(archive({}))]) == {}


@pytest.mark.parametrize("size", [1, 7, 511, 512, 513, 4096])
def test_messages_may_end_anywhere(size: int) -> None:
    files = {"/a": b"a" * 1300, LONG: b"b" * 512, "/empty": b"", "/c": b"c"}
    assert read(cut(archive(files), size)) == files
    assert read(part for message in cut(archive(files), size) for part in (memoryview(b""), message)) == files


def test_a_stream_cut_anywhere_is_worth_another_try_and_gives_no_short_file() -> None:
    files = {"/a": b"a" * 700, LONG: b"b" * 512, "/empty": b"", "/c": b"c"}
    data = archive(files)
    end = len(data.rstrip(b"\0")) + -len(data.rstrip(b"\0")) % 512 + 1024
    for length in range(0, end, 13):
        whole: dict[str, bytes] = {}
        with pytest.raises(TransientError, match="before its end mark"):
            gather(tar.pieces([memoryview(data)[:length]]), whole)
        assert whole.items() <= files.items()


def test_what_follows_the_end_mark_is_drained() -> None:
    """The call's own status comes after its last message: a failure there must not be missed."""

    def messages() -> Iterator[memoryview]:
        yield memoryview(archive({"/a": b"x"}))
        raise TransientError("the server failed at the very end")

    with pytest.raises(TransientError, match="at the very end"):
        read(messages())


def test_garbage_is_no_tar_stream() -> None:
    with pytest.raises(TransientError, match="no tar stream"):
        read([memoryview(b"garbage!" * 200)])


def test_a_large_file_is_passed_on_without_gathering_it() -> None:
    data = archive({"/a": bytes(100_000)})
    sizes = [len(piece.data) for piece in tar.pieces(cut(data, 10_000))]
    assert max(sizes) <= 10_000
    assert sum(sizes) == 100_000

"""Tar headers: what any reader makes of them."""

from __future__ import annotations

import io
import tarfile

import pytest

from embedded_pachyderm.pfs.content import tar_headers


def read_back(name: str, data: bytes) -> tarfile.TarInfo:
    stream = tar_headers.header(name, len(data)) + data + tar_headers.padding(len(data)) + tar_headers.END
    assert len(stream) % tar_headers.BLOCK == 0
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        (member,) = archive
        held = archive.extractfile(member)
        assert held is None or held.read() == data
        return member


@pytest.mark.parametrize(
    "name",
    [
        "/a",
        "/" + "n" * 99,
        "/" + "n" * 100,
        "/" + "n" * 300,
        "/" + "d" * 80 + "/" + "e" * 60,
        "/" + "d" * 155 + "/f",
        "/" + "d" * 156 + "/f",
        "/" + "/".join(["d" * 60] * 4) + "/f",
        "/a b='c'",
    ],
)
def test_every_name_survives(name: str) -> None:
    member = read_back(name, b"content")
    assert (member.name, member.size, member.mode, member.mtime) == (name, 7, 0, 0)
    assert member.isfile()


def test_a_slash_at_the_end_is_a_directory() -> None:
    member = read_back("/d/", b"")
    assert member.isdir()


def test_long_directories_too() -> None:
    name = "/" + "d" * 120 + "/"
    assert read_back(name, b"").name == name.rstrip("/")


def test_a_size_beyond_eight_gibibytes_is_told() -> None:
    size = 9 << 30
    head = tar_headers.header("/big", size)
    with tarfile.open(fileobj=io.BytesIO(head + tar_headers.END), ignore_zeros=True) as archive:
        assert archive.next().size == size  # type: ignore[union-attr]  # there is one


def test_padding_fills_the_block() -> None:
    assert [len(tar_headers.padding(size)) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]

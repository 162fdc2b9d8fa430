"""Pachyderm's tar streams as pieces of files, without copying and without `tarfile`.

`tarfile` costs about 60 µs a header, more than everything else done to a small file. Pachyderm writes
ustar headers, with PAX ones for long names and large files, files and directories only, and ends
every complete stream with two zero blocks: a stream without them was cut.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pachvault.errors import TransientError

BLOCK = 512
_ZEROS = bytes(BLOCK)
_HEADER = struct.Struct("100s24x12s20xc188x155s12x")  # name, size, kind, prefix
_SMALL_BYTES = 256 * 1024
_MOST_HEADER_BYTES = 1024 * 1024
_OCTAL = re.compile(rb"[0-7]*")


class FilePiece(NamedTuple):
    """Bytes of a file: the whole of a small one, a part of a large one. Pieces come in order."""

    path: str
    size: int
    """Of the whole file."""
    offset: int
    data: memoryview

    @property
    def is_last(self) -> bool:
        """Whether the file ends here."""
        return self.offset + len(self.data) == self.size


class FileRun(NamedTuple):
    """Complete small files that came together, in order: their paths and their bytes."""

    paths: list[str]
    data: list[memoryview]


def pieces(messages: Iterable[memoryview]) -> Iterator[FilePiece]:
    """The files of a tar stream. Raises what `runs` raises."""
    return flat(runs(messages))


def flat(pieces: Iterable[FilePiece | FileRun]) -> Iterator[FilePiece]:
    """The files of runs, one by one."""
    for piece in pieces:
        if isinstance(piece, FileRun):
            for path, data in zip(*piece, strict=True):
                yield FilePiece(path, len(data), 0, data)
        else:
            yield piece


def runs(messages: Iterable[memoryview]) -> Iterator[FilePiece | FileRun]:
    """The files of a tar stream, small ones many at a time.

    Raises TransientError where the stream ends before its end mark, or is no such stream: reading
    again from the last complete file is safe.
    """
    try:
        yield from _runs(messages)
    except ValueError as error:  # an invalid number, or a name that is not UTF-8
        raise TransientError("the stream is no tar stream: a header is invalid") from error


def _runs(messages: Iterable[memoryview]) -> Iterator[FilePiece | FileRun]:
    source = iter(messages)
    buffer = memoryview(b"")
    extended: dict[str, str] = {}
    zero_blocks = 0
    while zero_blocks < 2:
        buffer = _at_least(buffer, BLOCK, source)
        if not extended and not zero_blocks:
            run, length = _run(buffer)
            if length:
                yield run
                buffer = buffer[length:]
                continue
        header, buffer = buffer[:BLOCK], buffer[BLOCK:]
        if header == _ZEROS:
            zero_blocks += 1
            continue
        kind = header[156:157].tobytes()
        size = _decimal(extended["size"]) if "size" in extended else _number(header[124:136].tobytes())
        padding = -size % BLOCK
        if kind in (b"x", b"L"):
            if size > _MOST_HEADER_BYTES:
                raise ValueError("a header as long as a file")
            buffer = _at_least(buffer, size + padding, source)
            body = buffer[:size].tobytes()
            extended |= _records(body) if kind == b"x" else {"path": body.rstrip(b"\0").decode()}
            buffer = buffer[size + padding :]
            continue
        path = extended.get("path") or _name(header[:100].tobytes(), header[345:500].tobytes())
        extended = {}
        if kind not in (b"0", b"\0"):
            continue
        if size == 0:
            yield FilePiece(path, 0, 0, memoryview(b""))
        offset = 0
        while offset < size:
            if not len(buffer):
                buffer = _at_least(buffer, 1, source)
            part = buffer[: size - offset]
            yield FilePiece(path, size, offset, part)
            offset += len(part)
            buffer = buffer[len(part) :]
        if padding:
            buffer = _at_least(buffer, padding, source)[padding:]
    for _ in source:  # the call's own status comes after the last message
        pass


def _run(buffer: memoryview) -> tuple[FileRun, int]:
    """The complete small files at the beginning of a buffer, and how many bytes of it they take."""
    run = FileRun([], [])
    at, last_header = 0, len(buffer) - BLOCK
    while at <= last_header:
        name, digits, kind, prefix = _HEADER.unpack_from(buffer, at)
        if kind != b"0":
            break
        size = _number(digits)
        start = at + BLOCK
        following = start + size + -size % BLOCK
        if size > _SMALL_BYTES or following > len(buffer):
            break
        run.paths.append(_name(name, prefix))
        run.data.append(buffer[start : start + size])
        at = following
    return run, at


def _at_least(buffer: memoryview, size: int, source: Iterator[memoryview]) -> memoryview:
    """`buffer`, extended from `source` until it holds `size` bytes."""
    if len(buffer) >= size:
        return buffer
    held = [buffer]
    length = len(buffer)
    while length < size:
        message = next(source, None)
        if message is None:
            raise TransientError("the stream ended before its end mark")
        held.append(message)
        length += len(message)
    return held[1] if not len(buffer) and len(held) == 2 else memoryview(b"".join(held))


def _number(field: bytes) -> int:
    """A header's number: octal, or base 256 where the first bit is set."""
    if field[0] & 0x80:
        # the first of the 12 bytes is the marker, 11 are the number
        return int.from_bytes(field, "big") & ((1 << 88) - 1)
    digits = field.strip(b" \0")
    if not _OCTAL.fullmatch(digits):
        raise TransientError("the stream is no tar stream: a header has no size")
    return int(digits or b"0", 8)


def _decimal(text: str) -> int:
    """A number in a PAX record."""
    # 18 digits fit in 64 bits; int() would take signs, underscores and digits of other scripts, too
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise ValueError("no number")
    return int(text)


def _name(name: bytes, prefix: bytes) -> str:
    name, prefix = name.partition(b"\0")[0], prefix.partition(b"\0")[0]
    return (prefix + b"/" + name if prefix else name).decode()


def _records(body: bytes) -> dict[str, str]:
    """PAX records: `length key=value` and a newline, each."""
    pax_records = {}
    while body:
        length = _decimal(body.partition(b" ")[0].decode())
        if not 0 < length <= len(body):
            raise ValueError("a record that ends before it begins, or not at all")
        key, _, value = body[:length].partition(b" ")[2].partition(b"=")
        pax_records[key.decode()] = value[:-1].decode()
        body = body[length:]
    return pax_records

"""Messages that are serialized and parsed by hand, because protobuf in pure Python is slow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.pfs.service.listing import Item

MESSAGE_BYTES = 2 << 20


def varint(number: int) -> bytes:
    """A number, seven bits a byte."""
    if number < 128:
        return bytes((number,))
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(tag: bytes, data: bytes) -> bytes:
    return tag + varint(len(data)) + data


def bytes_values(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of a stream as BytesValue messages of a good size."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= MESSAGE_BYTES:
            yield b"".join((b"\x0a", varint(size), *held))
            held, size = [], 0
    if size:
        yield b"".join((b"\x0a", varint(size), *held))


class FileInfos:
    """Writes the FileInfo messages of one commit."""

    def __init__(self, commit: Any, committed: Any | None) -> None:
        self._commit = _field(b"\x0a", commit.SerializeToString())
        self._committed = _field(b"\x1a", committed.SerializeToString()) if committed is not None else b""

    def encode(self, item: Item) -> bytes:
        """The message of one file or directory."""
        path = item.path.encode()
        datum = item.datum.encode()
        file = b"".join(
            (
                *(self._commit, b"\x12", varint(len(path)), path),
                *((b"\x1a", varint(len(datum)), datum) if datum else ()),
            )
        )
        kind = pfs_pb2.DIR if path.endswith(b"/") else pfs_pb2.FILE
        return b"".join(
            (
                *(b"\x0a", varint(len(file)), file, b"\x10", varint(kind), self._committed),
                *((b"\x20", varint(item.size)) if item.size else ()),
                *(b"\x2a", varint(len(item.digest)), item.digest),
            )
        )


def difference(new: bytes | None, old: bytes | None) -> bytes:
    """A DiffFileResponse of two FileInfo messages."""
    return (_field(b"\x0a", new) if new is not None else b"") + (
        _field(b"\x12", old) if old is not None else b""
    )


def unknown_number(message: Any, field: int) -> int:
    """A number in a field that python-pachyderm's message does not have; 0 if it was not sent."""
    number = 0
    for unknown in message.UnknownFields():
        if unknown.field_number == field and unknown.wire_type == 0:
            number = int(unknown.data)
    return number


class Put(NamedTuple):
    """An AddFile with raw bytes: what most of ModifyFile's messages are."""

    path: str
    datum: str
    data: bytes


def modification(message: bytes) -> Any:
    """A ModifyFileRequest: a plain put is read by hand, anything else by protobuf."""
    try:
        if message[0] == _ADD_FILE:
            length, at = _read_varint(message, 1)
            if at + length == len(message):
                return _put(message, at)
    except (_NotPlainError, IndexError, UnicodeDecodeError):
        pass
    return pfs_pb2.ModifyFileRequest.FromString(message)


_ADD_FILE, _PATH, _DATUM, _RAW = 0x12, 0x0A, 0x12, 0x1A


class _NotPlainError(Exception):
    """Something else than a path, a datum and raw bytes, each once."""


def _put(message: bytes, at: int) -> Put:
    fields: dict[int, bytes] = {}
    while at < len(message):
        tag = message[at]
        length, start = _read_varint(message, at + 1)
        at = start + length
        if tag not in (_PATH, _DATUM, _RAW) or tag in fields or at > len(message):
            raise _NotPlainError
        if tag == _RAW and length:
            if message[start] != _PATH:  # BytesValue.value has the same tag as AddFile.path
                raise _NotPlainError
            inner, start = _read_varint(message, start + 1)
            if start + inner != at:
                raise _NotPlainError
        fields[tag] = message[start:at]
    return Put(fields.get(_PATH, b"").decode(), fields.get(_DATUM, b"").decode(), fields.get(_RAW, b""))


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7

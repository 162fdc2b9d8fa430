"""Message bytes written and read by hand.

`GetFileSetRequest.type` came with Pachyderm 2.9; python-pachyderm 7.6 has the messages of 2.7. A field's
bytes after a serialised message are part of it, so it is appended. Data messages are taken apart and put
together here because pure-Python protobuf would copy them, and take longer over a small file than all else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TOTAL = 0
DIFF = 1

_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""Bytes that a field of a fixed size takes, by wire type."""


def get_file_set(request: Any, kind: int) -> bytes:
    """A GetFileSetRequest with its `type` (field 2)."""
    return bytes(request.SerializeToString()) + (b"\x10\x01" if kind == DIFF else b"")


def add_file(path: str, data: bytes | memoryview) -> bytes:
    """A ModifyFileRequest that adds to a file: `add_file` (2) with `path` (1) and `raw.value` (3, 1)."""
    raw = b"".join((b"\x0a", _varint(len(data)), data)) if len(data) else b""
    return field(2, field(1, path.encode()) + field(3, raw))


def delete_file(path: str) -> bytes:
    """A ModifyFileRequest that deletes a path: `delete_file` (3) with `path` (1)."""
    return field(3, field(1, path.encode()))


def field(number: int, value: bytes | str) -> bytes:
    """A field of bytes, text or a message."""
    data = value.encode() if isinstance(value, str) else value
    return b"".join((_varint(number << 3 | 2), _varint(len(data)), data))


def flag(number: int, *, value: bool) -> bytes:
    """A field of type bool; nothing where it is false."""
    return _varint(number << 3) + b"\x01" if value else b""


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of bytes, text or messages, by number; those of other types are passed over.

    Raises ValueError where the bytes are no message.
    """
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _read_varint(message, at)
            continue
        if kind == _BYTES:
            size, at = _read_varint(message, at)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise ValueError(f"not a message: wire type {kind}")
        if at + size > len(message):
            raise ValueError("not a message: it ends in a field")
        if kind == _BYTES:
            yield tag >> 3, message[at : at + size]
        at += size


def text(message: bytes, number: int) -> str:
    """A text field of a message; empty where it is not set."""
    return dict(fields(message)).get(number, b"").decode()


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """A number, and where the next field begins."""
    value, shift = 0, 0
    while at < len(message) and shift < 64:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("not a message: a number does not end")


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def bytes_value(message: bytes) -> memoryview:
    """The payload of a serialised google.protobuf.BytesValue, without a copy."""
    if not message:
        return memoryview(b"")
    if message[0] != 0x0A:
        raise ValueError(f"not a BytesValue: it begins with byte {message[0]:#x}")
    length, shift, at = 0, 0, 1
    while True:
        byte = message[at]
        length |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            break
    if at + length != len(message):
        raise ValueError("not a BytesValue: its length does not fit")
    return memoryview(message)[at:]

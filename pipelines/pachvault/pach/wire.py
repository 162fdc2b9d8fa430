"""Message bytes written and read by hand.

`GetFileSetRequest.type` came with Pachyderm 2.9; python-pachyderm 7.6 has the messages of 2.7. A field's
bytes after a serialised message are part of it, so it is appended. Data messages are taken apart and put
together here because pure-Python protobuf would copy them, and take longer over a small file than all else.
"""

from __future__ import annotations

from typing import Any

TOTAL = 0
DIFF = 1


def get_file_set(request: Any, kind: int) -> bytes:
    """A GetFileSetRequest with its `type` (field 2)."""
    return bytes(request.SerializeToString()) + (b"\x10\x01" if kind == DIFF else b"")


def add_file(path: str, data: bytes | memoryview) -> bytes:
    """A ModifyFileRequest that adds to a file: `add_file` (2) with `path` (1) and `raw.value` (3, 1)."""
    raw = b"".join((b"\x0a", _varint(len(data)), data)) if len(data) else b""
    return _field(2, _field(1, path.encode()) + _field(3, raw))


def delete_file(path: str) -> bytes:
    """A ModifyFileRequest that deletes a path: `delete_file` (3) with `path` (1)."""
    return _field(3, _field(1, path.encode()))


def _field(number: int, value: bytes) -> bytes:
    return b"".join((bytes((number << 3 | 2,)), _varint(len(value)), value))


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

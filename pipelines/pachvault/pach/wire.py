"""Message bytes written and read by hand.

`GetFileSetRequest.type` came with Pachyderm 2.9; python-pachyderm 7.6 has the messages of 2.7. A field's
bytes after a serialised message are part of it, so it is appended. Data messages are taken apart here
because pure-Python protobuf would copy them.
"""

from __future__ import annotations

from typing import Any

TOTAL = 0
DIFF = 1


def get_file_set(request: Any, kind: int) -> bytes:
    """A GetFileSetRequest with its `type` (field 2)."""
    return bytes(request.SerializeToString()) + (b"\x10\x01" if kind == DIFF else b"")


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

"""Messages that are encoded by hand are the same as protobuf's."""

from __future__ import annotations

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import example, given
from hypothesis import strategies as st
from python_pachyderm.proto.v2.pfs import pfs_pb2

from pachvault.pach import codec

PATHS = st.text(min_size=1, max_size=300)


@given(PATHS, st.binary(max_size=300))
@example("/empty", b"")
@example("/large", bytes(3_000_000))
def test_a_file_to_add(path: str, data: bytes) -> None:
    expected = pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path=path, raw=BytesValue(value=data)))
    assert pfs_pb2.ModifyFileRequest.FromString(codec.add_file(path, memoryview(data))) == expected


@given(PATHS)
def test_a_path_to_delete(path: str) -> None:
    expected = pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path))
    assert pfs_pb2.ModifyFileRequest.FromString(codec.delete_file(path)) == expected


@given(st.binary(max_size=300))
@example(bytes(3_000_000))
def test_a_payload_is_what_was_put_in(data: bytes) -> None:
    assert codec.bytes_value(BytesValue(value=data).SerializeToString()) == data


def test_fields_are_read_back_whatever_lies_between_them() -> None:
    message = (
        codec.field(1, "a")
        + b"\x18\x96\x01"
        + codec.field(300, b"x" * 200)
        + b"\x25abcd"
        + codec.field(1, "b")
    )
    assert list(codec.fields(message)) == [(1, b"a"), (300, b"x" * 200), (1, b"b")]
    assert codec.text(message, 1) == "b"
    assert codec.text(message, 2) == ""


@pytest.mark.parametrize(
    "data", [b"\x0a\x05abc", b"\x0a", b"\x80", b"\x80" * 11, b"\x25abc", b"\x0b", b"\x0f"]
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a message"):
        list(codec.fields(data))


def test_a_flag_is_there_only_when_it_is_set() -> None:
    assert (codec.flag(3, value=True), codec.flag(3, value=False)) == (b"\x18\x01", b"")

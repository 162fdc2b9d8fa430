"""Messages put together by hand are those that protobuf would make."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import example, given
from hypothesis import strategies as st
from python_pachyderm.proto.v2.pfs import pfs_pb2

from pachvault.pach import wire

PATHS = st.text(min_size=1, max_size=300)


@given(PATHS, st.binary(max_size=300))
@example("/empty", b"")
@example("/large", bytes(3_000_000))
def test_a_file_to_add(path: str, data: bytes) -> None:
    expected = pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path=path, raw=BytesValue(value=data)))
    assert pfs_pb2.ModifyFileRequest.FromString(wire.add_file(path, memoryview(data))) == expected


@given(PATHS)
def test_a_path_to_delete(path: str) -> None:
    expected = pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path))
    assert pfs_pb2.ModifyFileRequest.FromString(wire.delete_file(path)) == expected


@given(st.binary(max_size=300))
@example(bytes(3_000_000))
def test_a_payload_is_what_was_put_in(data: bytes) -> None:
    assert wire.bytes_value(BytesValue(value=data).SerializeToString()) == data

"""Messages that are encoded and decoded by hand are the same as protobuf's."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import example, given
from hypothesis import strategies as st
from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.pfs.service import pfs_codec
from embedded_pachyderm.pfs.service.listing import Item

COMMIT = pfs_pb2.Commit(
    repo=pfs_pb2.Repo(name="r", type="user", project=pfs_pb2.Project(name="default")), id="a" * 32
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
SIZES = st.integers(0, 2**63 - 1)

items = st.builds(
    Item,
    path=st.one_of(NAMES, NAMES.map(lambda name: name + "/")),
    datum=NAMES,
    size=SIZES,
    digest=st.binary(max_size=200),
    parts=st.just(b""),
)
committed_times = st.none() | st.builds(
    Timestamp, seconds=st.integers(0, 2**33), nanos=st.integers(0, 10**9 - 1)
)


def told(item: Item, committed: Timestamp | None) -> Any:
    """The FileInfo as protobuf builds it."""
    return pfs_pb2.FileInfo(
        file=pfs_pb2.File(commit=COMMIT, path=item.path, datum=item.datum),
        file_type=pfs_pb2.DIR if item.path.endswith("/") else pfs_pb2.FILE,
        committed=committed,
        size_bytes=item.size,
        hash=item.digest,
    )


@given(items, committed_times)
@example(Item("/", "", 0, b"", b""), None)
@example(Item("/" + "long/" * 5000 + "name", "default", 2**40, bytes(32), b""), Timestamp())
@example(Item("/für/文件/\N{GRINNING FACE}", "日", 127, b"\x00", b""), Timestamp(seconds=1, nanos=1))
@example(Item("/" + "a" * 126, "", 128, b"d" * 128, b""), None)
def test_a_file_is_told_of_as_protobuf_would(item: Item, committed: Timestamp | None) -> None:
    encoded = pfs_codec.FileInfos(COMMIT, committed).encode(item)
    assert pfs_pb2.FileInfo.FromString(encoded) == told(item, committed)
    if item.path and item.digest:  # protobuf leaves out what is empty, which no file's are
        assert encoded == told(item, committed).SerializeToString()


@given(st.none() | items, st.none() | items)
def test_a_difference_is_told_of_as_protobuf_would(new: Item | None, old: Item | None) -> None:
    infos = pfs_codec.FileInfos(COMMIT, Timestamp(seconds=5))
    encoded = pfs_codec.difference(*(None if item is None else infos.encode(item) for item in (new, old)))
    expected = pfs_pb2.DiffFileResponse(
        new_file=None if new is None else told(new, Timestamp(seconds=5)),
        old_file=None if old is None else told(old, Timestamp(seconds=5)),
    )
    assert pfs_pb2.DiffFileResponse.FromString(encoded) == expected


@given(st.lists(st.binary(max_size=300)))
@example([bytes(pfs_codec.MESSAGE_BYTES - 1), b"xy", b"z"])
def test_pieces_arrive_as_the_same_bytes(pieces: list[bytes]) -> None:
    messages = [BytesValue.FromString(message).value for message in pfs_codec.bytes_values(pieces)]
    assert b"".join(messages) == b"".join(pieces)
    assert all(messages)


puts = st.builds(
    lambda path, datum, value: pfs_pb2.AddFile(path=path, datum=datum, raw=value),
    NAMES,
    NAMES,
    st.none() | st.builds(BytesValue, value=st.binary(max_size=300)),
)


@given(puts)
@example(pfs_pb2.AddFile(path="/a", raw=BytesValue()))
@example(pfs_pb2.AddFile())
@example(pfs_pb2.AddFile(path="/a", raw=BytesValue(value=bytes(1 << 16))))
def test_a_put_is_read_as_protobuf_would(add: Any) -> None:
    read = pfs_codec.modification(pfs_pb2.ModifyFileRequest(add_file=add).SerializeToString())
    assert isinstance(read, pfs_codec.Put)
    assert read == (add.path, add.datum, add.raw.value)


@pytest.mark.parametrize(
    "request_",
    [
        pfs_pb2.ModifyFileRequest(),
        pfs_pb2.ModifyFileRequest(set_commit=COMMIT),
        pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path="/a", datum="d")),
        pfs_pb2.ModifyFileRequest(copy_file=pfs_pb2.CopyFile(dst="/a", append=True)),
        pfs_pb2.ModifyFileRequest(
            add_file=pfs_pb2.AddFile(path="/a", url=pfs_pb2.AddFile.URLSource(URL="s3://b/a"))
        ),
    ],
    ids=["nothing", "commit", "delete", "copy", "url"],
)
def test_what_is_no_plain_put_is_left_to_protobuf(request_: Any) -> None:
    assert pfs_codec.modification(request_.SerializeToString()) == request_


@given(st.binary(max_size=60), st.data())
def test_a_put_in_another_form_means_the_same(value: bytes, data: Any) -> None:
    """Fields twice, in another order, or not known."""
    add = pfs_pb2.AddFile(path="/a", datum="d", raw=BytesValue(value=value)).SerializeToString()
    extra = data.draw(
        st.sampled_from([b"", b"\x0a\x02/b", b"\x12\x00", b"\x1a\x00", b"\x1a\x03\x0a\x01x", b"\xa8\x01\x05"])
    )
    body = data.draw(st.sampled_from([add + extra, extra + add]))
    message = b"\x12" + pfs_codec.varint(len(body)) + body
    read, meant = pfs_codec.modification(message), pfs_pb2.ModifyFileRequest.FromString(message).add_file
    file = read if isinstance(read, pfs_codec.Put) else read.add_file
    values = (file.path, file.datum, file.data if isinstance(file, pfs_codec.Put) else file.raw.value)
    assert values == (meant.path, meant.datum, meant.raw.value)

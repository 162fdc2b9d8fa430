"""The fault seam: calls fail as the file says, and only those."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from pfs_server import Pfs, file, put, refusal
from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.faults import FILE_NAME

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
SIZE = 9 << 20


def rules(pfs: Pfs, *entries: dict[str, Any]) -> None:
    """Write the fault file as a whole, the way a test of the product does."""
    fresh = pfs.state / "new"
    fresh.write_text(json.dumps(entries))
    fresh.replace(pfs.state / FILE_NAME)


@pytest.fixture
def commit(pfs: Pfs) -> Any:
    return pfs.commit(pfs.repo("r"), put("/a", bytes(SIZE)), put("/b"))


def test_without_a_file_nothing_fails(pfs: Pfs, commit: Any) -> None:
    assert len(pfs.tar(commit)) > SIZE


def test_the_nth_call_fails_and_the_next_does_not(pfs: Pfs, commit: Any) -> None:
    rules(pfs, {"method": "InspectFile", "nth": 2, "times": 2, "code": "UNAVAILABLE", "message": "later"})
    assert pfs.info(commit).size_bytes
    assert refusal(lambda: pfs.info(commit)) == (UNAVAILABLE, "later")
    assert refusal(lambda: pfs.info(commit)) == (UNAVAILABLE, "later")
    assert pfs.info(commit).size_bytes


def test_a_new_file_counts_anew(pfs: Pfs, commit: Any) -> None:
    fault = {"method": "InspectFile", "code": "INTERNAL"}
    rules(pfs, fault)
    assert refusal(lambda: pfs.info(commit))[0] == grpc.StatusCode.INTERNAL
    assert pfs.info(commit).size_bytes
    rules(pfs, fault)
    assert refusal(lambda: pfs.info(commit))[0] == grpc.StatusCode.INTERNAL
    (pfs.state / FILE_NAME).unlink()
    assert pfs.info(commit).size_bytes


def test_only_requests_that_match_are_counted(pfs: Pfs, commit: Any) -> None:
    rules(pfs, {"method": "InspectFile", "match": '"/b"', "code": "ABORTED"})
    assert pfs.info(commit, "/a").size_bytes == SIZE
    assert refusal(lambda: pfs.info(commit, "/b"))[0] == grpc.StatusCode.ABORTED


def received(pfs: Pfs, commit: Any) -> tuple[int, grpc.StatusCode]:
    """How much of a tar arrives, and how the stream ends."""
    stream = pfs.stub.GetFileTAR(pfs_pb2.GetFileRequest(file=file(commit, "/**")))
    size = 0
    try:
        for message in stream:
            size += len(message.value)
    except grpc.RpcError:
        pass
    return size, stream.code()


def test_a_cut_stream_breaks_after_some_data(pfs: Pfs, commit: Any) -> None:
    whole = len(pfs.tar(commit))
    rules(pfs, {"method": "GetFileTAR", "cut_after_bytes": 5 << 20})
    size, code = received(pfs, commit)
    assert code == UNAVAILABLE
    assert size == pytest.approx(5 << 20, abs=100)
    assert received(pfs, commit) == (whole, grpc.StatusCode.OK)


def test_a_stream_that_ends_early_says_it_is_well(pfs: Pfs, commit: Any) -> None:
    rules(pfs, {"method": "GetFileTAR", "cut_after_bytes": 5 << 20, "end_early": True})
    size, code = received(pfs, commit)
    assert code == grpc.StatusCode.OK
    assert 0 < size < SIZE


def test_listings_are_cut_too(pfs: Pfs, commit: Any) -> None:
    rules(pfs, {"method": "WalkFile", "cut_after_bytes": 150, "end_early": True})
    assert 0 < len(pfs.walk(commit)) < 3
    assert len(pfs.walk(commit)) == 3


def test_a_delay_only_delays(pfs: Pfs, commit: Any) -> None:
    rules(pfs, {"method": "InspectFile", "delay_seconds": 0.3})
    with pytest.raises(grpc.RpcError) as caught:
        pfs.stub.InspectFile(pfs_pb2.InspectFileRequest(file=file(commit)), timeout=0.1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert pfs.info(commit).size_bytes


def test_a_writing_call_that_fails_leaves_nothing(pfs: Pfs) -> None:
    opened = pfs.start(pfs.repo("r"))
    rules(pfs, {"method": "ModifyFile", "code": "UNAVAILABLE"})
    assert refusal(lambda: pfs.modify(opened, put("/a")))[0] == UNAVAILABLE
    assert pfs.walk(opened) == []
    pfs.modify(opened, put("/a"))
    assert pfs.paths(opened) == ["/", "/a"]

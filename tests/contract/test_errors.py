"""What goes wrong between a client and the server."""

from __future__ import annotations

import socket

import grpc
import pytest
from python_pachyderm.proto.v2.pfs import pfs_pb2

from .pach import Message, Pach, add
from .recording import Recording, refusal


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = Pach(f"grpc://127.0.0.1:{free.getsockname()[1]}")
    assert refusal(nobody.pfs.ListProject, pfs_pb2.ListProjectRequest()).startswith("UNAVAILABLE")
    nobody.channel.close()


def test_a_deadline(pach: Pach, repo: Message) -> None:
    """Told by the client's side or by the server's, whichever is first: then it is no DEADLINE_EXCEEDED."""
    commit = pach.start(repo)
    waiting = pfs_pb2.InspectCommitRequest(commit=commit, wait=pfs_pb2.FINISHED)
    with pytest.raises(grpc.RpcError) as error:
        pach.pfs.InspectCommit(waiting, timeout=0.3)
    assert error.value.code() in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN}
    assert "deadline exceeded" in error.value.details().lower()


def test_a_request_without_its_object(pach: Pach, recorded: Recording) -> None:
    answers = {
        "inspect repo": refusal(pach.pfs.InspectRepo, pfs_pb2.InspectRepoRequest()),
        "inspect commit": refusal(pach.pfs.InspectCommit, pfs_pb2.InspectCommitRequest()),
        "start commit": refusal(pach.pfs.StartCommit, pfs_pb2.StartCommitRequest()),
    }
    assert "OK" not in answers.values()
    recorded({name: answer != "OK" for name, answer in answers.items()})


def test_a_message_over_20_mib_is_refused(pach: Pach, repo: Message) -> None:
    wide = grpc.insecure_channel(
        pach.address.removeprefix("grpc://"), options=[("grpc.max_send_message_length", 64 << 20)]
    )
    modify = wide.stream_unary(
        "/pfs_v2.API/ModifyFile",
        request_serializer=pfs_pb2.ModifyFileRequest.SerializeToString,
        response_deserializer=lambda answer: answer,
    )
    commit = pach.start(repo)
    changes = [pfs_pb2.ModifyFileRequest(set_commit=commit), add("/a", bytes((20 << 20) + 1))]
    assert refusal(modify, iter(changes)).startswith("RESOURCE_EXHAUSTED")
    wide.close()


def test_an_unknown_method(pach: Pach) -> None:
    call = pach.channel.unary_unary(
        "/pfs_v2.API/NoSuchMethod", request_serializer=bytes, response_deserializer=bytes
    )
    assert refusal(call, b"").startswith("UNIMPLEMENTED")

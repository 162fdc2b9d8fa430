"""A file system of one's own for a test: served in this process, spoken to through the raw stub.

No tests: what the tests of the embedded file system share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc

from embedded_pachyderm.faults import Faults
from embedded_pachyderm.pfs.service.pfs_service import PfsService

MESSAGE_BYTES = 20 << 20
OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
]
FINISHED = pfs_pb2.FINISHED


def put(path: str, data: bytes = b"x", datum: str = "") -> Any:
    message = pfs_pb2.ModifyFileRequest()
    message.add_file.path = path
    message.add_file.datum = datum
    message.add_file.raw.value = data
    return message


def delete(path: str, datum: str = "") -> Any:
    return pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path, datum=datum))


def file(commit: Any, path: str = "/") -> Any:
    return pfs_pb2.File(commit=commit, path=path)


def file_set_commit(file_set_id: str) -> Any:
    project = pfs_pb2.Project(name="default")
    return pfs_pb2.Commit(
        repo=pfs_pb2.Repo(name="__filesets__", type="user", project=project), id=file_set_id
    )


@dataclass(frozen=True, slots=True)
class Pfs:
    """The stub, and the few steps that most tests take."""

    stub: Any
    channel: grpc.Channel
    state: Path
    target: str

    def repo(self, name: str, kind: str = "user") -> Any:
        repo = pfs_pb2.Repo(name=name, type=kind, project=pfs_pb2.Project(name="default"))
        self.stub.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo))
        return repo

    def start(self, repo: Any, branch: str = "master", parent: Any | None = None) -> Any:
        named = pfs_pb2.Branch(repo=repo, name=branch)
        return self.stub.StartCommit(pfs_pb2.StartCommitRequest(branch=named, parent=parent))

    def modify(self, commit: Any, *changes: Any) -> None:
        self.stub.ModifyFile(iter([pfs_pb2.ModifyFileRequest(set_commit=commit), *changes]))

    def finish(self, commit: Any, error: str = "") -> Any:
        self.stub.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commit, error=error))
        return self.inspect(commit, wait=FINISHED)

    def inspect(self, commit: Any, wait: int = 0) -> Any:
        return self.stub.InspectCommit(pfs_pb2.InspectCommitRequest(commit=commit, wait=wait))

    def commit(self, repo: Any, *changes: Any, branch: str = "master") -> Any:
        commit = self.start(repo, branch)
        self.modify(commit, *changes)
        self.finish(commit)
        return commit

    def branch(self, repo: Any, name: str, **declared: Any) -> None:
        named = pfs_pb2.Branch(repo=repo, name=name)
        self.stub.CreateBranch(pfs_pb2.CreateBranchRequest(branch=named, **declared))

    def head(self, repo: Any, name: str = "master") -> Any:
        named = pfs_pb2.Branch(repo=repo, name=name)
        return self.stub.InspectBranch(pfs_pb2.InspectBranchRequest(branch=named)).head

    def walk(self, commit: Any, path: str = "/", **page: Any) -> list[Any]:
        return list(self.stub.WalkFile(pfs_pb2.WalkFileRequest(file=file(commit, path), **page)))

    def paths(self, commit: Any, path: str = "/", **page: Any) -> list[str]:
        return [info.file.path for info in self.walk(commit, path, **page)]

    def tree(self, commit: Any) -> list[tuple[str, int, bytes]]:
        return [(info.file.path, info.size_bytes, info.hash) for info in self.walk(commit)]

    def info(self, commit: Any, path: str = "/") -> Any:
        return self.stub.InspectFile(pfs_pb2.InspectFileRequest(file=file(commit, path)))

    def tar(self, commit: Any, path: str = "/**", within: tuple[str, str] | None = None) -> bytes:
        request = pfs_pb2.GetFileRequest(file=file(commit, path))
        if within:
            request.path_range.lower, request.path_range.upper = within
        return b"".join(message.value for message in self.stub.GetFileTAR(request))

    def read(self, commit: Any, path: str, offset: int = 0) -> bytes:
        request = pfs_pb2.GetFileRequest(file=file(commit, path), offset=offset)
        return b"".join(message.value for message in self.stub.GetFile(request))

    def total(self, commit: Any) -> str:
        return str(self.stub.GetFileSet(pfs_pb2.GetFileSetRequest(commit=commit)).file_set_id)

    def diff(self, commit: Any) -> str:
        call = self.channel.unary_unary(
            "/pfs_v2.API/GetFileSet",
            request_serializer=lambda request: request.SerializeToString() + b"\x10\x01",
            response_deserializer=pfs_pb2.CreateFileSetResponse.FromString,
        )
        return str(call(pfs_pb2.GetFileSetRequest(commit=commit)).file_set_id)

    def add(self, commit: Any, file_set_id: str) -> None:
        self.stub.AddFileSet(pfs_pb2.AddFileSetRequest(commit=commit, file_set_id=file_set_id))

    def shards(self, file_set_id: str, extra: bytes = b"") -> list[tuple[str, str]]:
        call = self.channel.unary_unary(
            "/pfs_v2.API/ShardFileSet",
            request_serializer=lambda request: request.SerializeToString() + extra,
            response_deserializer=pfs_pb2.ShardFileSetResponse.FromString,
        )
        answer = call(pfs_pb2.ShardFileSetRequest(file_set_id=file_set_id))
        return [(shard.lower, shard.upper) for shard in answer.shards]


@contextmanager
def serving(state: Path) -> Iterator[Pfs]:
    service = PfsService(state, Faults(state))
    server = grpc.server(ThreadPoolExecutor(32), options=OPTIONS)
    service.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        target = f"127.0.0.1:{port}"
        with grpc.insecure_channel(target, options=OPTIONS) as channel:
            yield Pfs(pfs_pb2_grpc.APIStub(channel), channel, state, target)
    finally:
        server.stop(0).wait()
        service.close()


def refusal(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """How a call is refused, at once or while its answer is read."""
    try:
        answer = call()
        messages = list(answer) if hasattr(answer, "__next__") else answer
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError(f"was not refused: {messages}")

"""A thin client for the tests: raw stubs on one channel, and the few moves every test makes.

It is not the product's client: it checks nothing, retries nothing, and holds whole answers in memory.
"""

from __future__ import annotations

import io
import tarfile
from typing import Any

import grpc
from google.protobuf import wrappers_pb2
from python_pachyderm.proto.v2.admin import admin_pb2_grpc
from python_pachyderm.proto.v2.auth import auth_pb2_grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc
from python_pachyderm.proto.v2.pps import pps_pb2_grpc
from python_pachyderm.proto.v2.version.versionpb import version_pb2_grpc

Commit = Any  # protobuf messages, whose generated classes carry no types
Message = Any

_OPTIONS = [("grpc.max_receive_message_length", 20 << 20), ("grpc.max_send_message_length", 20 << 20)]
_DIFF = b"\x10\x01"


class Pach:
    """The server under test."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.insecure_channel(address.removeprefix("grpc://"), options=_OPTIONS)
        self.pfs = pfs_pb2_grpc.APIStub(self.channel)
        self.pps = pps_pb2_grpc.APIStub(self.channel)
        self.auth = auth_pb2_grpc.APIStub(self.channel)
        self.admin = admin_pb2_grpc.APIStub(self.channel)
        self.version = version_pb2_grpc.APIStub(self.channel)
        # Fields that newer servers know and python-pachyderm does not are appended at the serializer.
        self._diff = self._unary("GetFileSet", _append(_DIFF), pfs_pb2.CreateFileSetResponse)

    def _unary(self, method: str, serializer: Any, answer: Any) -> Any:
        return self.channel.unary_unary(
            f"/pfs_v2.API/{method}", request_serializer=serializer, response_deserializer=answer.FromString
        )

    def start(
        self, repo: Message, branch: str = "master", *, parent: Commit | None = None, description: str = ""
    ) -> Commit:
        request = pfs_pb2.StartCommitRequest(
            branch=pfs_pb2.Branch(repo=repo, name=branch), description=description, parent=parent
        )
        return self.pfs.StartCommit(request)

    def finish(self, commit: Commit, *, error: str = "", description: str = "") -> Message:
        """Finish, and wait until the server has."""
        self.pfs.FinishCommit(
            pfs_pb2.FinishCommitRequest(commit=commit, error=error, description=description)
        )
        return self.inspect(commit, wait=True)

    def inspect(self, commit: Commit, *, wait: bool = False) -> Message:
        state = pfs_pb2.FINISHED if wait else pfs_pb2.COMMIT_STATE_UNKNOWN
        return self.pfs.InspectCommit(pfs_pb2.InspectCommitRequest(commit=commit, wait=state))

    def modify(self, commit: Commit, *changes: Message) -> None:
        self.pfs.ModifyFile(iter([pfs_pb2.ModifyFileRequest(set_commit=commit), *changes]))

    def commit(
        self, repo: Message, *changes: Message, branch: str = "master", parent: Commit | None = None
    ) -> Commit:
        """A finished commit of these changes."""
        commit = self.start(repo, branch, parent=parent)
        if changes:
            self.modify(commit, *changes)
        self.finish(commit)
        return commit

    def head(self, repo: Message, branch: str = "master") -> str:
        asked = pfs_pb2.InspectBranchRequest(branch=pfs_pb2.Branch(repo=repo, name=branch))
        return str(self.pfs.InspectBranch(asked).head.id)

    def file(self, commit: Commit, path: str = "/") -> Message:
        return self.pfs.InspectFile(pfs_pb2.InspectFileRequest(file=pfs_pb2.File(commit=commit, path=path)))

    def walk(self, commit: Commit, path: str = "/") -> list[Message]:
        return list(self.pfs.WalkFile(pfs_pb2.WalkFileRequest(file=pfs_pb2.File(commit=commit, path=path))))

    def tree(self, commit: Commit, path: str = "/") -> list[list[Any]]:
        """What WalkFile answers, as [path, size, hash] rows in its order."""
        return [[f.file.path, f.size_bytes, f.hash.hex()] for f in self.walk(commit, path)]

    def paths(self, commit: Commit, path: str = "/") -> list[str]:
        return [f.file.path for f in self.walk(commit, path)]

    def diff(self, new: Commit, old: Commit | None = None, path: str = "/") -> list[Message]:
        old_file = None if old is None else pfs_pb2.File(commit=old, path=path)
        request = pfs_pb2.DiffFileRequest(new_file=pfs_pb2.File(commit=new, path=path), old_file=old_file)
        return list(self.pfs.DiffFile(request))

    def read(self, commit: Commit, path: str, *, offset: int = 0) -> bytes:
        request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=commit, path=path), offset=offset)
        return b"".join(piece.value for piece in self.pfs.GetFile(request))

    def tar(self, commit: Commit, path: str, *, within: tuple[str, str] | None = None) -> bytes:
        span = None if within is None else pfs_pb2.PathRange(lower=within[0], upper=within[1])
        request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=commit, path=path), path_range=span)
        return b"".join(piece.value for piece in self.pfs.GetFileTAR(request))

    def tar_names(self, commit: Commit, path: str, *, within: tuple[str, str] | None = None) -> list[str]:
        """The names in a tar as its headers spell them, directories included."""
        return [entry.name for entry in entries(self.tar(commit, path, within=within))]

    def file_set(self, commit: Commit, *, diff: bool = False) -> str:
        request = pfs_pb2.GetFileSetRequest(commit=commit)
        answer = self._diff(request) if diff else self.pfs.GetFileSet(request)
        return str(answer.file_set_id)

    def create_file_set(self, *changes: Message) -> str:
        return str(self.pfs.CreateFileSet(iter(changes)).file_set_id)

    def add_file_set(self, commit: Commit, file_set: str) -> None:
        self.pfs.AddFileSet(pfs_pb2.AddFileSetRequest(commit=commit, file_set_id=file_set))

    def shards(self, file_set: str) -> list[list[str]]:
        answer = self.pfs.ShardFileSet(pfs_pb2.ShardFileSetRequest(file_set_id=file_set))
        return [[shard.lower, shard.upper] for shard in answer.shards]


def unknown_commit(repo: Message) -> Commit:
    """A commit that is not there, named as the product names commits: without a branch pachd 2.12 panics."""
    return pfs_pb2.Commit(repo=repo, id="0123456789abcdef" * 2, branch=pfs_pb2.Branch(repo=repo))


def add(path: str, data: bytes = b"", *, datum: str = "") -> Message:
    """Add a file; adding to one that is there appends."""
    raw = wrappers_pb2.BytesValue(value=data)
    return pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path=path, raw=raw, datum=datum))


def delete(path: str) -> Message:
    return pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path))


def copy(source: Commit, path: str, to: str, *, append: bool = False) -> Message:
    src = pfs_pb2.File(commit=source, path=path)
    return pfs_pb2.ModifyFileRequest(copy_file=pfs_pb2.CopyFile(dst=to, src=src, append=append))


def put(path: str, data: bytes) -> tuple[Message, Message]:
    """Overwrite: delete, then add."""
    return delete(path), add(path, data)


def file_set_commit(file_set: str) -> Commit:
    """How a file set is read like a commit."""
    repo = pfs_pb2.Repo(name="__filesets__", type="user", project=pfs_pb2.Project(name="default"))
    return pfs_pb2.Commit(repo=repo, id=file_set)


def entries(tar: bytes) -> list[tarfile.TarInfo]:
    """A tar's entries, with names exactly as its headers hold them (tarfile strips a directory's slash)."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return archive.getmembers()


def _append(field: bytes) -> Any:
    return lambda message: message.SerializeToString() + field

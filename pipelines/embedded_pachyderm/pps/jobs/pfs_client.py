"""A client of PFS for pipelines: it uses the public gRPC API of the same server and nothing else."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc
from python_pachyderm.proto.v2.transaction import transaction_pb2, transaction_pb2_grpc

from embedded_pachyderm.auth.auth import TOKEN_KEY

_MESSAGE_BYTES = 20 * 1024 * 1024
_COPY_BYTES = 1024 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
)


class IncompleteInputError(Exception):
    """A download has fewer bytes than the file's size."""


class Pfs:
    """A client of the PFS served at this port, with a token that may do anything."""

    def __init__(self, port: int, token: str) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS)
        signed_in = grpc.intercept_channel(self._channel, _Token(token))
        self.stub = pfs_pb2_grpc.APIStub(signed_in)
        self._transactions = transaction_pb2_grpc.APIStub(signed_in)

    def close(self) -> None:
        self._channel.close()

    def transact(self, requests: Iterable[Any]) -> list[Any]:
        """Several calls as one: all or nothing, one commit set. Gives the commits that were started."""
        batch = transaction_pb2.BatchTransactionRequest(requests=list(requests))
        answer = self._transactions.BatchTransaction(batch)
        return [response.commit for response in answer.responses if response.HasField("commit")]

    def repo_exists(self, repo: Any) -> bool:
        try:
            self.stub.InspectRepo(pfs_pb2.InspectRepoRequest(repo=repo))
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return False
            raise
        return True

    def inspect_commit(self, commit: Any, *, wait: int = pfs_pb2.COMMIT_STATE_UNKNOWN) -> Any:
        return self.stub.InspectCommit(pfs_pb2.InspectCommitRequest(commit=commit, wait=wait))

    def finished(self, commit: Any, stopped: Callable[[], bool]) -> Any | None:
        """The commit once it is finished; none if `stopped` is true first."""
        # a future, so that a job that is stopped does not wait for a commit that may never finish
        call = self.stub.InspectCommit.future(
            pfs_pb2.InspectCommitRequest(commit=commit, wait=pfs_pb2.FINISHED)
        )
        while True:
            try:
                return call.result(timeout=0.2)
            except grpc.FutureTimeoutError:
                if stopped():
                    call.cancel()
                    return None

    def glob(self, commit: Any, pattern: str) -> Iterator[Any]:
        return iter(self.stub.GlobFile(pfs_pb2.GlobFileRequest(commit=commit, pattern=pattern)))

    def download(self, file: Any, folder: Path) -> int:
        """A file, or a directory with all below it, into `folder` under its own path; gives the bytes."""
        total = 0
        stream = self.stub.GetFileTAR(pfs_pb2.GetFileRequest(file=file))
        reader = io.BufferedReader(_Stream(message.value for message in stream), _COPY_BYTES)
        try:
            with tarfile.open(fileobj=reader, mode="r|") as archive:
                for member in archive:
                    with _place(folder, member.name, member.isdir()) as target:
                        source = archive.extractfile(member)
                        if source is not None:
                            shutil.copyfileobj(source, target, _COPY_BYTES)
                            total += member.size
        except tarfile.TarError as error:
            raise IncompleteInputError(f"{file.path} arrived broken: {error}") from error
        # What follows the archive's end is padding; reading it through is what shows that the call went well.
        while reader.read(_COPY_BYTES):
            pass
        return total

    def create_file_set(self, changes: Iterator[Any]) -> str:
        return str(self.stub.CreateFileSet(changes).file_set_id)

    def add_file_set(self, commit: Any, file_set_id: str) -> None:
        self.stub.AddFileSet(pfs_pb2.AddFileSetRequest(commit=commit, file_set_id=file_set_id))

    def clear(self, commit: Any) -> empty_pb2.Empty:
        return self.stub.ClearCommit(pfs_pb2.ClearCommitRequest(commit=commit))


def _place(folder: Path, path: str, directory: bool) -> Any:
    """An open file for this path below `folder`; for a directory one that swallows what is written."""
    target = folder / path.lstrip("/")
    if directory:
        target.mkdir(parents=True, exist_ok=True)
        return io.BytesIO()
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.open("wb")


class _Token(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]  # grpc has no types
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
):
    """Adds a token to every call."""

    def __init__(self, token: str) -> None:
        self._metadata = ((TOKEN_KEY, token),)

    def _intercept(self, call: Any, details: Any, request: Any) -> Any:
        return call(details._replace(metadata=self._metadata), request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = _intercept


class _Stream(io.RawIOBase):
    """A stream of byte strings as a file."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

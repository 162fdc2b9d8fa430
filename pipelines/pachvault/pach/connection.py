"""A connection to pachd (or a worker's sidecar): channel, stubs, and errors in one line."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import grpc
import grpc.experimental
from google.protobuf.empty_pb2 import Empty
from python_pachyderm.proto.v2.admin import admin_pb2_grpc
from python_pachyderm.proto.v2.auth import auth_pb2_grpc
from python_pachyderm.proto.v2.enterprise import enterprise_pb2_grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc
from python_pachyderm.proto.v2.pps import pps_pb2_grpc
from python_pachyderm.proto.v2.transaction import transaction_pb2_grpc
from python_pachyderm.proto.v2.version.versionpb import version_pb2_grpc
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pachvault.errors import (
    NotAllowedError,
    NotSignedInError,
    PachydermError,
    SourceGoneError,
    TransientError,
    UnsupportedError,
)
from pachvault.pach.access import rights
from pachvault.pach.access.address import Address, tls_failure
from pachvault.runtime import logs

_log = logging.getLogger(__name__)

OLDEST_SUPPORTED = (2, 7)
_CONNECT_SECONDS = 10.0
_TRIES = 8
_MESSAGE_BYTES = 64 * 1024 * 1024  # pachd sends up to 20 MiB
_AHEAD_BYTES = 24 * 1024 * 1024
_TRANSIENT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
)
_GONE = re.compile(
    r"\b(project|repos?|branch|commit|commitset|file|pipelines?|jobs?|secrets?|datum)\b.*"
    r"\b(not found|does not exist|was deleted)"
    r"|no role binding exists for (REPO|PROJECT) "
    r"|no commits found for commitset|path does not exist|the commit is forgotten|has been forgotten"
)
"""How pachd reports missing objects of its own under status UNKNOWN (at v2.11.6: src/server/pfs/pfs.go,
fileset/metadata_store.go, driver_file.go). A host, a database or a chunk that is "not found" is not one."""
_BAD_TOKEN = re.compile(r"token expiration is in the past|no authentication metadata")
"""How pachd reports an expired token under status INTERNAL."""
_SIGN_IN = "PACH_TOKEN holds the auth token; pipelines get one by `pachvault deploy`"

_PANIC = "panic: "
_GONE_PANIC = "ErrBranchNotFound.Error("
"""How the trace shows that pachd 2.12 looked for a commit by repo and id, and there is none: it puts the
branch into the message, and a commit that was named without one has none (2.12.0-rc.3:
src/server/pfs/server/server_commit.go). `commit_message` avoids it."""

Answer = TypeVar("Answer")


class Connection:
    """An open channel. Use as a context manager."""

    def __init__(self, address: Address, token: str | None = None) -> None:
        self.address = address
        options: list[tuple[str, int | str]] = [
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MESSAGE_BYTES),
            # the trace of a panic in pachd is 32 KiB, comes twice, and is escaped
            ("grpc.max_metadata_size", 512 * 1024),
            ("grpc.absolute_max_metadata_size", 1024 * 1024),
            ("grpc.keepalive_time_ms", 60_000),
            # left to itself gRPC reads ahead hundreds of megabytes of a stream that is consumed slowly
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", _AHEAD_BYTES),
            # a proxy of the environment is for other machines, and gRPC would use it for a worker's sidecar
            ("grpc.enable_http_proxy", int(not address.is_loopback)),
            # who reads a stream takes its messages himself: another thread's turn costs more than a message
            (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
        ]
        if address.server_name:
            options.append(("grpc.ssl_target_name_override", address.server_name))
        channel = (
            grpc.secure_channel(address.target, grpc.ssl_channel_credentials(address.roots()), options)
            if address.secure
            else grpc.insecure_channel(address.target, options)
        )
        self._plain_channel = channel
        self.channel = grpc.intercept_channel(channel, _Token(token)) if token else channel
        self.pfs = pfs_pb2_grpc.APIStub(self.channel)
        self.pps = pps_pb2_grpc.APIStub(self.channel)
        self.enterprise = enterprise_pb2_grpc.APIStub(self.channel)
        self.transactions = transaction_pb2_grpc.APIStub(self.channel)
        self.auth = auth_pb2_grpc.APIStub(self.channel)
        self.admin = admin_pb2_grpc.APIStub(self.channel)
        self._version = version_pb2_grpc.APIStub(self.channel)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel."""
        self._plain_channel.close()

    def raw_stream(self, method: str, serialize: Callable[[Any], bytes]) -> Any:
        """A server-streaming PFS call whose answers stay bytes: decoding them would be the slow part."""
        return self.channel.unary_stream(
            f"/pfs_v2.API/{method}", request_serializer=serialize, response_deserializer=bytes
        )

    def raw_call(self, method: str) -> Any:
        """A unary call of `service/method` whose request and answer are bytes (see codec)."""
        return self.channel.unary_unary(f"/{method}", request_serializer=bytes, response_deserializer=bytes)

    def raw_upload(self, method: str, deserialize: Callable[[bytes], Any]) -> Any:
        """A client-streaming PFS call whose requests are bytes already (see codec)."""
        return self.channel.stream_unary(
            f"/pfs_v2.API/{method}", request_serializer=bytes, response_deserializer=deserialize
        )

    def version(self) -> str:
        """The server's version, `2.11.6`.

        Raises PachydermError where nothing answers, or what answers is too old.
        """
        with explained(f"Pachyderm at {self.address}"):
            answer = self._version.GetVersion(Empty(), timeout=_CONNECT_SECONDS, wait_for_ready=False)
        version = (answer.major, answer.minor)
        # a pachd built from source without its release's flags calls itself 0.0.0
        if version != (0, 0) and version < OLDEST_SUPPORTED:
            raise PachydermError(
                f"Pachyderm {answer.major}.{answer.minor} is too old",
                where=str(self.address),
                hint=f"{OLDEST_SUPPORTED[0]}.{OLDEST_SUPPORTED[1]} or later is needed",
            )
        return f"{answer.major}.{answer.minor}.{answer.micro}{answer.additional}"

    @cached_property
    def has_change_sets(self) -> bool:
        """Whether a commit's own change can be had as a file set: Pachyderm 2.9 and later.

        An older one ignores the field that asks for it, and answers the whole tree.
        """
        try:
            major, minor = (int(number) for number in self.version().split(".")[:2])
        except UnsupportedError:  # a worker's own pachd serves files and pipelines alone
            major, minor = 0, 0
        if (major, minor) != (0, 0):  # what a build without a version calls itself
            return (major, minor) >= (2, 9)
        # this method came in the same release
        try:
            with explained(f"Pachyderm at {self.address}"):
                self.raw_call("pfs_v2.API/InspectProjectV2")(b"", timeout=_CONNECT_SECONDS)
        except UnsupportedError:
            return False
        except TransientError:
            raise
        except PachydermError:  # it knows the method, and the request names no project
            pass
        return True

    def cluster_id(self) -> str:
        """The cluster's own id, which outlives pachd restarts and upgrades."""
        with explained(f"Pachyderm at {self.address}"):
            return str(self.admin.InspectCluster(Empty(), timeout=_CONNECT_SECONDS).id)


def connect(address: str, token: str | None = None) -> Connection:
    """Open a connection and make sure that a supported Pachyderm answers."""
    connection = Connection(Address.parse(address), token)
    try:
        connection.version()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn a failed call into one line: a PachydermError of the subclass that fits.

    The status decides; the text only where pachd has no status for what it means.
    """
    try:
        yield
    except grpc.RpcError as error:
        code = error.code()
        reason = " ".join((error.details() or "no reason given").split())[:400]
        refusal = _refusal(code, reason, where)
        if refusal is not None:
            raise refusal from error
        if code == grpc.StatusCode.NOT_FOUND or (code == grpc.StatusCode.UNKNOWN and _GONE.search(reason)):
            raise SourceGoneError(reason, where=where) from error
        if code == grpc.StatusCode.ABORTED and reason.startswith(_PANIC):
            # another attempt would panic again
            if _GONE_PANIC in (error.details() or ""):
                raise SourceGoneError(
                    "no such commit: pachd panicked where it looked for it", where=where
                ) from error
            raise PachydermError(f"pachd failed: {reason}", where=where) from error
        if code == grpc.StatusCode.UNIMPLEMENTED:
            raise UnsupportedError(reason, where=where) from error
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            raise TransientError("no answer in time", where=where, hint="is the address right?") from error
        if code in _TRANSIENT:
            hint = ""
            if re.search("failed to connect.*(closed|reset)", reason):
                hint = "is the address right, and is it grpcs://?"
            elif re.search("connect|resol|lookup", reason, re.I):
                hint = "is the address right, and is pachd running?"
            raise TransientError(reason, where=where, hint=hint) from error
        raise PachydermError(f"{reason} ({code.name})", where=where) from error


def _refusal(code: Any, reason: str, where: str) -> PachydermError | None:
    """The error where pachd refuses the caller, or this side the server; None for any other failure."""
    if code == grpc.StatusCode.UNAUTHENTICATED or (
        code == grpc.StatusCode.INTERNAL and _BAD_TOKEN.search(reason)
    ):
        return NotSignedInError(reason, where=where, hint=_SIGN_IN)
    denial = rights.denial(reason)
    if denial is not None:
        return NotAllowedError(denial[0], where=where, hint=denial[1])
    if code == grpc.StatusCode.PERMISSION_DENIED:
        return NotAllowedError(f"{reason} ({code.name})", where=where)
    tls = tls_failure(reason) if code == grpc.StatusCode.UNAVAILABLE else None
    return PachydermError(tls[0], where=where, hint=tls[1]) if tls else None


def status_of(error: PachydermError) -> Any:
    """The gRPC status behind an error; None where it has another cause."""
    return error.__cause__.code() if isinstance(error.__cause__, grpc.RpcError) else None


def retrying() -> Retrying:
    """Attempts at a call that may be repeated: eight within about half a minute, for transient errors."""
    return Retrying(
        stop=stop_after_attempt(_TRIES),
        wait=wait_random_exponential(multiplier=0.5, max=15),
        retry=retry_if_exception_type(TransientError),
        before_sleep=logs.retries(_log),
        reraise=True,
    )


def with_retries(what: str, call: Callable[[], Answer]) -> Answer:
    """The answer of a call that may be repeated, after retries; errors name `what` (see `explained`)."""

    def attempt() -> Answer:
        with explained(what):
            return call()

    return retrying()(attempt)


def commit_message(project: str, repo: str, commit: str, *, branch: str = "") -> Any:
    """The PFS message that names a commit."""
    name = pfs_pb2.Repo(name=repo, type="user", project=pfs_pb2.Project(name=project))
    # with a branch even where that has no name: pachd 2.12 panics for a commit that is gone and has none
    return pfs_pb2.Commit(repo=name, id=commit, branch=pfs_pb2.Branch(repo=name, name=branch))


@dataclass(frozen=True, slots=True)
class _Token(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]  # grpc has no types
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
):
    """Adds the auth token to every call."""

    token: str

    def _with_token(self, details: Any) -> Any:
        metadata = [*(details.metadata or []), ("authn-token", self.token)]
        return details._replace(metadata=metadata)

    def intercept_unary_unary(self, call: Any, details: Any, request: Any) -> Any:
        return call(self._with_token(details), request)

    def intercept_unary_stream(self, call: Any, details: Any, request: Any) -> Any:
        return call(self._with_token(details), request)

    def intercept_stream_unary(self, call: Any, details: Any, requests: Any) -> Any:
        return call(self._with_token(details), requests)

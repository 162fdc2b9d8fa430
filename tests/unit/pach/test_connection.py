"""Addresses, message bytes written by hand, and failed calls in one line."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from python_pachyderm.proto.v2.pfs import pfs_pb2

from pachvault.errors import (
    NotAllowedError,
    NotSignedInError,
    PachvaultError,
    PachydermError,
    SourceGoneError,
    TransientError,
    UsageError,
)
from pachvault.pach import codec
from pachvault.pach.access.address import Address
from pachvault.pach.connection import connect, explained
from pachvault.pach.source import after


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("grpc://host:1650", Address("host", 1650, secure=False)),
        ("host:1650", Address("host", 1650, secure=False)),
        ("host", Address("host", 30650, secure=False)),
        ("http://host:80", Address("host", 80, secure=False)),
        ("grpcs://host", Address("host", 443, secure=True)),
        ("https://host:8443", Address("host", 8443, secure=True)),
        (
            "grpcs://host?ca=/etc/a%20b.pem&server_name=pachd.example",
            Address("host", 443, secure=True, ca="/etc/a b.pem", server_name="pachd.example"),
        ),
        ("127.0.0.1:1", Address("127.0.0.1", 1, secure=False)),
        ("grpc://[::1]:1650", Address("::1", 1650, secure=False)),
    ],
)
def test_addresses_are_read_as_users_write_them(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert Address.parse(address.url) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "grpc://",
        "ftp://host",
        "host:port",
        "host:99999",
        "grpc://[::1",
        "s3://bucket/x",
        "//",
        "grpcs://h?x=1",
        "grpc://h?ca=/a",
        "grpcs://h?ca",
    ],
)
def test_what_is_no_address_is_bad_input(text: str) -> None:
    with pytest.raises(UsageError, match="not a Pachyderm address") as caught:
        Address.parse(text)
    assert caught.value.exit_code == 2


NIL_BRANCH = (
    "panic: runtime error: invalid memory address or nil pointer dereference\ngoroutine 7 [running]:\n"
    + "github.com/pachyderm/pachyderm/v2/src/internal/middleware/recovery\n" * 20
    + "github.com/pachyderm/pachyderm/v2/src/server/pfs.ErrBranchNotFound.Error({0x0})\n"
)


class Failed(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str | None) -> None:
        super().__init__()
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.NOT_FOUND, "no such commit", SourceGoneError),
        (grpc.StatusCode.UNKNOWN, "repo p/r not found", SourceGoneError),
        (grpc.StatusCode.UNKNOWN, "commit has been forgotten", SourceGoneError),
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses", TransientError),
        (grpc.StatusCode.ABORTED, "try again", TransientError),
        (grpc.StatusCode.ABORTED, NIL_BRANCH, SourceGoneError),
        (grpc.StatusCode.ABORTED, "panic: index out of range\ngoroutine 1 [running]:", PachydermError),
        (grpc.StatusCode.INTERNAL, "stream reset", TransientError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", TransientError),
        (grpc.StatusCode.PERMISSION_DENIED, "no rights", NotAllowedError),
        (grpc.StatusCode.UNKNOWN, None, PachydermError),
        (grpc.StatusCode.UNAUTHENTICATED, "no authentication token (try logging in)", NotSignedInError),
        (grpc.StatusCode.INTERNAL, "token expiration is in the past", NotSignedInError),
        (grpc.StatusCode.UNKNOWN, "no role binding exists for REPO p/r", SourceGoneError),
        (grpc.StatusCode.UNKNOWN, "no role binding exists for REPO default/__filesets__", NotAllowedError),
        (
            grpc.StatusCode.UNKNOWN,
            "x:y is not authorized to perform this operation - needs permissions [REPO_READ] on REPO p/r.",
            NotAllowedError,
        ),
    ],
)
def test_failed_calls_become_one_line_of_their_kind(
    code: grpc.StatusCode, details: str | None, kind: type[PachydermError]
) -> None:
    with pytest.raises(PachydermError) as caught, explained("p/r@c"):
        raise Failed(code, details)
    assert type(caught.value) is kind
    assert str(caught.value).startswith("p/r@c: ")
    assert "\n" not in str(caught.value)


def test_long_and_ragged_details_become_one_short_line() -> None:
    with pytest.raises(PachydermError) as caught, explained("x"):
        raise Failed(grpc.StatusCode.UNKNOWN, "a\n\n b\t" + "c" * 10_000)
    assert len(str(caught.value)) < 500
    assert "a b c" in str(caught.value)


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(KeyError), explained("x"):
        raise KeyError("mine")


def test_where_nothing_listens_one_line_says_so() -> None:
    with pytest.raises(TransientError, match="is the address right") as caught:
        connect("grpc://127.0.0.1:1")
    assert isinstance(caught.value, PachvaultError)
    assert "127.0.0.1:1" in str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 3_000_000])
def test_the_payload_of_a_data_message_is_found(size: int) -> None:
    payload = b"x" * size
    assert codec.bytes_value(BytesValue(value=payload).SerializeToString()) == payload


@pytest.mark.parametrize("message", [b"\x12\x01x", b"\x0a\x05abc", b"\x0a\x01abc"])
def test_another_message_is_not_taken_for_data(message: bytes) -> None:
    with pytest.raises(ValueError, match="not a BytesValue"):
        codec.bytes_value(message)


def test_the_kind_of_a_file_set_is_appended_to_its_request() -> None:
    commit = pfs_pb2.Commit(repo=pfs_pb2.Repo(name="r"), id="c")
    request = pfs_pb2.GetFileSetRequest(commit=commit)
    plain = request.SerializeToString()
    assert codec.get_file_set(request, codec.TOTAL) == plain
    assert codec.get_file_set(request, codec.DIFF) == plain + b"\x10\x01"
    assert pfs_pb2.GetFileSetRequest.FromString(codec.get_file_set(request, codec.DIFF)).commit == commit


def test_after_a_path_comes_the_least_greater_one() -> None:
    assert "/a" < after("/a") <= "/a "
    assert after("/a") < "/a!" < "/a/b" < "/b"

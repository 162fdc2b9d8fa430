"""Errors of the embedded PPS: a gRPC status and one line. The service answers calls with them."""

from __future__ import annotations

from typing import Any

import grpc


class Refusal(Exception):  # noqa: N818 - it is an answer, not a failure of the server
    """The call is refused with this status code and sentence."""

    def __init__(self, code: Any, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


def invalid(message: str) -> Refusal:
    """What the real server answers for bad input: most of its refusals carry no status of their own."""
    return Refusal(grpc.StatusCode.UNKNOWN, message)


def bad_spec(why: str) -> Refusal:
    """The spec could not be read or put on top of the defaults."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"could not make effective spec: {why}")


def not_found(message: str) -> Refusal:
    return Refusal(grpc.StatusCode.NOT_FOUND, message)


def exists(message: str) -> Refusal:
    return Refusal(grpc.StatusCode.ALREADY_EXISTS, message)


def unimplemented(what: str) -> Refusal:
    return Refusal(grpc.StatusCode.UNIMPLEMENTED, f"{what} is not served by the embedded Pachyderm")


def check_fields(request: Any, *served: str) -> None:
    """Refuse a request that sets a field which this double would ignore."""
    method = type(request).__name__.removesuffix("Request")
    for field, _ in request.ListFields():
        if field.name not in served:
            raise unimplemented(f"{method} with {field.name}")

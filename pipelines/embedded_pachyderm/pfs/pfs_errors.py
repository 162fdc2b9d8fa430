"""Errors of the file system, with the gRPC status that Pachyderm answers."""

from __future__ import annotations

import grpc


class PfsError(Exception):
    """Refused. Pachyderm answers UNKNOWN wherever it has no better code."""

    code = grpc.StatusCode.UNKNOWN


class NotFoundError(PfsError):
    """No such project, repo, branch, commit or file."""

    code = grpc.StatusCode.NOT_FOUND


class LayerGoneError(PfsError):
    """A layer was deleted or has expired."""


class ExistsError(PfsError):
    """The name is taken."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PreconditionError(PfsError):
    """Something else must be deleted first."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class ArgumentError(PfsError):
    """The request lacks a required field."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class UnimplementedError(PfsError):
    """The embedded server does not serve this."""

    code = grpc.StatusCode.UNIMPLEMENTED

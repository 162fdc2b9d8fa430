"""Costs: calls and messages take as long as they do on a real Pachyderm 2.11.6, where the server is told so.

The embedded Pachyderm answers from memory, so that what is slow on a real one is quick on it. With costs a
benchmark or a test shows it. The figures were measured with a local disk, PostgreSQL and etcd on the same
machine: least times of single calls on a machine of two cores. They are no model of load or of large trees.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc


@dataclass(frozen=True, slots=True)
class Cost:
    """What a method takes, in seconds."""

    call: float
    message: float = 0.0
    """For each message of the answer's stream."""


OTHER = Cost(0.005)
"""Of methods that are not in COSTS."""
COSTS = {
    # pachd computes the size of each commit
    "ListCommit": Cost(0.005, 0.011),
    "ListRepo": Cost(0.005, 0.005),
    "ListBranch": Cost(0.008),
    "StartCommit": Cost(0.04),
    # with what passes until the commit is finished
    "FinishCommit": Cost(0.2),
    "AddFileSet": Cost(0.008),
    "DiffFile": Cost(0.017),
    "GetFileTAR": Cost(0.009),
    "InspectFile": Cost(0.006),
}


class CostInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Lets calls wait before they are served, and streams before each message."""

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        cost = COSTS.get(details.method.rpartition("/")[2], OTHER)
        if handler is None or handler.request_streaming:
            return handler
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                _slow_stream(handler.unary_stream, cost),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            _slow_call(handler.unary_unary, cost), handler.request_deserializer, handler.response_serializer
        )


def _slow_call(serve: Callable[[Any, Any], Any], cost: Cost) -> Callable[[Any, Any], Any]:
    def call(request: Any, context: Any) -> Any:
        time.sleep(cost.call)
        return serve(request, context)

    return call


def _slow_stream(
    serve: Callable[[Any, Any], Iterator[Any]], cost: Cost
) -> Callable[[Any, Any], Iterator[Any]]:
    def stream(request: Any, context: Any) -> Iterator[Any]:
        time.sleep(cost.call)
        for message in serve(request, context):
            if cost.message:
                time.sleep(cost.message)
            yield message

    return stream

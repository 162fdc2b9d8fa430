"""What PFS asks of PPS: a pipeline's repos go with the pipeline, never by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

_METHOD = "/pfs_v2.API/DeleteRepo"


class PipelineGuard(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Refuses to delete repos that belong to a pipeline, even by force."""

    def __init__(self, belongs: Callable[[Any], bool]) -> None:
        self._belongs = belongs

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        if handler_call_details.method != _METHOD:
            return handler

        def guarded(request: Any, context: Any) -> Any:
            if self._belongs(request.repo):
                context.abort(
                    grpc.StatusCode.UNKNOWN,
                    "cannot delete a repo associated with a pipeline - delete the pipeline instead",
                )
            return handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(
            guarded, handler.request_deserializer, handler.response_serializer
        )

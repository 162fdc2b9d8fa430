"""Methods that the embedded Pachyderm does not serve are refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc


class Fallback(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """A handler for every method that no service registered."""

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method.strip("/").replace("/", ".")

        def refuse(_requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served by the embedded Pachyderm")
            yield b""  # never reached: abort raises

        return grpc.stream_stream_rpc_method_handler(refuse)

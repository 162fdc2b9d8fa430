"""A proxy before a Pachyderm, at which any call can fail: it passes bytes on and knows no message.

Every method of every service goes through it, so it needs no list of them, and it works in front of a real
pachd as in front of the embedded one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

_OPTIONS = [
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    ("grpc.so_reuseport", 0),
]
FOR_EVER = 1_000_000


@dataclass(frozen=True, slots=True)
class Fault:
    """From its `nth` call on (from 1), a method fails `times` times."""

    method: str
    nth: int
    times: int
    code: grpc.StatusCode
    text: str

    def __str__(self) -> str:
        times = "for ever" if self.times == FOR_EVER else f"{self.times} x"
        return f"{self.method} #{self.nth} {times} {self.code.name} {self.text!r}"


class Proxy(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Listens on a loopback port and passes calls on to `target`, `host:port`."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target, _OPTIONS)
        self._server = grpc.server(ThreadPoolExecutor(64), handlers=[self], options=_OPTIONS)
        self.address = f"grpc://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self.calls: Counter[str] = Counter()
        self.struck = 0
        self._fault: Fault | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(0).wait()
        self._channel.close()

    @contextmanager
    def failing(self, fault: Fault | None) -> Iterator[None]:
        """While it lasts, calls are counted anew, and fail as the fault says."""
        with self._lock:
            self.calls, self.struck, self._fault = Counter(), 0, fault
        try:
            yield
        finally:
            with self._lock:
                self._fault = None

    def service(self, handler_call_details: Any) -> Any:
        """See grpc.GenericRpcHandler."""
        method = handler_call_details.method

        def forward(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            self._strike(method.rpartition("/")[2], context)
            metadata = [(key, value) for key, value in context.invocation_metadata() if key == "authn-token"]
            call = self._channel.stream_stream(method)(requests, metadata=metadata)
            context.add_callback(call.cancel)
            try:
                yield from call
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())

        return grpc.stream_stream_rpc_method_handler(forward)

    def _strike(self, method: str, context: Any) -> None:
        with self._lock:
            self.calls[method] += 1
            fault = self._fault
            is_hit = (
                fault is not None
                and fault.method == method
                and fault.nth <= self.calls[method] < fault.nth + fault.times
            )
            self.struck += is_hit
        if is_hit and fault is not None:
            context.abort(fault.code, fault.text)

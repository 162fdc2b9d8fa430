"""Listings sent in batches: all messages arrive, in order, whatever ends the call in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from embedded_pachyderm import streams

COUNT = 2 * streams.BATCH_MESSAGES + 7
MANY = [b"%d" % number for number in range(COUNT)]
LARGE = [bytes([number]) * (streams.BATCH_BYTES * 2 // 3) for number in range(5)]


@contextmanager
def channel_to(down: Callable[..., Any]) -> Iterator[Any]:
    """A server of its own whose method Down answers in a stream."""
    handlers = {"Down": grpc.unary_stream_rpc_method_handler(down)}
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        server.stop(0).wait()


def sending(messages: Callable[[Any], Iterator[bytes]]) -> Callable[[bytes, Any], Iterator[bytes]]:
    def down(_request: bytes, context: Any) -> Iterator[bytes]:
        streams.send(context, messages(context))
        return iter(())

    return down


@pytest.mark.parametrize("messages", [[], [b""], [b"one"], MANY, LARGE], ids=len)
def test_what_is_sent_arrives_in_order(messages: list[bytes]) -> None:
    with channel_to(down=sending(lambda _: iter(messages))) as channel:
        assert list(channel.unary_stream("/test/Down")(b"")) == messages


@pytest.mark.parametrize("before", [0, 3, streams.BATCH_MESSAGES, COUNT])
def test_what_came_before_a_refusal_arrives_before_it(before: int) -> None:
    def messages(context: Any) -> Iterator[bytes]:
        yield from MANY[:before]
        context.abort(grpc.StatusCode.DATA_LOSS, "no more")

    arrived = []
    with channel_to(down=sending(messages)) as channel, pytest.raises(grpc.RpcError) as refused:
        arrived.extend(channel.unary_stream("/test/Down")(b""))  # keeps what came before it raised
    assert arrived == MANY[:before]
    assert refused.value.code() == grpc.StatusCode.DATA_LOSS
    assert refused.value.details() == "no more"


def test_a_listing_that_nobody_reads_on_ends_and_the_server_serves_the_next() -> None:
    ended = threading.Event()
    calls = iter(range(2))

    def endless_then_short(_context: Any) -> Iterator[bytes]:
        if next(calls):
            yield b"next"
            return
        try:
            while True:
                yield bytes(1000)
        finally:
            ended.set()

    with channel_to(down=sending(endless_then_short)) as channel:
        call = channel.unary_stream("/test/Down")(b"")
        next(call)
        call.cancel()
        assert ended.wait(60)
        assert list(channel.unary_stream("/test/Down")(b"")) == [b"next"]


PRIVATE_PARTS = {
    "module grpc._server": ["_is_rpc_state_active", "_possibly_finish_call"],
    "module cygrpc": ["SendMessageOperation"],
    "context": ["_state", "_rpc_event"],
    "context._state": ["condition", "due", "initial_metadata_allowed"],
    "context._rpc_event.call": ["start_server_batch"],
}


def test_grpcio_has_the_private_parts_that_listings_use() -> None:
    missing: list[str] = []

    def down(_request: bytes, context: Any) -> Iterator[bytes]:
        state, event = getattr(context, "_state", None), getattr(context, "_rpc_event", None)
        owners = [streams._server, streams.cygrpc, context, state, getattr(event, "call", None)]
        for owner, (title, names) in zip(owners, PRIVATE_PARTS.items(), strict=True):
            missing.extend(f"{title}.{name}" for name in names if not hasattr(owner, name))
        return iter(())

    with channel_to(down=down) as channel:
        list(channel.unary_stream("/test/Down")(b""))
    assert missing == [], f"grpcio {grpc.__version__} lacks what embedded_pachyderm/streams.py uses"

"""Streams of many small messages: all arrive, in order, whatever breaks off in between."""

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
def channel_to(down: Callable[..., Any] | None = None, up: Callable[..., Any] | None = None) -> Iterator[Any]:
    """A server of its own whose method Down answers in a stream, and whose method Up is sent one."""
    handlers = {}
    if down:
        handlers["Down"] = grpc.unary_stream_rpc_method_handler(down)
    if up:
        handlers["Up"] = grpc.stream_unary_rpc_method_handler(up)
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


def counting(_requests: Any, context: Any) -> bytes:
    return b" ".join(streams.received(context))


@pytest.mark.parametrize("messages", [[], [b""], [b"one"], MANY, LARGE], ids=len)
def test_what_is_sent_arrives_in_order(messages: list[bytes]) -> None:
    with channel_to(down=sending(lambda _: iter(messages))) as channel:
        assert list(channel.unary_stream("/test/Down")(b"")) == messages


@pytest.mark.parametrize("messages", [[], [b""], [b"one"], MANY, LARGE], ids=len)
def test_what_is_received_came_in_order(messages: list[bytes]) -> None:
    def up(_requests: Any, context: Any) -> bytes:
        assert list(streams.received(context)) == messages
        return b"all"

    with channel_to(up=up) as channel:
        assert channel.stream_unary("/test/Up")(iter(messages)) == b"all"


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


def test_a_listing_nobody_reads_on_is_given_up() -> None:
    given_up = threading.Event()

    def endless(_context: Any) -> Iterator[bytes]:
        try:
            while True:
                yield bytes(1000)
        finally:
            given_up.set()

    with channel_to(down=sending(endless), up=counting) as channel:
        call = channel.unary_stream("/test/Down")(b"")
        next(call)
        call.cancel()
        assert given_up.wait(60)
        assert channel.stream_unary("/test/Up")(iter([b"a", b"b"])) == b"a b"


def test_a_message_is_read_though_the_next_does_not_come() -> None:
    seen: list[bytes] = []
    is_seen = threading.Event()

    def up(_requests: Any, context: Any) -> bytes:
        for message in streams.received(context):
            seen.append(message)
            is_seen.set()
        return b"%d" % len(seen)

    def requests() -> Iterator[bytes]:
        yield b"first"
        assert is_seen.wait(60)
        yield b"second"

    with channel_to(up=up) as channel:
        assert channel.stream_unary("/test/Up")(requests()) == b"2"
    assert seen == [b"first", b"second"]


def test_an_upload_can_be_refused_before_its_end() -> None:
    refused = threading.Event()

    def up(_requests: Any, context: Any) -> None:
        next(streams.received(context))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not that")

    def requests() -> Iterator[bytes]:
        yield b"first"
        assert refused.wait(60)

    with channel_to(up=up) as channel:
        call = channel.stream_unary("/test/Up").future(requests())
        call.add_done_callback(lambda _: refused.set())
        error = call.exception(60)
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "not that")


def test_an_upload_whose_sender_goes_away_ends() -> None:
    began, ended = threading.Event(), threading.Event()

    def up(_requests: Any, context: Any) -> bytes:
        gone = threading.Event()
        context.add_callback(gone.set)
        try:
            for _ in streams.received(context):
                began.set()
            assert gone.wait(60)  # the stream may seem whole for a moment, but the call is over
            assert not context.is_active()
        finally:
            ended.set()
        return b""

    def requests() -> Iterator[bytes]:
        yield b"first"
        ended.wait(60)

    with channel_to(up=up, down=sending(lambda _: iter(MANY))) as channel:
        call = channel.stream_unary("/test/Up").future(requests())
        assert began.wait(60)
        call.cancel()
        assert ended.wait(60)
        assert list(channel.unary_stream("/test/Down")(b"")) == MANY

"""Streams of many small messages, without a thread's turn for each of them.

grpcio passes every message of a stream from the thread that serves its events to the thread of the call
and back, which costs ten times what the message itself does. Here the serving thread sends the next of a
batch by itself, or asks by itself for the next to receive, and the call's thread has its turn once a
batch. No public interface allows that: this is the one place that knows grpcio's insides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import grpc
from grpc import _server
from grpc._cython import cygrpc

BATCH_MESSAGES = 1000
BATCH_BYTES = 1 << 20
_LINGER_SECONDS = 0.1  # what came is read after so long, though there is room for more
_NO_FLAGS = 0
_SENDING, _RECEIVING = "send_batch", "receive_batch"  # what a call waits for, in grpcio's set of such

Served: TypeAlias = tuple[Any, Iterable[Any]]  # what the serving thread does next; for most events nothing


def send(context: grpc.ServicerContext, messages: Iterator[bytes]) -> None:
    """Send all messages. Those before a failure are sent before it is told; stops when the client is gone."""
    held: list[bytes] = []
    size = 0
    try:
        for message in messages:
            held.append(message)
            size += len(message)
            if len(held) >= BATCH_MESSAGES or size >= BATCH_BYTES:
                batch, held, size = held, [], 0
                if not _send_batch(context, batch):
                    return
    finally:
        _send_batch(context, held)


def _send_batch(context: Any, batch: Sequence[bytes]) -> bool:
    """Send these, and wait until they are on their way; false once the client is gone."""
    state, call = context._state, context._rpc_event.call
    rest = iter(batch)

    def started_next() -> bool:
        """Send one more, if there is one and anybody to read it."""
        message = next(rest, None) if _server._is_rpc_state_active(state) else None
        if message is None:
            return False
        call.start_server_batch((cygrpc.SendMessageOperation(message, _NO_FLAGS),), sent)
        return True

    def sent(_event: Any) -> Served:
        with state.condition:
            if started_next():
                return None, ()
            state.condition.notify_all()
            finished: Served = _server._possibly_finish_call(state, _SENDING)
            return finished

    with state.condition:
        if batch and state.initial_metadata_allowed and _server._is_rpc_state_active(state):
            context.send_initial_metadata(())
        if started_next():
            state.due.add(_SENDING)
            state.condition.wait_for(lambda: _SENDING not in state.due)
        return bool(_server._is_rpc_state_active(state))


def received(context: grpc.ServicerContext) -> Iterator[bytes]:
    """The client's messages, read up to a batch ahead.

    When the client goes away before their end this raises grpc.RpcError, or seems to end a moment before
    the context knows that it is no longer active: who acts upon the end asks the context first.
    """
    incoming = _Incoming(context)
    while batch := incoming.take():
        yield from batch


class _Incoming:
    """What came and was not taken, guarded by the call's own condition."""

    def __init__(self, context: Any) -> None:
        self._state, self._call = context._state, context._rpc_event.call
        self._held: list[bytes] = []
        self._size = 0
        self._ended = False

    def take(self) -> list[bytes]:
        """Some messages, in order; none after the last."""
        state = self._state
        with state.condition:
            if not self._ended and _server._is_rpc_state_active(state):
                if self._is_idle():
                    self._ask()
                    state.due.add(_RECEIVING)
                state.condition.wait_for(lambda: self._held or self._is_idle())
                state.condition.wait_for(self._is_idle, _LINGER_SECONDS)
            if state.client is _server._CANCELLED:
                _server._raise_rpc_error(state)
            taken, self._held, self._size = self._held, [], 0
            return taken

    def _is_idle(self) -> bool:
        return _RECEIVING not in self._state.due

    def _ask(self) -> None:
        self._call.start_server_batch((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), self._came)

    def _came(self, event: Any) -> Served:
        state = self._state
        message = event.batch_operations[0].message()
        with state.condition:
            if message is None:
                self._ended = True
                if state.client is _server._OPEN:
                    state.client = _server._CLOSED
            else:
                self._held.append(message)
                self._size += len(message)
                if len(self._held) == 1:
                    state.condition.notify_all()
                has_room = len(self._held) < BATCH_MESSAGES and self._size < BATCH_BYTES
                if has_room and _server._is_rpc_state_active(state):
                    self._ask()
                    return None, ()
            state.condition.notify_all()
            finished: Served = _server._possibly_finish_call(state, _RECEIVING)
            return finished

"""A relay in front of a server: with TLS, or as a proxy that takes CONNECT."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Relay:
    """What listens, and what it has seen."""

    port: int
    connected_to: list[str] = field(default_factory=list)
    """What clients asked a proxy for."""


@contextmanager
def relay(
    target: str, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, is_proxy: bool = False
) -> Iterator[Relay]:
    """Pass every connection on to `target`, `host:port`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        made = Relay(listener.getsockname()[1])

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(
                        target=_passed_on, args=(client, target, tls, is_proxy, made), daemon=True
                    ).start()

        threading.Thread(target=serve, daemon=True).start()
        yield made
        # wakes the thread that accepts
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _passed_on(
    client: socket.socket, target: str, tls: ssl.SSLContext | None, is_proxy: bool, made: Relay
) -> None:
    name, _, port = target.rpartition(":")
    with suppress(OSError):  # ssl.SSLError is one: a client that does not trust us
        if tls is not None:
            client = tls.wrap_socket(client, server_side=True)
        if is_proxy:
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(4096)
            made.connected_to.append(request.split()[1].decode())
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with client, socket.create_connection((name, int(port))) as server:
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


def _copy(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            to.sendall(data)
    with suppress(OSError):
        to.shutdown(socket.SHUT_WR)

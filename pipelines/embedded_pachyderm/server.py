"""The embedded Pachyderm's server process: one state folder, one loopback port, all services.

It connects PFS, PPS and the other services and runs until SIGTERM or SIGINT. There is no Kubernetes, and
image names are ignored.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm import cluster
from embedded_pachyderm.auth.auth import Auth, Resource
from embedded_pachyderm.auth.auth_service import AuthService
from embedded_pachyderm.costs import CostInterceptor
from embedded_pachyderm.daemon import LOCK_NAME, READY_NAME
from embedded_pachyderm.faults import Faults
from embedded_pachyderm.metadata import MetadataService
from embedded_pachyderm.pfs.service.pfs_service import PfsService
from embedded_pachyderm.pipeline_repo_guard import PipelineGuard
from embedded_pachyderm.pps.service.pps_service import PpsService
from embedded_pachyderm.rights.guard import RightsGuard
from embedded_pachyderm.transactions import TransactionService
from embedded_pachyderm.unserved_methods import Fallback
from pachvault.errors import BusyError, UsageError

_log = logging.getLogger("embedded_pachyderm")

#: Every open stream and every waiting call holds a thread: subscriptions of 16 pipelines and their clients.
_THREADS = 256
_MESSAGE_BYTES = 20 * 1024 * 1024
_STOP_SECONDS = 2.0
_OPTIONS = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    # with it a second server could bind the same port, and calls would go to either
    ("grpc.so_reuseport", 0),
    # pachd's own enforcement policy: clients may ask every five seconds whether a silent call still lives
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
)


def run(state: Path, *, host: str, port: int, has_costs: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; with costs as slowly as a real one (see costs)."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = (state / LOCK_NAME).open("ab")
    except OSError as error:
        raise UsageError(f"cannot write the state folder: {error.strerror}", where=str(state)) from error
    with lock:
        if not _lock(lock.fileno()):
            raise BusyError("another server uses this state folder", where=str(state))
        (state / READY_NAME).unlink(missing_ok=True)
        _serve(state, host, port, [CostInterceptor()] if has_costs else [])


def _lock(file: int) -> bool:
    """Lock the folder, unless a server has it. A reader of its status shares the lock for a moment."""
    while True:
        for mode in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            try:
                fcntl.flock(file, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                if mode == fcntl.LOCK_SH:
                    return False
            else:
                if mode == fcntl.LOCK_EX:
                    return True
        fcntl.flock(file, fcntl.LOCK_UN)
        time.sleep(0.01)


def _serve(state: Path, host: str, port: int, costs: list[CostInterceptor]) -> None:
    stopping = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        _log.info("stopping on %s", signal.Signals(number).name)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

    auth = Auth(state)
    rights = RightsGuard(auth, lambda resource: pps.has_pipeline(_repo_of(resource)))
    server = grpc.server(
        ThreadPoolExecutor(_THREADS, thread_name_prefix="grpc"),
        interceptors=[
            rights,
            PipelineGuard(lambda repo: pps.has_pipeline(repo)),  # noqa: PLW0108 - pps comes later
            *costs,
        ],
        options=_OPTIONS,
    )
    # what a worker finds at its PEER_PORT: files and pipelines, but no version, admin or transactions
    sidecar = grpc.server(
        ThreadPoolExecutor(_THREADS, thread_name_prefix="sidecar"),
        interceptors=[rights, *costs],
        options=_OPTIONS,
    )
    sidecar_port = sidecar.add_insecure_port(f"{host}:0")
    try:
        port = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise UsageError(f"port {port} on {host} is taken", hint="choose another one") from error
    pfs = PfsService(state, Faults(state))
    pps = PpsService(state, auth, port=port, sidecar_port=sidecar_port)
    auth.existing = pfs.resources
    try:
        pfs.register(server)
        pfs.register(sidecar)
        TransactionService(pfs.database).register(server)
        cluster.register(server, state, pfs.cluster_metadata)
        server.add_generic_rpc_handlers((AuthService(auth),))
        MetadataService(pfs.database, pps.state).register(server)
        for served in (server, sidecar):
            pps.register(served)
            served.add_generic_rpc_handlers((Fallback(),))
            served.start()
        pps.start()
        _announce(state, f"grpc://{host}:{port}")
        _log.info(
            "embedded Pachyderm (a double: images are ignored) at grpc://%s:%d, state %s", host, port, state
        )
        stopping.wait()
    finally:
        (state / READY_NAME).unlink(missing_ok=True)
        # before the servers stop: jobs call PFS through them
        pps.halt()
        for stopped in (server.stop(_STOP_SECONDS), sidecar.stop(_STOP_SECONDS)):
            stopped.wait()
        pps.close()
        pfs.close()


def _repo_of(resource: Resource) -> Any:
    project, _, name = resource.name.partition("/")
    return pfs_pb2.Repo(name=name, project=pfs_pb2.Project(name=project))


def _announce(state: Path, address: str) -> None:
    """Write the ready file atomically."""
    content: dict[str, Any] = {"pid": os.getpid(), "address": address}
    # a client that waits for the file must never read half of it
    temporary = state / f"{READY_NAME}.new"
    temporary.write_text(json.dumps(content) + "\n")
    temporary.replace(state / READY_NAME)

"""What all parts of the embedded PPS share: state, PFS client, logs, and events that stop jobs."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import timestamp_pb2

from embedded_pachyderm.auth.auth import Auth
from embedded_pachyderm.pps.jobs.pfs_client import Pfs
from embedded_pachyderm.pps.state import Key, State
from embedded_pachyderm.pps.worker.logs import Logs


@dataclass(slots=True)
class Engine:
    """Objects that exist as long as the server."""

    state: State
    pfs: Pfs
    auth: Auth
    logs: Logs
    port: int
    sidecar_port: int
    #: The server's folder; scratch folders are made below it.
    folder: Path
    closing: threading.Event = field(default_factory=threading.Event)
    _stops: dict[tuple[Key, str], threading.Event] = field(
        default_factory=lambda: defaultdict(threading.Event)
    )
    _locks: dict[Key, threading.RLock] = field(default_factory=lambda: defaultdict(threading.RLock))

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def lock(self, key: Key) -> threading.RLock:
        """Held while a pipeline changes, so that no commit gets a job of the wrong version."""
        return self._locks[key]

    def stop_of(self, key: Key, job_id: str) -> threading.Event:
        """Set when the job is to end now."""
        return self._stops[key, job_id]

    def forget_job(self, key: Key, job_id: str) -> None:
        self._stops.pop((key, job_id), None)


def now() -> timestamp_pb2.Timestamp:
    moment = timestamp_pb2.Timestamp()
    moment.GetCurrentTime()
    return moment

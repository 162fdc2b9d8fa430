"""Who holds the lock of a request: the holder, the state that it writes, and how both are read.

The description of the lock's commit has the holder. The description of the request's repo has its state: the
phase, and when the holder last gave a sign of life. Taking and releasing the lock is in `request_lock`.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pachvault.errors import CorruptError, SourceGoneError
from pachvault.format.documents import Time
from pachvault.messages import StageMessage
from pachvault.pach.source import CommitRef, Source
from pachvault.restore.stage import staging

BRANCH = "holder"
STALE = timedelta(minutes=10)
"""A holder that gave no sign of life for so long is dead."""
held_here: set[str] = set()
"""The tokens of the holders that run in this process."""


class LockHolder(StageMessage):
    """Who holds a lock: a process, or a datum of a job."""

    name: str
    """For people."""
    place: str
    """Where it runs: a machine and its process namespace, or a datum of a job."""
    process: int
    """0 for a datum: the next attempt at it takes over from the one before."""
    token: str

    @classmethod
    def this_process(cls) -> LockHolder:
        """A run from a shell or a program."""
        host, process = socket.gethostname(), os.getpid()
        # machines and containers of the same name may each have a process 7
        numbers, boot = Path("/proc/self/ns/pid"), Path("/proc/sys/kernel/random/boot_id")
        place = f"{host} {numbers.readlink()} {boot.read_text().strip()}" if boot.exists() else host
        return cls(
            name=f"process {process} on {host}", place=place, process=process, token=secrets.token_hex(8)
        )

    @classmethod
    def of_job(cls, job_id: str, datum: str) -> LockHolder:
        """A datum of a job, by the name of its input folder."""
        place = f"job {job_id}, {datum}"
        return cls(name=place, place=place, process=0, token=secrets.token_hex(8))

    def has_ended(self, other: LockHolder) -> bool:
        """Whether `other` ran in the same place as this one and has ended."""
        if other.place != self.place:
            return False
        if other.process == os.getpid():  # if it ended, its release did not reach the cluster
            return other.token not in held_here
        return other.process == 0 or not _is_running(other.process)


class LockState(StageMessage):
    """The state of a holder, in the description of the request's repo."""

    request_id: str
    lock: str
    """The open commit that it holds."""
    phase: str
    since: Time
    alive_at: Time
    snapshot: str = ""
    """The snapshot whose heads are moved; empty before that."""


@dataclass(frozen=True, slots=True)
class LockRun:
    """A run that holds a request. `phase` is empty before the first one began."""

    holder: LockHolder
    commit: str
    began_at: datetime
    alive_at: datetime
    phase: str = ""
    since: datetime | None = None
    sign: datetime | None = None
    """Its last sign of life by its own clock, which may be wrong."""

    def is_dead(self, now: datetime) -> bool:
        """Whether it gave no sign of life for too long."""
        return now - self.alive_at > STALE


def begun_with(source: Source, request_id: str) -> str | None:
    """The snapshot that an unsettled run of the request moved heads to; None where none did."""
    try:
        described = source.repo(staging.staging_repo(request_id))
    except SourceGoneError:
        return None
    state = state_in(described.description)
    return (state.snapshot or None) if state and state.request_id == request_id else None


def state_in(description: str) -> LockState | None:
    """The state in the description of a request's repo; None where it has none."""
    try:
        return LockState.read(description.encode(), "a request's repo")
    except CorruptError:
        return None


def holder_of(source: Source, request_id: str, description: str | None = None) -> LockRun | None:
    """The run that holds a request, dead or alive. `description` is that of its repo, where it is known."""
    repo = staging.staging_repo(request_id)
    try:
        head = {branch.name: branch.head for branch in source.branches(repo)}.get(BRANCH)
        commit = source.commit(lock_ref(request_id, head)) if head else None
    except SourceGoneError:
        return None
    # only an open commit is a lock: one that is finishing blocks no other any more
    if commit is None or commit.finished_at is not None or commit.is_finishing:
        return None
    began_at = commit.started_at or datetime.now(UTC)
    try:
        holder = LockHolder.read(commit.description.encode(), str(repo))
    except CorruptError:  # from another version: only its signs of life count
        holder = LockHolder(name="an unknown run", place="", process=0, token="")
    if description is None:
        description = next((info.description for info in source.repos() if info.name == repo), "")
    state = state_in(description)
    # the state of an earlier holder says nothing about this one, which has just begun
    if state is None or state.lock != commit.id:
        return LockRun(holder, commit.id, began_at, began_at)
    # `began_at` is the cluster's time: a holder whose own clock is behind is not dead from the start
    alive_at = max(state.alive_at, began_at)
    return LockRun(holder, commit.id, began_at, alive_at, state.phase, state.since, state.alive_at)


def lock_ref(request_id: str, commit: str) -> CommitRef:
    """A commit of the request's repo, the lock for one."""
    repo = staging.staging_repo(request_id)
    return CommitRef(repo.project, repo.repo, commit)


def _is_running(process: int) -> bool:
    try:
        # signal 0 is never delivered: it only tests whether the process exists
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True

"""The lock of a request: one run at a time carries it out, in whichever shell or worker.

Held is an open commit on branch `holder` of the request's own repo in the cluster. Pachyderm opens no
second commit on a branch whose head is open, so opening it is the atomic step; and a dead holder's commit
is closed by its id, so that nobody closes the one of who came first after it. The commit's description
says who holds it; the repo's description, in which phase the holder is and when it last gave a sign of life.

A holder is dead when its process is no more, seen from the same machine, or when it gave no sign of life
for `STALE`. Clocks of machines may differ: one that seems dead by this machine's clock, or from the future,
is watched for a while before it is followed, and is alive if it gives a sign of life meanwhile.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pachvault.errors import (
    BusyError,
    CorruptError,
    PachvaultError,
    PachydermError,
    SourceGoneError,
    TransientError,
)
from pachvault.format.documents import Time
from pachvault.format.ids import RepoName
from pachvault.messages import StageMessage
from pachvault.pach.connection import retrying
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target
from pachvault.restore.stage import staging

_log = logging.getLogger(__name__)

BEAT_SECONDS = 30.0
STALE = timedelta(minutes=10)
"""A holder that gave no sign of life for so long is dead."""
WATCH_SECONDS = 2.5 * BEAT_SECONDS
"""How long a holder is watched that seems dead."""
BRANCH = "holder"
_TRIES = 5


_holding: set[str] = set()
"""The tokens of the holders that run in this process."""


class HeldError(BusyError):
    """Another run carries the request out."""


class LockHolder(StageMessage):
    """Who carries a request out."""

    name: str
    """For people."""
    place: str
    """Where it runs: a machine with its process ids, or a datum of a job."""
    process: int
    """0 for a datum: its next attempt goes on with what the one before left."""
    token: str

    @classmethod
    def this_process(cls) -> LockHolder:
        """A run from a shell or a program."""
        host, process = socket.gethostname(), os.getpid()
        # machines or containers of one name may each have a process 7
        numbers, boot = Path("/proc/self/ns/pid"), Path("/proc/sys/kernel/random/boot_id")
        place = f"{host} {numbers.readlink()} {boot.read_text().strip()}" if boot.exists() else host
        return cls(
            name=f"process {process} on {host}", place=place, process=process, token=secrets.token_hex(8)
        )

    @classmethod
    def of_job(cls, job_id: str, datum: str) -> LockHolder:
        """A job's datum, by the folder that is its input."""
        place = f"job {job_id}, {datum}"
        return cls(name=place, place=place, process=0, token=secrets.token_hex(8))

    def has_ended(self, other: LockHolder) -> bool:
        """Whether `other`, which shares this one's place, runs no more."""
        if other.place != self.place:
            return False
        if other.process == os.getpid():  # its release did not reach the cluster, if it ended
            return other.token not in _holding
        return other.process == 0 or not _is_running(other.process)


class LockState(StageMessage):
    """What a holder says of itself, in the description of the request's repo."""

    request_id: str
    lock: str
    """The open commit that it holds."""
    phase: str
    since: Time
    alive_at: Time
    snapshot: str = ""
    """The snapshot whose heads were being moved; empty before that."""


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


@dataclass(slots=True)
class HeldLock:
    """The lock, held. Beats until it is released."""

    source: Source
    target: Target
    request_id: str
    commit: str
    snapshot: str = ""
    """The snapshot with which heads were moved, by this run or an interrupted one: only with it can a
    run go on."""
    phase: str = ""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    _is_gone: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)
    _telling: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, phase: str) -> None:
        """Another phase begins."""
        self.phase, self.since = phase, datetime.now(UTC)
        self._tell()

    def enter_heads(self, snapshot: str) -> None:
        """Heads are moved from now on, to what this snapshot has: kept until the request is settled."""
        self.snapshot = snapshot
        self.enter("heads")

    def check(self) -> None:
        """Raise HeldError unless the lock is still held: before what must not be done twice."""
        try:
            commit = self.source.commit(_ref(self.request_id, self.commit))
            is_open = commit.finished_at is None and not commit.is_finishing
        except SourceGoneError:
            is_open = False
        if not is_open:
            raise HeldError(
                "the restore was taken over by another run, or removed as dead",
                where=f"request {self.request_id[:12]}",
                hint="`pachvault restores` shows it",
            )

    def remove(self) -> None:
        """Delete the request's repo with all parts, and the lock with it: the request is settled."""
        with self._telling:  # a description given to a repo that is gone would make it anew
            self.check()
            staging.remove(self.target, self.request_id)
            self._is_gone = True

    def give_up(self) -> None:
        """Delete what is staged, unless heads were moved: then a next run has to go on."""
        if not self.snapshot:
            self.remove()

    def beat(self) -> None:
        """Give signs of life until the lock is released."""
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self._tell()
            except PachvaultError as error:
                _log.warning("no sign of life could be written, the next may be: %s", error)

    def release(self) -> None:
        """Let others have it; what is staged stays for them, and a repo that tells nothing goes."""
        self._ended.set()
        if self._is_gone:
            return
        try:
            branches = self.source.branches(staging.staging_repo(self.request_id))
            if [branch.name for branch in branches] == [BRANCH] and not self.snapshot:
                self.remove()
            else:
                self.target.finish(_ref(self.request_id, self.commit))
        except (PachydermError, HeldError) as error:
            _log.warning("the lock of request %s stays until it is stale: %s", self.request_id[:12], error)

    def _tell(self) -> None:
        with self._telling:
            if self._is_gone:
                return
            self.check()
            state = LockState(
                request_id=self.request_id,
                lock=self.commit,
                phase=self.phase,
                since=self.since,
                alive_at=datetime.now(UTC),
                snapshot=self.snapshot,
            )
            repo = staging.staging_repo(self.request_id)
            self.target.describe_repo(repo.project, repo.repo, state.model_dump_json())


@contextmanager
def held(source: Source, target: Target, request_id: str, holder: LockHolder) -> Iterator[HeldLock]:
    """Hold a request while it lasts. Raises HeldError where another run that lives holds it."""
    _holding.add(holder.token)
    try:
        commit = retrying()(_acquire, source, target, request_id, holder)
        mine = HeldLock(source, target, request_id, commit, begun_with(source, request_id) or "")
        thread = threading.Thread(target=mine.beat, name="sign-of-life", daemon=True)
        try:
            thread.start()
            yield mine
        finally:
            mine.release()
            thread.join()
    finally:
        _holding.discard(holder.token)


def begun_with(source: Source, request_id: str) -> str | None:
    """The snapshot with which a run of the request that is not settled moved heads; None where none did."""
    try:
        described = source.repo(staging.staging_repo(request_id))
    except SourceGoneError:
        return None
    state = state_in(described.description)
    return (state.snapshot or None) if state and state.request_id == request_id else None


def state_in(description: str) -> LockState | None:
    """What a holder said of itself in the description of a request's repo; None where it said nothing."""
    try:
        return LockState.read(description.encode(), "a request's repo")
    except CorruptError:
        return None


def holder_of(source: Source, request_id: str, description: str | None = None) -> LockRun | None:
    """The run that holds a request, dead or alive; `description` is its repo's, where that is known."""
    repo = staging.staging_repo(request_id)
    try:
        head = {branch.name: branch.head for branch in source.branches(repo)}.get(BRANCH)
        commit = source.commit(_ref(request_id, head)) if head else None
    except SourceGoneError:
        return None
    if commit is None or commit.finished_at is not None or commit.is_finishing:
        return None
    began_at = commit.started_at or datetime.now(UTC)
    try:
        holder = LockHolder.read(commit.description.encode(), str(repo))
    except CorruptError:  # of another version, say: its sign of life is what counts
        holder = LockHolder(name="an unknown run", place="", process=0, token="")
    if description is None:
        description = next((each.description for each in source.repos() if each.name == repo), "")
    state = state_in(description)
    if state is None or state.lock != commit.id:
        return LockRun(holder, commit.id, began_at, began_at)
    alive_at = max(state.alive_at, began_at)
    return LockRun(holder, commit.id, began_at, alive_at, state.phase, state.since, state.alive_at)


def _acquire(source: Source, target: Target, request_id: str, holder: LockHolder) -> str:
    """The id of the open commit that is the lock."""
    repo = staging.staging_repo(request_id)
    refusal: PachydermError | None = None
    for _ in range(_TRIES):
        staging.ensure(target, request_id)
        try:
            return target.start(
                repo.project, repo.repo, BRANCH, parent=None, description=holder.model_dump_json()
            )
        except TransientError:
            raise
        except PachydermError as error:
            refusal = error
        run = holder_of(source, request_id)
        if run is None:  # released, or removed, just now
            continue
        if run.holder.token == holder.token:  # opened by a call whose answer was lost
            return run.commit
        if not holder.has_ended(run.holder) and _is_alive(source, request_id, run):
            raise _held_by(request_id, run)
        _log.info("request %s is taken over: %s ended", request_id[:12], run.holder.name)
        try:
            target.finish(_ref(request_id, run.commit), error="its holder ended before its time")
        except PachydermError as error:
            _log.info("another run took request %s over: %s", request_id[:12], error)
    raise refusal or HeldError("many runs want the request at once", where=f"request {request_id[:12]}")


def _is_alive(source: Source, request_id: str, run: LockRun) -> bool:
    """Whether a holder gave a sign of life of late, or gives one while it is watched."""
    if abs(datetime.now(UTC) - run.alive_at) <= STALE:
        return True
    until = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < until:
        time.sleep(min(1.0, WATCH_SECONDS / 10))
        now = holder_of(source, request_id)
        if now is None or now.commit != run.commit:
            return False  # released, or followed by another
        if now.sign != run.sign:
            return True
    return False


def _held_by(request_id: str, run: LockRun) -> HeldError:
    phase = f", in phase {run.phase}" if run.phase else ""
    return HeldError(
        f"{run.holder.name} carries it out, since {run.began_at:%Y-%m-%d %H:%M} UTC{phase}",
        where=f"request {request_id[:12]}",
        hint=f"wait for it; a run that died is taken over {STALE.seconds // 60} minutes "
        "after its last sign of life",
    )


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True


def _ref(request_id: str, commit: str) -> CommitRef:
    repo: RepoName = staging.staging_repo(request_id)
    return CommitRef(repo.project, repo.repo, commit)

"""The lock of a request: one run at a time carries it out, in whichever shell or worker.

A run holds the lock by an open commit on branch `holder` of the request's own repo in the cluster. Pachyderm
opens no second commit on a branch whose head is open, so opening it is the atomic step. The commit of a dead
holder is closed by its id: a run that takes over cannot close the commit of another one that was first.

A holder is dead when its process has ended, seen from the same machine, or when it gave no sign of life for
`STALE`. Clocks of machines may differ: a holder that seems dead by this machine's clock, or from the future,
is watched for a while first, and is alive if it gives a sign of life meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pachvault.errors import BusyError, PachvaultError, PachydermError, SourceGoneError, TransientError
from pachvault.pach.connection import retrying
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.restore.stage import staging
from pachvault.restore.state.lock_holder import (
    BRANCH,
    STALE,
    LockHolder,
    LockRun,
    LockState,
    begun_with,
    held_here,
    holder_of,
    lock_ref,
)

_log = logging.getLogger(__name__)

BEAT_SECONDS = 30.0
WATCH_SECONDS = 2.5 * BEAT_SECONDS
"""How long a holder is watched that seems dead."""
_TRIES = 5


class HeldError(BusyError):
    """Another run holds the request."""


@dataclass(slots=True)
class HeldLock:
    """The lock while it is held. A thread calls `beat` until it is released."""

    source: Source
    target: Target
    request_id: str
    commit: str
    snapshot: str = ""
    """The snapshot that heads were moved to, by this run or an interrupted one: only with it can a run go
    on."""
    phase: str = ""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    _is_gone: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, phase: str) -> None:
        """Begin a phase."""
        self.phase, self.since = phase, datetime.now(UTC)
        self._write_state()

    def enter_heads(self, snapshot: str) -> None:
        """Begin to move heads to this snapshot, which is recorded until the request is settled."""
        self.snapshot = snapshot
        self.enter("heads")

    def check(self) -> None:
        """Raise HeldError unless the lock is still held. Call it before what must not be done twice."""
        try:
            commit = self.source.commit(lock_ref(self.request_id, self.commit))
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
        """Delete the request's repo, with all parts and the lock: the request is settled."""
        with self._writing:  # describing a deleted repo would create it again
            self.check()
            staging.remove(self.target, self.request_id)
            self._is_gone = True

    def give_up(self) -> None:
        """Delete what is staged, unless heads were moved: the next run has to go on then."""
        if not self.snapshot:
            self.remove()

    def beat(self) -> None:
        """Give signs of life until the lock is released."""
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self._write_state()
            except PachvaultError as error:
                _log.warning("no sign of life could be written, the next may be: %s", error)

    def release(self) -> None:
        """Release the lock. Staged parts stay for later runs; a repo without any is deleted."""
        self._ended.set()
        if self._is_gone:
            return
        try:
            branches = self.source.branches(staging.staging_repo(self.request_id))
            # where heads were moved the repo stays: it records with which snapshot the next run must go on
            if [branch.name for branch in branches] == [BRANCH] and not self.snapshot:
                self.remove()
            else:
                self.target.finish(lock_ref(self.request_id, self.commit))
        except (PachydermError, HeldError) as error:
            _log.warning("the lock of request %s stays until it is stale: %s", self.request_id[:12], error)

    def _write_state(self) -> None:
        with self._writing:
            if self._is_gone:
                return
            self.check()
            # checked first: a run that was taken over must not overwrite the state of its successor
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
    """Hold a request while the block runs. Raises HeldError where a live run holds it."""
    held_here.add(holder.token)
    try:
        # opening a commit is not idempotent. Repeated, `_acquire` recognises its own commit by the token
        commit = retrying()(_acquire, source, target, request_id, holder)
        lock = HeldLock(source, target, request_id, commit, begun_with(source, request_id) or "")
        thread = threading.Thread(target=lock.beat, name="sign-of-life", daemon=True)
        try:
            thread.start()
            yield lock
        finally:
            lock.release()
            thread.join()
    finally:
        held_here.discard(holder.token)


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
        # only a refusal means that there is another holder; unreachable is no answer
        except TransientError:
            raise
        except PachydermError as error:
            refusal = error
        run = holder_of(source, request_id)
        if run is None:  # just released or deleted
            continue
        if run.holder.token == holder.token:  # this run opened it, by a call whose answer was lost
            return run.commit
        if not holder.has_ended(run.holder) and _is_alive(source, request_id, run):
            raise _held_by(request_id, run)
        _log.info("request %s is taken over: %s ended", request_id[:12], run.holder.name)
        try:
            # by its id, not by the branch: by then the branch may have the open commit of another run
            target.finish(lock_ref(request_id, run.commit), error="its holder ended before its time")
        except PachydermError as error:
            _log.info("another run took request %s over: %s", request_id[:12], error)
    raise refusal or HeldError("many runs want the request at once", where=f"request {request_id[:12]}")


def _is_alive(source: Source, request_id: str, run: LockRun) -> bool:
    """Whether a holder gave a sign of life recently, or gives one while it is watched."""
    if abs(datetime.now(UTC) - run.alive_at) <= STALE:
        return True
    until = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < until:
        time.sleep(min(1.0, WATCH_SECONDS / 10))
        now = holder_of(source, request_id)
        if now is None or now.commit != run.commit:
            return False  # released, or taken over by another run
        # any change counts, not a later time: the holder's clock may be wrong
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

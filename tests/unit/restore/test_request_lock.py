"""The lock of a request: one holder at a time, whoever died is followed, and nobody loses what it holds."""

from __future__ import annotations

import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from e2e.cluster import Cluster, eventually
from pachvault.errors import EXIT_BUSY, PachydermError
from pachvault.pach.source import CommitRef
from pachvault.restore.stage import staging
from pachvault.restore.state import request_lock
from pachvault.restore.state.lock_holder import LockHolder, LockState, holder_of
from pachvault.restore.state.request_lock import HeldError, HeldLock, held


@pytest.fixture
def request_id(cluster: Cluster) -> Iterator[str]:
    new_id = secrets.token_hex(32)
    yield new_id
    staging.remove(cluster.target, new_id)


def take(cluster: Cluster, request_id: str, holder: LockHolder | None = None) -> HeldLock:
    """Hold a request and never let go, as a process does that is killed."""
    commit = request_lock._acquire(
        cluster.source, cluster.target, request_id, holder or LockHolder.this_process()
    )
    return HeldLock(cluster.source, cluster.target, request_id, commit)


def dead(like: LockHolder) -> LockHolder:
    """A process that was on this machine."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return like.model_copy(update={"process": process.pid, "token": "another"})


def elsewhere() -> LockHolder:
    return LockHolder(name="process 7 on far", place="far", process=7, token=secrets.token_hex(8))


def repo_is_there(cluster: Cluster, request_id: str) -> bool:
    return staging.staging_repo(request_id) in {repo.name for repo in cluster.source.repos()}


def test_a_second_run_is_told_who_holds_it(cluster: Cluster, request_id: str) -> None:
    mine = LockHolder.this_process()
    with held(cluster.source, cluster.target, request_id, mine) as first:
        first.enter("fetch")
        with (
            pytest.raises(HeldError) as caught,
            held(cluster.source, cluster.target, request_id, LockHolder.this_process()),
        ):
            pytest.fail("two hold it")
        first.check()
    assert caught.value.exit_code == EXIT_BUSY
    line = str(caught.value)
    assert line.startswith(f"request {request_id[:12]}: {mine.name} carries it out, since ")
    assert "in phase fetch" in line
    assert "10 minutes" in line


def test_of_many_at_once_one_holds_it(cluster: Cluster, request_id: str) -> None:
    everybody_tried = threading.Barrier(6)

    def attempt(_: int) -> bool:
        with ExitStack() as stack:
            try:
                stack.enter_context(
                    held(cluster.source, cluster.target, request_id, LockHolder.this_process())
                )
            except HeldError:
                return False
            finally:
                everybody_tried.wait()
            return True

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(attempt, range(6))).count(True) == 1


def test_it_is_free_again_and_without_parts_nothing_is_left(cluster: Cluster, request_id: str) -> None:
    for _ in range(2):
        with held(cluster.source, cluster.target, request_id, LockHolder.this_process()):
            assert repo_is_there(cluster, request_id)
        assert not repo_is_there(cluster, request_id)


def test_what_is_staged_stays_for_the_next_run(cluster: Cluster, request_id: str) -> None:
    repo = staging.staging_repo(request_id)
    for _ in range(2):
        with held(cluster.source, cluster.target, request_id, LockHolder.this_process()):
            part = cluster.target.start(repo.project, repo.repo, "part", parent=None, description="")
            cluster.target.finish(CommitRef(repo.project, repo.repo, part))
        assert repo_is_there(cluster, request_id)
        assert holder_of(cluster.source, request_id) is None
    with held(cluster.source, cluster.target, request_id, LockHolder.this_process()) as mine:
        mine.remove()
    assert not repo_is_there(cluster, request_id)


def test_a_process_that_died_on_this_machine_is_followed_at_once(cluster: Cluster, request_id: str) -> None:
    gone = take(cluster, request_id, dead(LockHolder.this_process()))
    with held(cluster.source, cluster.target, request_id, LockHolder.this_process()) as mine:
        mine.check()
        with pytest.raises(HeldError, match="taken over"):
            gone.check()
        with pytest.raises(HeldError, match="taken over"):
            gone.remove()
        with pytest.raises(HeldError, match="taken over"):
            gone.enter("heads")
        gone.release()
        mine.check()


def test_the_next_attempt_of_a_datum_goes_on(cluster: Cluster, request_id: str) -> None:
    take(cluster, request_id, LockHolder.of_job("a-job", "mine-1"))
    with held(cluster.source, cluster.target, request_id, LockHolder.of_job("a-job", "mine-1")) as mine:
        for other in (LockHolder.of_job("another-job", "mine-1"), LockHolder.of_job("a-job", "mine-2")):
            with (
                pytest.raises(HeldError, match="job a-job, mine-1 carries it out"),
                held(cluster.source, cluster.target, request_id, other),
            ):
                pytest.fail("two hold it")
        mine.check()


def test_another_machine_is_followed_once_it_gave_no_sign_of_life(
    cluster: Cluster, request_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = take(cluster, request_id, elsewhere())
    far.enter("replay")
    run = holder_of(cluster.source, request_id)
    assert run is not None
    assert (run.holder.name, run.phase) == ("process 7 on far", "replay")
    assert not run.is_dead(run.alive_at + request_lock.STALE)
    assert run.is_dead(run.alive_at + request_lock.STALE + timedelta(seconds=1))
    with (
        pytest.raises(HeldError),
        held(cluster.source, cluster.target, request_id, LockHolder.this_process()),
    ):
        pytest.fail("two hold it")
    monkeypatch.setattr(request_lock, "STALE", timedelta(0))
    monkeypatch.setattr(request_lock, "WATCH_SECONDS", 0.2)
    with (
        held(cluster.source, cluster.target, request_id, LockHolder.this_process()),
        pytest.raises(HeldError, match="taken over"),
    ):
        far.check()


@pytest.mark.parametrize("days", [1, -1, 365, -365])
def test_a_holder_whose_clock_is_off_is_watched_before_it_is_followed(
    cluster: Cluster, request_id: str, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    monkeypatch.setattr(request_lock, "WATCH_SECONDS", 1.5)
    monkeypatch.setattr(request_lock, "STALE", timedelta(0))  # as if it had begun long ago
    far = take(cluster, request_id, elsewhere())
    repo = staging.staging_repo(request_id)
    has_ended = threading.Event()

    def tell() -> None:
        while not has_ended.wait(0.1):
            at = datetime.now(UTC) + timedelta(days=days)
            state = LockState(request_id=request_id, lock=far.commit, phase="replay", since=at, alive_at=at)
            cluster.target.describe_repo(repo.project, repo.repo, state.model_dump_json())

    with ThreadPoolExecutor(1) as pool:
        telling = pool.submit(tell)
        try:
            with (
                pytest.raises(HeldError, match="process 7 on far"),
                held(cluster.source, cluster.target, request_id, LockHolder.this_process()),
            ):
                pytest.fail("two hold it")
        finally:
            has_ended.set()
        telling.result()
    with held(cluster.source, cluster.target, request_id, LockHolder.this_process()):
        pass  # it gave no sign of life while it was watched


def test_a_sign_of_life_of_the_one_before_is_not_taken_for_the_holders(
    cluster: Cluster, request_id: str
) -> None:
    before = take(cluster, request_id, dead(LockHolder.this_process()))
    before.since = datetime(2001, 1, 1, tzinfo=UTC)
    before.enter("heads")
    take(cluster, request_id)
    run = holder_of(cluster.source, request_id)
    assert run is not None
    assert (run.phase, run.since) == ("", None)
    assert run.alive_at == run.began_at


def test_signs_of_life_go_on_until_it_is_released(
    cluster: Cluster, request_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_lock, "BEAT_SECONDS", 0.01)

    def alive_at() -> datetime:
        run = holder_of(cluster.source, request_id)
        assert run is not None
        return run.alive_at

    with held(cluster.source, cluster.target, request_id, LockHolder.this_process()):
        first = alive_at()
        eventually("a sign of life", lambda: alive_at() > first)
        refusal = {"method": "CreateRepo", "times": 3, "code": "PERMISSION_DENIED"}
        with cluster.faults(refusal):  # a beat that fails is not the last one
            later = alive_at()
            eventually("another", lambda: alive_at() > later)
    assert "sign-of-life" not in {thread.name for thread in threading.enumerate()}


def test_a_lock_whose_answer_was_lost_is_known_again(cluster: Cluster, request_id: str) -> None:
    holder = elsewhere()
    first = take(cluster, request_id, holder)
    assert take(cluster, request_id, holder).commit == first.commit


def test_a_holder_that_cannot_be_read_is_judged_by_its_age(cluster: Cluster, request_id: str) -> None:
    repo = staging.staging_repo(request_id)
    staging.ensure(cluster.target, request_id)
    cluster.target.start(
        repo.project, repo.repo, request_lock.BRANCH, parent=None, description="of a later version"
    )
    run = holder_of(cluster.source, request_id)
    assert run is not None
    assert not run.is_dead(datetime.now(UTC))
    with pytest.raises(HeldError, match="an unknown run"):
        take(cluster, request_id)


def test_who_may_not_write_is_told_so(cluster: Cluster, request_id: str) -> None:
    refusal = {"method": "StartCommit", "times": 99, "code": "PERMISSION_DENIED", "message": "no, you"}
    with cluster.faults(refusal), pytest.raises(PachydermError, match="no, you"):
        take(cluster, request_id)

"""The threads of a pipeline: one creates jobs, one runs them, one for each cron input ticks."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm.pps.engine import Engine, now
from embedded_pachyderm.pps.jobs import inputs
from embedded_pachyderm.pps.jobs.job import InputGoneError, JobRun
from embedded_pachyderm.pps.jobs.job_state import finish
from embedded_pachyderm.pps.jobs.ticks import newest_tick, tick
from embedded_pachyderm.pps.state import Key, pipeline_of
from pachvault.syntax.schedule import parse as parse_schedule

_log = logging.getLogger("embedded_pachyderm.pps")
_RETRY_SECONDS = 1.0


class Runner:
    """The threads of one pipeline, from its creation or update to its next update or deletion."""

    def __init__(self, engine: Engine, key: Key) -> None:
        self._engine = engine
        self._key = key
        self._ended = threading.Event()
        self._subscription: Any = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        info = self._engine.state.pipeline(self._key)
        if info is None:
            return
        self._spawn("watch", self._watch)
        self._spawn("run", self._run)
        for node in inputs.leaves(info.details.input):
            if node.HasField("cron"):
                self._spawn("cron", partial(self._tick, node.cron))

    def end(self) -> None:
        """Stop all threads; a running job is stopped by its own event or when the server closes."""
        self._ended.set()
        if self._subscription is not None:
            self._subscription.cancel()
        self._engine.state.notify()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=10)

    def _spawn(self, what: str, body: Callable[[], None]) -> None:
        thread = threading.Thread(target=body, name=f"{what}-{self._key}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _over(self) -> bool:
        return self._ended.is_set() or self._engine.closing.is_set()

    def _watch(self) -> None:
        while not self._over():
            info = self._engine.state.pipeline(self._key)
            if info is None:
                return
            request = pfs_pb2.SubscribeCommitRequest(
                repo=output_repo(self._key),
                branch=info.details.output_branch,
                state=pfs_pb2.STARTED,
                all=True,
            )
            self._subscription = self._engine.pfs.stub.SubscribeCommit(request)
            try:
                for commit_info in self._subscription:
                    note_commit(self._engine, self._key, commit_info)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.CANCELLED:
                    _log.warning("watching %s: %s", self._key, error.details())
            self._ended.wait(_RETRY_SECONDS)

    def _run(self) -> None:
        while not self._over():
            jobs = self._engine.state.unfinished_jobs(self._key)
            if not jobs:
                self._engine.state.wait(
                    lambda: self._over() or bool(self._engine.state.unfinished_jobs(self._key)), 5.0
                )
                continue
            self._run_job(jobs[0])

    def _run_job(self, info: Any) -> None:
        pipeline = self._engine.state.pipeline_at(self._key, info.pipeline_version)
        if pipeline is None:
            return
        try:
            JobRun(self._engine, self._key, info, pipeline).run()
        except grpc.RpcError as error:
            if self._over():
                return
            if error.code() == grpc.StatusCode.NOT_FOUND:
                finish(self._engine, info, pps_pb2.JOB_KILLED, "output commit missing")
                return
            self._again(info, error.details())
        except InputGoneError as error:
            finish(self._engine, info, pps_pb2.JOB_KILLED, str(error))
        except OSError as error:
            self._again(info, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, see below
            # Without this the thread would end and its pipeline would stop without a message.
            _log.exception("job %s of %s", info.job.id, self._key)
            finish(self._engine, info, pps_pb2.JOB_FAILURE, f"internal error: {error!r}")
        finally:
            self._engine.forget_job(self._key, info.job.id)

    def _again(self, info: Any, why: str) -> None:
        """Start the job over, without a limit: the cluster or the machine failed, not the user's code."""

        def edit(job: Any) -> None:
            job.restart += 1

        _log.warning("job %s of %s starts over: %s", info.job.id, self._key, why)
        self._engine.logs.write(self._key, f"error processing job: {why}, retrying", job=info.job.id)
        self._engine.state.edit_job(self._key, info.job.id, edit)
        self._ended.wait(_RETRY_SECONDS)

    def _tick(self, cron_input: Any) -> None:
        schedule = parse_schedule(cron_input.spec)
        last: datetime | None = None
        while not self._over():
            try:
                info = self._engine.state.pipeline(self._key)
                if info is None or info.stopped:
                    last = None
                    self._ended.wait(_RETRY_SECONDS)
                    continue
                if last is None:
                    start = cron_input.start.ToDatetime(tzinfo=UTC)
                    # from the last tick that is stored: as in Pachyderm, missed ticks catch up one by one
                    last = max(start, newest_tick(self._engine, cron_input) or start)
                due = schedule.after(last)
                if due is None:
                    return
                remaining = (due - datetime.now(UTC)).total_seconds()
                if remaining > 0:
                    self._ended.wait(min(remaining, _RETRY_SECONDS))
                    continue
                tick(self._engine, cron_input, due)
                last = due
            except grpc.RpcError as error:
                if not self._over():
                    _log.warning("cron of %s: %s", self._key, error.details())
                    self._ended.wait(_RETRY_SECONDS)


def output_repo(key: Key, kind: str = "user") -> Any:
    """The repo a pipeline writes; `meta` and `spec` are its companions."""
    return pfs_pb2.Repo(name=key.name, type=kind, project=pfs_pb2.Project(name=key.project))


def note_commit(engine: Engine, key: Key, commit_info: Any) -> None:
    """An open commit on the output branch is a job."""
    if commit_info.origin.kind != pfs_pb2.AUTO or commit_info.HasField("finishing"):
        return
    with engine.lock(key):
        pipeline = engine.state.pipeline(key)
        if pipeline is None:
            return
        job = pps_pb2.JobInfo(pipeline_version=pipeline.version, state=pps_pb2.JOB_CREATED)
        job.job.pipeline.CopyFrom(pipeline_of(key))
        job.job.id = commit_info.commit.id
        job.output_commit.CopyFrom(commit_info.commit)
        job.output_commit.branch.repo.CopyFrom(commit_info.commit.repo)
        job.output_commit.branch.name = pipeline.details.output_branch
        job.stats.SetInParent()
        job.created.CopyFrom(now())
        engine.state.add_job(job)


def catch_up(engine: Engine, key: Key) -> None:
    """Create the jobs of commits that the watching thread has not seen yet, so that no client misses one."""
    try:
        request = pfs_pb2.ListCommitRequest(repo=output_repo(key), all=True, number=20)
        for info in reversed(list(engine.pfs.stub.ListCommit(request))):
            note_commit(engine, key, info)
    except grpc.RpcError as error:
        _log.debug("no commits of %s: %s", key, error.details())


def sweep(engine: Engine) -> None:
    """Remove scratch folders of a killed server's workers."""
    shutil.rmtree(engine.scratch, ignore_errors=True)

"""One job from start to end: wait for its inputs, work on what changed, finish its commits."""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm.pps.engine import Engine
from embedded_pachyderm.pps.jobs import inputs, output
from embedded_pachyderm.pps.jobs.datums import Datum, datum_sets, enumerate_datums
from embedded_pachyderm.pps.jobs.job_state import finish, finish_commits, meta_commit, set_state
from embedded_pachyderm.pps.state import DatumRow, Key
from embedded_pachyderm.pps.worker.datum_worker import Work, Worker, info_of

_KEPT = (pps_pb2.SUCCESS, pps_pb2.SKIPPED)


class InputGoneError(Exception):
    """An input commit of the job was deleted."""


class JobRun:
    """The run of one job. After a restart of the server it starts over."""

    def __init__(self, engine: Engine, key: Key, info: Any, pipeline: Any) -> None:
        self._engine = engine
        self._key = key
        self._info = info
        self._id = info.job.id
        self._commit = info.output_commit
        self._pipeline = pipeline
        self._stop = engine.stop_of(key, self._id)
        self._deadline = float("inf")

    def run(self) -> None:
        """To a terminal state, unless the server closes first."""
        self._edit(pps_pb2.JOB_STARTING)
        if self._pipeline.details.HasField("job_timeout"):
            self._deadline = time.monotonic() + self._pipeline.details.job_timeout.ToNanoseconds() / 1e9
        commit = self._engine.pfs.inspect_commit(self._commit)
        sources = {_repo_key(source.repo): source for source in commit.direct_provenance}
        failed = self._failed_inputs(sources)
        if failed:
            names = ", ".join(failed)
            reason = f"unrunnable because the following upstream pipelines failed: {names}"
            finish(self._engine, self._info, pps_pb2.JOB_UNRUNNABLE, reason)
            return
        if self._stopped():
            self._timed_out()
            return
        self._edit(pps_pb2.JOB_RUNNING)
        # a job that starts over after a restart must not append to what its first attempt wrote
        for commit_ in (self._commit, meta_commit(self._commit)):
            self._engine.pfs.clear(commit_)
        self._clear_counts()
        rows = self._work(commit, sources)
        if self._stopped():
            self._timed_out()
            return
        self._conclude(rows)

    def _failed_inputs(self, sources: dict[tuple[str, ...], Any]) -> list[str]:
        """Waits until every input commit is finished; gives the inputs whose commit failed."""
        failed = []
        for node in inputs.leaves(self._pipeline.details.input):
            info = self._engine.pfs.finished(_source(sources, node), self._stopped)
            if info is not None and info.error:
                failed.append(node.pfs.name if node.HasField("pfs") else node.cron.name)
        return failed

    def _work(self, commit: Any, sources: dict[tuple[str, ...], Any]) -> list[DatumRow]:
        details = self._pipeline.details
        by_repo = {
            _repo_key(inputs.repo_of(node)): _source(sources, node) for node in inputs.leaves(details.input)
        }
        datums = enumerate_datums(
            details.input,
            lambda branch, pattern: self._engine.pfs.glob(by_repo[_repo_key(branch.repo)], pattern),
        )
        base = {row.id: row for row in self._base_rows(commit)}
        kept, new, changed = self._sort(datums, base)
        self._engine.state.clear_datums(self._key, self._id)
        self._count(data_total=len(datums), data_skipped=0)
        # Files of datums that are gone or done again go before new ones come.
        staying = {row.id for row in kept}
        self._delete(path for row in base.values() if row.id not in staying for path in row.outputs)
        rows = self._process(new)
        if any(row.state == pps_pb2.FAILED for row in rows):
            # What the last job also had is looked at only when all that is new did well.
            return rows
        self._engine.state.put_datums(self._key, self._id, kept)
        self._count(data_total=len(datums), data_skipped=len(kept))
        return rows + kept + self._process(changed)

    def _sort(
        self, datums: list[Datum], base: dict[str, DatumRow]
    ) -> tuple[list[DatumRow], list[Datum], list[Datum]]:
        """Datums to keep as they are, new ones, and those that the base had with other content."""
        salt = self._pipeline.details.salt
        kept: list[DatumRow] = []
        new: list[Datum] = []
        changed: list[Datum] = []
        for datum in datums:
            row = base.get(datum.id)
            if row is None:
                new.append(datum)
            elif row.state in _KEPT and row.hash == datum.hash(salt):
                kept.append(_kept(row, datum, self._key))
            else:
                changed.append(datum)
        return kept, new, changed

    def _base_rows(self, commit: Any) -> list[DatumRow]:
        """The datums of the newest ancestor that succeeded: what this job may skip."""
        parent = commit.parent_commit
        while parent.id:
            info = self._engine.pfs.inspect_commit(parent)
            job = self._engine.state.job(self._key, parent.id)
            if not info.error and job is not None and job.state == pps_pb2.JOB_SUCCESS:
                return self._engine.state.datums(self._key, parent.id)
            parent = info.parent_commit
        return []

    def _process(self, todo: list[Datum]) -> list[DatumRow]:
        details = self._pipeline.details
        workers = max(1, details.parallelism_spec.constant)
        names: queue.SimpleQueue[str] = queue.SimpleQueue()
        for number in range(workers):
            names.put(f"{self._key.project}-{self._key.name}-v{self._pipeline.version}-{number}")
        work = Work(self._key, self._id, self._commit, self._pipeline, self._stopped)

        def process(group: list[Datum]) -> list[DatumRow]:
            name = names.get()
            try:
                rows = []
                for datum in group:
                    if self._stopped():
                        break
                    row = Worker(self._engine, work, datum, name).process()
                    self._engine.state.put_datums(self._key, self._id, [row])
                    self._count_result(row)
                    rows.append(row)
                return rows
            finally:
                names.put(name)

        groups = datum_sets(todo, details.datum_set_spec.number, workers)
        with ThreadPoolExecutor(workers, thread_name_prefix=f"worker-{self._key.name}") as pool:
            return [row for rows in pool.map(process, groups) for row in rows]

    def _conclude(self, rows: list[DatumRow]) -> None:
        failed = [row.id for row in rows if row.state == pps_pb2.FAILED]
        reason = f"datum {failed[0]} failed" if failed else _duplicate(rows)
        if reason:
            finish(self._engine, self._info, pps_pb2.JOB_FAILURE, reason)
            return
        if self._edit(pps_pb2.JOB_FINISHING) is None:
            return
        finish_commits(self._engine, self._commit, "")
        info = self._engine.pfs.finished(self._commit, self._stopped)
        if info is None:
            return
        state = pps_pb2.JOB_FAILURE if info.error else pps_pb2.JOB_SUCCESS
        self._edit(state, info.error)

    def _timed_out(self) -> None:
        """What is stopped by its own clock is killed; any other stop is recorded by whoever ordered it."""
        if time.monotonic() > self._deadline and not self._stop.is_set():
            finish(self._engine, self._info, pps_pb2.JOB_KILLED, "job timed out")

    def _stopped(self) -> bool:
        return self._stop.is_set() or self._engine.closing.is_set() or time.monotonic() > self._deadline

    def _delete(self, paths: Iterable[str]) -> None:
        changes = list(output.deletions(paths))
        if changes:
            self._engine.pfs.add_file_set(self._commit, self._engine.pfs.create_file_set(iter(changes)))

    def _edit(self, state: int, reason: str = "") -> Any | None:
        return set_state(self._engine, self._key, self._id, state, reason)

    def _count(self, *, data_total: int, data_skipped: int) -> None:
        def edit(info: Any) -> None:
            info.data_total, info.data_skipped = data_total, data_skipped

        self._engine.state.edit_job(self._key, self._id, edit)

    def _clear_counts(self) -> None:
        """A job that starts over counts from nothing."""

        def edit(info: Any) -> None:
            info.data_processed = info.data_failed = 0
            info.stats.Clear()

        self._engine.state.edit_job(self._key, self._id, edit)

    def _count_result(self, row: DatumRow) -> None:
        def edit(info: Any) -> None:
            info.data_processed += row.state == pps_pb2.SUCCESS
            info.data_failed += row.state == pps_pb2.FAILED
            _add_stats(info.stats, row.info.stats)

        self._engine.state.edit_job(self._key, self._id, edit)


def _kept(row: DatumRow, datum: Datum, key: Key) -> DatumRow:
    """A datum of an earlier job, taken over: its info still names the job that did the work."""
    info = info_of(datum, key, row.info.datum.job.id, pps_pb2.SKIPPED, row.info.stats)
    return DatumRow(id=row.id, hash=row.hash, state=pps_pb2.SKIPPED, info=info, outputs=row.outputs)


def _duplicate(rows: list[DatumRow]) -> str:
    counts = Counter(path for row in rows for path in row.outputs)
    double = sorted(path for path, count in counts.items() if count > 1)
    return f"duplicate path output by different datums (path: {double[0]})" if double else ""


def _repo_key(repo: Any) -> tuple[str, ...]:
    return (repo.project.name or "default", repo.name, repo.type or "user")


def _source(sources: dict[tuple[str, ...], Any], node: Any) -> Any:
    key = _repo_key(inputs.repo_of(node))
    if key not in sources:
        raise InputGoneError(f"input commit of {'/'.join(key[:2])} is missing")
    return sources[key]


def _add_stats(total: Any, more: Any) -> None:
    for field in ("download_time", "process_time", "upload_time"):
        nanoseconds = getattr(total, field).ToNanoseconds() + getattr(more, field).ToNanoseconds()
        getattr(total, field).FromNanoseconds(nanoseconds)
    total.download_bytes += more.download_bytes
    total.upload_bytes += more.upload_bytes

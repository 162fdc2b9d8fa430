"""Pipelines, datums and logs as clients ask for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm.pps.engine import Engine, now
from embedded_pachyderm.pps.jobs import inputs
from embedded_pachyderm.pps.jobs.datums import enumerate_datums
from embedded_pachyderm.pps.jobs.job import meta_commit
from embedded_pachyderm.pps.jobs.runner import catch_up
from embedded_pachyderm.pps.pps_errors import invalid, not_found, unimplemented
from embedded_pachyderm.pps.service import pps_messages
from embedded_pachyderm.pps.service.jobs import Active
from embedded_pachyderm.pps.state import Key, key_of
from embedded_pachyderm.pps.worker.datum_worker import info_of
from embedded_pachyderm.pps.worker.logs import LogLine

_DEFAULT_SINCE_SECONDS = 24 * 3600.0
_FOLLOW_SECONDS = 0.2


class Queries:
    """Questions that change nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def inspect_pipeline(self, request: Any) -> Any:
        key = key_of(request.pipeline)
        versions = self._engine.state.pipeline_versions(key, 1)
        if not versions:
            raise not_found(f'pipeline "{key}" not found')
        told = self._told(*versions[0])
        if not request.details:
            told.ClearField("details")
        return told

    def list_pipelines(self, request: Any) -> Iterator[Any]:
        if request.jqFilter:
            raise unimplemented("ListPipeline with a jq filter")
        wanted = key_of(request.pipeline) if request.HasField("pipeline") else None
        if wanted is not None and self._engine.state.pipeline(wanted) is None:
            raise not_found(f'could not list pipeline info: pipeline "{wanted}" not found')
        projects = {project.name for project in request.projects}
        for key in self._engine.state.pipeline_keys():
            if (wanted and key != wanted) or (projects and key.project not in projects):
                continue
            limit = request.history + 1 if request.history >= 0 else -1
            for info, effective in self._engine.state.pipeline_versions(key, limit):
                yield self._told(info, effective)

    def _told(self, info: Any, effective: str) -> Any:
        key = key_of(info.pipeline)
        catch_up(self._engine, key)
        info.last_job_state = self._engine.state.last_job_state(key)
        return pps_messages.with_effective_spec(info, effective)

    def inspect_datum(self, request: Any) -> Any:
        if not request.datum.id:
            raise invalid("must specify a datum")
        job = self._job(request.datum.job)
        for info in self._datums_of(job):
            if info.datum.id == request.datum.id:
                info.pfs_state.commit.CopyFrom(meta_commit(job.output_commit))
                info.pfs_state.path = f"/pfs/{info.datum.id}"
                return info
        raise invalid(f"datum {request.datum.id} not found in job {job.job.id}")

    def list_datums(self, request: Any) -> Iterator[Any]:
        if request.HasField("job") and request.HasField("input"):
            raise invalid("cannot specify both job and input")
        if request.reverse and not request.number:
            raise invalid("number must be > 0 when reverse is set")
        found = (
            self._datums_from(request.input)
            if request.HasField("input")
            else self._datums_of(self._job(request.job))
        )
        if request.reverse:
            found.reverse()
        states, marker = set(request.filter.state), request.paginationMarker
        left = request.number or -1
        for info in found:
            if left == 0:
                return
            beyond = info.datum.id < marker if request.reverse else info.datum.id > marker
            if (marker and not beyond) or (states and info.state not in states):
                continue
            left -= 1
            yield info

    def _job(self, job: Any) -> Any:
        key = key_of(job.pipeline)
        info = self._engine.state.job(key, job.id)
        if info is None:
            raise not_found(f"jobs {key}@{job.id} not found")
        return info

    def _datums_of(self, job: Any) -> list[Any]:
        return [row.info for row in self._engine.state.datums(key_of(job.job.pipeline), job.job.id)]

    def _datums_from(self, tree: Any) -> list[Any]:
        """The datums that a pipeline with this input would have now."""
        inputs.set_defaults(tree, project="default", pipeline="", now=now())
        if any(node.HasField("cron") for node in inputs.leaves(tree)):
            raise invalid(
                "can't list datums with a cron input, there will be no datums until the pipeline is created"
            )
        datums = enumerate_datums(
            tree,
            lambda branch, pattern: self._engine.pfs.glob(
                pfs_pb2.Commit(repo=branch.repo, branch=branch), pattern
            ),
        )
        found = []
        for datum in datums:
            info = info_of(datum, Key("", ""), "", pps_pb2.UNKNOWN)
            info.datum.ClearField("job")
            found.append(info)
        return found

    def logs(self, request: Any, active: Active) -> Iterator[Any]:
        """The log lines asked for, oldest first; following them until the caller leaves."""
        key, job = self._log_source(request)
        datum = request.datum.id
        since = time.time() - (request.since.ToSeconds() or _DEFAULT_SINCE_SECONDS)
        seen = 0
        while True:
            lines = self._engine.logs.read(key, job)
            fresh = [line for line in lines[seen:] if line.at >= since and (not datum or line.datum == datum)]
            if request.tail and not seen:
                fresh = fresh[-request.tail :]
            seen = len(lines)
            for line in fresh:
                yield _log_message(key, line)
            if not request.follow or not active():
                return
            time.sleep(_FOLLOW_SECONDS)

    def _log_source(self, request: Any) -> tuple[Key, str | None]:
        job = request.datum.job if request.datum.HasField("job") else request.job
        if job.id:
            return key_of(job.pipeline), job.id
        if not request.HasField("pipeline"):
            raise invalid("must specify either pipeline or job")
        key = key_of(request.pipeline)
        if self._engine.state.pipeline(key) is None:
            raise not_found(f'pipeline "{key}" not found')
        return key, None


def _log_message(key: Key, line: LogLine) -> Any:
    message = pps_pb2.LogMessage(
        project_name=key.project,
        pipeline_name=key.name,
        job_id=line.job,
        worker_id=line.worker,
        datum_id=line.datum,
        user=line.user,
        message=line.message,
    )
    message.ts.FromDatetime(datetime.fromtimestamp(line.at, UTC))
    return message

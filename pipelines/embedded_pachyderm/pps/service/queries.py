"""InspectPipeline, ListPipeline, ListDatum and GetLogs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm.pps.engine import Engine
from embedded_pachyderm.pps.jobs.runner import catch_up
from embedded_pachyderm.pps.pps_errors import check_fields, invalid, not_found
from embedded_pachyderm.pps.service import pps_messages
from embedded_pachyderm.pps.state import Key, key_of
from embedded_pachyderm.pps.worker.logs import LogLine


class Queries:
    """Methods that only read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def inspect_pipeline(self, request: Any) -> Any:
        key = key_of(request.pipeline)
        versions = self._engine.state.pipeline_versions(key, 1)
        if not versions:
            raise not_found(f'pipeline "{key}" not found')
        info = self._shown(*versions[0])
        if not request.details:
            info.ClearField("details")
        return info

    def list_pipelines(self, request: Any) -> Iterator[Any]:
        check_fields(request, "pipeline", "projects", "details")
        wanted = key_of(request.pipeline) if request.HasField("pipeline") else None
        if wanted is not None and self._engine.state.pipeline(wanted) is None:
            raise not_found(f'could not list pipeline info: pipeline "{wanted}" not found')
        projects = {project.name for project in request.projects}
        for key in self._engine.state.pipeline_keys():
            if (wanted and key != wanted) or (projects and key.project not in projects):
                continue
            for info, effective in self._engine.state.pipeline_versions(key, 1):
                yield self._shown(info, effective)

    def _shown(self, info: Any, effective: str) -> Any:
        key = key_of(info.pipeline)
        catch_up(self._engine, key)
        info.last_job_state = self._engine.state.last_job_state(key)
        is_running = info.state == pps_pb2.PIPELINE_RUNNING
        if info.details.autoscaling and is_running and not self._engine.state.unfinished_jobs(key):
            # workers are there from the first job's start to the last one's end
            info.state = pps_pb2.PIPELINE_STANDBY
            info.details.workers_available = 0
        return pps_messages.with_effective_spec(info, effective)

    def list_datums(self, request: Any) -> Iterator[Any]:
        check_fields(request, "job")
        key, job_id = key_of(request.job.pipeline), request.job.id
        if self._engine.state.job(key, job_id) is None:
            raise not_found(f"jobs {key}@{job_id} not found")
        for row in self._engine.state.datums(key, job_id):
            yield row.info

    def logs(self, request: Any) -> Iterator[Any]:
        """The log lines of a pipeline or a job, the oldest first."""
        check_fields(request, "pipeline", "job")
        key, job = self._log_source(request)
        for line in self._engine.logs.read(key, job):
            yield _log_message(key, line)

    def _log_source(self, request: Any) -> tuple[Key, str | None]:
        if request.job.id:
            return key_of(request.job.pipeline), request.job.id
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

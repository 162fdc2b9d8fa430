"""InspectJob and ListJob."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.pps.engine import Engine
from embedded_pachyderm.pps.jobs import inputs
from embedded_pachyderm.pps.jobs.runner import catch_up
from embedded_pachyderm.pps.pps_errors import check_fields, invalid, not_found
from embedded_pachyderm.pps.state import TERMINAL, Key, key_of

_POLL_SECONDS = 0.5
_DETAILS = (
    "transform", "parallelism_spec", "resource_requests", "resource_limits", "sidecar_resource_limits",
    "sidecar_resource_requests", "salt", "datum_set_spec", "datum_timeout", "job_timeout", "datum_tries",
    "scheduling_spec", "pod_spec", "pod_patch",
)  # fmt: skip

#: Whether the caller is still there.
Active = Callable[[], bool]


class Jobs:
    """Jobs as clients see them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def inspect(self, request: Any, active: Active) -> Any:
        if not request.HasField("job"):
            raise invalid("must specify a job")
        key, job_id = key_of(request.job.pipeline), request.job.id
        info = self._get(key, job_id)
        while request.wait and info.state not in TERMINAL and active():
            self._engine.state.wait(lambda: self._settled(key, job_id), _POLL_SECONDS)
            latest = self._engine.state.job(key, job_id)
            if latest is None:
                raise invalid(f"job {job_id} was deleted")
            info = latest
        return self._detailed(info) if request.details else info

    def _settled(self, key: Key, job_id: str) -> bool:
        info = self._engine.state.job(key, job_id)
        return info is None or info.state in TERMINAL

    def _get(self, key: Key, job_id: str) -> Any:
        info = self._engine.state.job(key, job_id)
        if info is None and self._engine.state.pipeline(key) is not None:
            catch_up(self._engine, key)
            info = self._engine.state.job(key, job_id)
        if info is None:
            raise not_found(f"jobs {key}@{job_id} not found")
        return info

    def _detailed(self, info: Any) -> Any:
        key = key_of(info.job.pipeline)
        pipeline = self._engine.state.pipeline_at(key, info.pipeline_version)
        if pipeline is None:
            return info
        for name in _DETAILS:
            field = info.details.DESCRIPTOR.fields_by_name[name]
            if field.message_type is None:
                setattr(info.details, name, getattr(pipeline.details, name))
            elif pipeline.details.HasField(name):
                getattr(info.details, name).CopyFrom(getattr(pipeline.details, name))
        info.details.input.CopyFrom(inputs.at_job(pipeline.details.input, info.job.id))
        return info

    def list(self, request: Any) -> Iterator[Any]:
        """Jobs of the newest version of their pipelines, the newest job first."""
        check_fields(request, "pipeline", "input_commit")
        key = key_of(request.pipeline) if request.HasField("pipeline") else None
        if key is not None and self._engine.state.pipeline(key) is None:
            raise not_found(f'pipeline "{key}" not found')
        for listed_key in [key] if key else self._engine.state.pipeline_keys():
            catch_up(self._engine, listed_key)
        sets = self._sets_with(request.input_commit) if request.input_commit else None
        for info in self._engine.state.jobs(key):
            pipeline = self._engine.state.pipeline(key_of(info.job.pipeline))
            if pipeline is None or info.pipeline_version < pipeline.version:
                continue
            if sets is None or info.job.id in sets:
                yield info

    def _sets_with(self, commits: Any) -> set[str]:
        """The commit sets in which all these commits are somebody's direct provenance."""
        wanted = {(c.repo.project.name or "default", c.repo.name, c.id) for c in commits}
        matching = set()
        for commit_set in self._engine.pfs.stub.ListCommitSet(pfs_pb2.ListCommitSetRequest()):
            sources = {
                (source.repo.project.name, source.repo.name, source.id)
                for info in commit_set.commits
                for source in info.direct_provenance
            }
            if wanted <= sources:
                matching.add(commit_set.commit_set.id)
        return matching

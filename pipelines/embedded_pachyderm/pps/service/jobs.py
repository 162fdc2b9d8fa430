"""Jobs as clients ask for them: inspected, listed, followed, stopped, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm.pps.engine import Engine
from embedded_pachyderm.pps.jobs import inputs
from embedded_pachyderm.pps.jobs.job import finish
from embedded_pachyderm.pps.jobs.runner import catch_up
from embedded_pachyderm.pps.pps_errors import invalid, not_found
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
    """Questions about jobs, and the two orders they take."""

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
        key = key_of(request.pipeline) if request.HasField("pipeline") else None
        if key is not None and self._engine.state.pipeline(key) is None:
            raise not_found(f'pipeline "{key}" not found')
        for one in [key] if key else self._engine.state.pipeline_keys():
            catch_up(self._engine, one)
        projects = {project.name for project in request.projects}
        sets = self._sets_with(request.input_commit) if request.input_commit else None
        left = request.number or -1
        for info in self._engine.state.jobs(key, newest_first=not request.reverse):
            if left == 0:
                return
            if projects and info.job.pipeline.project.name not in projects:
                continue
            if sets is not None and info.job.id not in sets:
                continue
            if not _after_marker(info, request) or not self._within_history(info, request.history):
                continue
            left -= 1
            yield self._detailed(info) if request.details else info

    def _within_history(self, info: Any, history: int) -> bool:
        if history < 0:
            return True
        latest = self._engine.state.pipeline(key_of(info.job.pipeline))
        return latest is not None and info.pipeline_version >= latest.version - history

    def _sets_with(self, commits: Any) -> set[str]:
        """The commit sets in which all these commits are somebody's direct provenance."""
        wanted = {(c.repo.project.name or "default", c.repo.name, c.id) for c in commits}
        found = set()
        for commit_set in self._engine.pfs.stub.ListCommitSet(pfs_pb2.ListCommitSetRequest()):
            sources = {
                (source.repo.project.name, source.repo.name, source.id)
                for info in commit_set.commits
                for source in info.direct_provenance
            }
            if wanted <= sources:
                found.add(commit_set.commit_set.id)
        return found

    def list_sets(self, request: Any) -> Iterator[Any]:
        if request.number < 0:
            raise invalid("number must be non-negative")
        for key in self._engine.state.pipeline_keys():
            catch_up(self._engine, key)
        projects = {project.name for project in request.projects}
        seen: set[str] = set()
        left = request.number or -1
        for info in self._engine.state.jobs(newest_first=not request.reverse):
            if left == 0:
                return
            if info.job.id in seen or not _after_marker(info, request):
                continue
            seen.add(info.job.id)
            members = [
                self._detailed(member) if request.details else member
                for member in self._engine.state.jobs_of_set(info.job.id)
                if not projects or member.job.pipeline.project.name in projects
            ]
            if members:
                left -= 1
                yield pps_pb2.JobSetInfo(job_set=pps_pb2.JobSet(id=info.job.id), jobs=members)

    def inspect_set(self, request: Any, active: Active) -> Iterator[Any]:
        set_id = request.job_set.id
        try:
            call = pfs_pb2.InspectCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=set_id), wait=request.wait)
            for commit_info in self._engine.pfs.stub.InspectCommitSet(call):
                repo = commit_info.commit.repo
                key = Key(repo.project.name, repo.name)
                if repo.type != "user" or self._engine.state.pipeline(key) is None:
                    continue
                catch_up(self._engine, key)
                info = self._engine.state.job(key, set_id)
                if info is not None:
                    yield self._once_told(info, request, active)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
            for info in self._engine.state.jobs_of_set(set_id):
                yield self._once_told(info, request, active)

    def _once_told(self, info: Any, request: Any, active: Active) -> Any:
        ask = pps_pb2.InspectJobRequest(job=info.job, wait=request.wait, details=request.details)
        return self.inspect(ask, active)

    def subscribe(self, request: Any, active: Active) -> Iterator[Any]:
        """Every unfinished job, once, as they come."""
        if not request.pipeline.name:
            raise invalid("pipeline must be specified")
        key = key_of(request.pipeline)
        seen: set[str] = set()

        def fresh() -> list[Any]:
            return [job for job in self._engine.state.unfinished_jobs(key) if job.job.id not in seen]

        while active():
            for info in fresh():
                seen.add(info.job.id)
                yield self._detailed(info) if request.details else info
            self._engine.state.wait(lambda: bool(fresh()), _POLL_SECONDS)

    def stop(self, job: Any, reason: str) -> None:
        key = key_of(job.pipeline)
        info = self._get(key, job.id)
        self._engine.stop_of(key, job.id).set()
        finish(self._engine, info, pps_pb2.JOB_KILLED, reason or "job stopped")

    def delete(self, job: Any) -> None:
        self.stop(job, "job deleted")
        self._engine.state.delete_job(key_of(job.pipeline), job.id)


def _after_marker(info: Any, request: Any) -> bool:
    if not request.HasField("paginationMarker"):
        return True
    created, marker = info.created.ToNanoseconds(), request.paginationMarker.ToNanoseconds()
    return bool(created > marker if request.reverse else created < marker)

"""Pipelines and their jobs: creating from a spec, ticking a cron, waiting for a job."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import json_format
from python_pachyderm.proto.v2.enterprise import enterprise_pb2
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from pachvault.errors import PachydermError, SourceGoneError, UnsupportedError, UsageError
from pachvault.pach import codec
from pachvault.pach.connection import Connection, explained, status_of

MAX_PIPELINES = 16
MAX_PARALLELISM = 8
"""What Pachyderm allows without a licence: pipelines of different names, and workers of one."""


@dataclass(frozen=True, slots=True)
class Job:
    """A finished job."""

    pipeline: str
    id: str
    is_success: bool
    reason: str


_SPEC_QUOTED = re.compile(
    r"could not make effective spec: could not parse .* as Create Pipeline Request message: (?:proto:\s*)?",
    re.DOTALL,
)
"""How pachd begins its complaint about a spec: with all of the spec."""


class Pipelines:
    """The pipelines of one cluster. Methods raise PachydermError with one clear line."""

    def __init__(self, connection: Connection) -> None:
        self._pps = connection.pps
        self._pfs = connection.pfs
        self._create_v2 = connection.raw_call("pps_v2.API/CreatePipelineV2")
        self._enterprise = connection.enterprise

    def is_licensed(self) -> bool:
        """Whether an enterprise licence is active, or there are none (2.12): there are no limits then."""
        try:
            with explained("the cluster's licence"):
                state = self._enterprise.GetState(enterprise_pb2.GetStateRequest()).state
        except UnsupportedError:
            return True
        return bool(state == enterprise_pb2.State.ACTIVE)

    def create(self, spec: str, where: str) -> str:
        """Create a pipeline from a JSON spec, strictly; its name. UsageError for a bad spec."""
        name = _name_in(spec, where)
        self._put(spec, where, name.name, update=False)
        return str(name.name)

    def update(self, spec: str, where: str) -> None:
        """Change a pipeline to another spec; its data is not processed again. UsageError for a bad spec."""
        self._put(spec, where, _name_in(spec, where).name, update=True)

    def check(self, spec: str, where: str) -> None:
        """Raise UsageError where the server cannot read a JSON spec; nothing is created.

        Its project must exist. Before Pachyderm 2.8 the spec is parsed here, without the server.
        """
        self._put(spec, where, _name_in(spec, where).name, dry_run=True)

    def _put(self, spec: str, where: str, name: str, *, update: bool = False, dry_run: bool = False) -> None:
        """By the call that takes the JSON itself, and so with every field that the server supports."""
        request = codec.field(1, spec) + codec.flag(2, value=dry_run) + codec.flag(3, value=update)
        try:
            with explained(f"pipeline {name}"):
                self._create_v2(request)
        except UnsupportedError:  # before Pachyderm 2.8
            message = _request(spec, where)
            if dry_run:
                return
            message.update = update
            with explained(f"pipeline {name}"):
                self._pps.CreatePipeline(message)
        except PachydermError as error:
            if status_of(error) == grpc.StatusCode.INVALID_ARGUMENT:
                # all that the server said: the reason comes after the spec, and is cut off in `what`
                answer = error.__cause__
                details = answer.details() if isinstance(answer, grpc.RpcError) else error.what
                reason = _SPEC_QUOTED.sub("not a pipeline spec: ", " ".join((details or error.what).split()))
                raise UsageError(reason[:400], where=where) from error
            raise

    def exists(self, project: str, name: str) -> bool:
        """Whether the cluster has a pipeline."""
        return self.spec_of(project, name) is not None

    def is_stopped(self, project: str, name: str) -> bool | None:
        """Whether a pipeline is stopped; None where there is none."""
        request = pps_pb2.InspectPipelineRequest(pipeline=_pipeline(project, name), details=True)
        try:
            with explained(f"pipeline {project}/{name}"):
                return bool(self._pps.InspectPipeline(request).stopped)
        except SourceGoneError:
            return None

    def delete(self, project: str, name: str) -> bool:
        """Delete a pipeline with its output; whether there was one."""
        if not self.exists(project, name):
            return False
        with explained(f"pipeline {project}/{name}"):
            self._pps.DeletePipeline(pps_pb2.DeletePipelineRequest(pipeline=_pipeline(project, name)))
        return True

    def spec_of(self, project: str, name: str) -> str | None:
        """A pipeline's spec as its user wrote it, empty before Pachyderm 2.8; None where there is none."""
        request = pps_pb2.InspectPipelineRequest(pipeline=_pipeline(project, name), details=True)
        try:
            with explained(f"pipeline {project}/{name}"):
                # field 13: details_json in python-pachyderm, user_spec_json since Pachyderm 2.8
                return str(self._pps.InspectPipeline(request).details_json)
        except SourceGoneError:
            return None

    def stop(self, project: str, name: str) -> None:
        """Stop a pipeline."""
        with explained(f"pipeline {project}/{name}"):
            self._pps.StopPipeline(pps_pb2.StopPipelineRequest(pipeline=_pipeline(project, name)))

    def tick(self, project: str, pipeline: str, cron_input: str) -> str:
        """Tick a pipeline's cron input now; the id of the job set that the tick starts."""
        name = _pipeline(project, pipeline)
        with explained(f"pipeline {project}/{pipeline}"):
            self._pps.RunCron(pps_pb2.RunCronRequest(pipeline=name))
            repo = pfs_pb2.Repo(
                name=f"{pipeline}_{cron_input}", type="user", project=pfs_pb2.Project(name=project)
            )
            branch = pfs_pb2.Branch(repo=repo, name="master")
            return str(self._pfs.InspectBranch(pfs_pb2.InspectBranchRequest(branch=branch)).head.id)

    def wait(self, project: str, pipeline: str, job_id: str) -> Job:
        """Wait for a job to end."""
        job = pps_pb2.Job(pipeline=_pipeline(project, pipeline), id=job_id)
        with explained(f"job {project}/{pipeline}@{job_id}"):
            info = self._pps.InspectJob(pps_pb2.InspectJobRequest(job=job, wait=True))
        state = pps_pb2.JobState.Name(info.state)
        return Job(pipeline, job_id, state == "JOB_SUCCESS", info.reason or state)

    def require(self, job: Job) -> None:
        """PachydermError unless the job succeeded."""
        if not job.is_success:
            raise PachydermError(f"the job failed: {job.reason}", where=f"{job.pipeline}@{job.id}")


def is_same(spec: str, other: str) -> bool:
    """Whether two JSON specs make the same pipeline."""
    try:
        one, two = _request(spec, ""), _request(other, "")
    except UsageError:  # of a newer Pachyderm: compared as they are written
        return bool(json.loads(spec) == json.loads(other))
    one.ClearField("update")
    two.ClearField("update")
    return bool(one == two)


def _name_in(spec: str, where: str) -> Any:
    """The pipeline that a spec names; UsageError for a bad spec."""
    try:
        fields = json.loads(spec)
        return json_format.ParseDict(fields["pipeline"], pps_pb2.Pipeline())
    except (ValueError, KeyError, TypeError, json_format.ParseError) as error:
        raise UsageError(f"not a pipeline spec: it has no pipeline.name: {error}", where=where) from error


def _request(spec: str, where: str) -> Any:
    try:
        return json_format.ParseDict(json.loads(spec), pps_pb2.CreatePipelineRequest())
    except (ValueError, json_format.ParseError) as error:
        raise UsageError(f"not a pipeline spec: {' '.join(str(error).split())}", where=where) from error


def _pipeline(project: str, name: str) -> Any:
    return pps_pb2.Pipeline(project=pfs_pb2.Project(name=project), name=name)

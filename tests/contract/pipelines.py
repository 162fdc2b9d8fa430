"""Making pipelines as `pachctl` does, and following their jobs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import json_format
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from .pach import Commit, Message, Pach, add
from .projects import Project

Spec = dict[str, Any]


def shell(project: Project, name: str, given: Spec, *script: str, **more: Any) -> Spec:
    """A pipeline's spec whose user code is a shell script."""
    return {
        "pipeline": {"project": {"name": project.name}, "name": name},
        "input": given,
        "transform": {"cmd": ["sh", "-e"], "stdin": list(script), **more.pop("transform", {})},
        **more,
    }


def pfs(project: Project, repo: str, glob: str, **more: Any) -> Spec:
    return {"pfs": {"project": project.name, "repo": repo, "glob": glob, **more}}


def create(pach: Pach, spec: Spec, *, update: bool = False, reprocess: bool = False) -> str:
    """CreatePipelineV2, which takes the JSON itself; python-pachyderm has no message for it.

    Before 2.8 there is only CreatePipeline; it answers no effective spec.
    """
    call = pach.channel.unary_unary(
        "/pps_v2.API/CreatePipelineV2", request_serializer=_v2_request, response_deserializer=bytes
    )
    try:
        return _first_string(call((json.dumps(spec), update, reprocess)))
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNIMPLEMENTED:
            raise
    request = json_format.ParseDict(spec, pps_pb2.CreatePipelineRequest())
    request.update, request.reprocess = update, reprocess
    pach.pps.CreatePipeline(request)
    return ""


def inspect(pach: Pach, project: Project, name: str, *, details: bool = True) -> Message:
    return pach.pps.InspectPipeline(
        pps_pb2.InspectPipelineRequest(pipeline=project.pipeline(name), details=details)
    )


def jobs(pach: Pach, project: Project, name: str) -> list[Message]:
    """The pipeline's jobs, newest first."""
    return list(pach.pps.ListJob(pps_pb2.ListJobRequest(pipeline=project.pipeline(name))))


def ended(pach: Pach, project: Project, name: str, job: str) -> Message:
    """The job, when it has ended."""
    asked = pps_pb2.Job(pipeline=project.pipeline(name), id=job)
    return pach.pps.InspectJob(pps_pb2.InspectJobRequest(job=asked, wait=True, details=True))


def told(job: Message) -> Spec:
    return {
        "state": pps_pb2.JobState.Name(job.state),
        "total": job.data_total,
        "processed": job.data_processed,
        "skipped": job.data_skipped,
        "failed": job.data_failed,
    }


def output(project: Project, name: str, job: str) -> Commit:
    """A job's output commit has the job's id."""
    return pfs_pb2.Commit(repo=project.named(name), id=job)


def eventually(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def worker_python(pach: Pach) -> str:
    """A Python in the workers' file system that can speak to the sidecar; "" where there is none.

    It is CONTRACT_WORKER_PYTHON, the tests' own, or the worker's `python3`, whichever can import gRPC and
    python-pachyderm. One job finds out.
    """
    candidates = [os.environ.get("CONTRACT_WORKER_PYTHON", ""), sys.executable, "python3"]
    project = Project.create(pach)
    try:
        repo = project.repo("data")
        search = [
            f"{_can_speak(python)} && echo {python} > /pfs/out/python" for python in candidates if python
        ]
        script = " || ".join(f"{{ {command}; }}" for command in [*search, "touch /pfs/out/python"])
        create(pach, shell(project, "probe", pfs(project, "data", "/"), script))
        job = pach.commit(repo, add("/file", b"x")).id
        ended(pach, project, "probe", job)
        return pach.read(output(project, "probe", job), "/python").decode().strip()
    finally:
        project.delete()


def _can_speak(python: str) -> str:
    return f"{python} -W ignore -c 'import grpc, python_pachyderm' 2> /dev/null"


def _v2_request(asked: tuple[str, bool, bool]) -> bytes:
    text, update, reprocess = asked
    body = text.encode()
    return b"\x0a" + _varint(len(body)) + body + b"\x18\x01" * update + b"\x20\x01" * reprocess


def _first_string(answer: bytes) -> str:
    """Field 1 of an answer that has no other."""
    if not answer:
        return ""
    at = 1
    while answer[at] & 0x80:
        at += 1
    return answer[at + 1 :].decode()


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)

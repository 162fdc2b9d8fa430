"""Making pipelines as `pachctl` does, and following their jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from .pach import Commit, Message, Pach
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
    """CreatePipelineV2, which takes the JSON itself; python-pachyderm has no message for it."""
    call = pach.channel.unary_unary(
        "/pps_v2.API/CreatePipelineV2", request_serializer=_v2_request, response_deserializer=bytes
    )
    return _first_string(call((json.dumps(spec), update, reprocess)))


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

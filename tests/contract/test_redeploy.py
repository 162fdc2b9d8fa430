"""What deploying again rests on: a pipeline tells what it was made from, and so is known to be the same."""

from __future__ import annotations

import pytest
from google.protobuf import json_format
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from .pach import Message, Pach, put
from .pipelines import create, ended, inspect, jobs, pfs, shell, told
from .projects import Project
from .recording import Recording


def _request(project: Project, description: str = "") -> Message:
    """With as much of a spec as the shipped ones have."""
    given = {
        "cross": [
            {"cron": {"name": "tick", "spec": "0 0 1 1 *", "overwrite": True}},
            pfs(project, "data", "/(*)", branch="master", name="data"),
        ]
    }
    spec = shell(project, "line", given, "true", description=description, transform={"image": "worker"})
    spec |= {
        "parallelism_spec": {"constant": 1},
        "datum_set_spec": {"number": 1},
        "resource_requests": {"cpu": 0.5, "memory": "512Mi", "disk": "1Gi"},
        "datum_tries": 2,
        "job_timeout": "3600s",
    }
    return json_format.ParseDict(spec, pps_pb2.CreatePipelineRequest())


def _told(pach: Pach, project: Project) -> Message:
    spec = json_format.Parse(inspect(pach, project, "line").details_json, pps_pb2.CreatePipelineRequest())
    spec.ClearField("update")
    return spec


@pytest.mark.since("2.8", "CreatePipelineV2, which keeps a spec as it was written")
def test_a_pipeline_tells_what_it_was_made_from(pach: Pach, project: Project, repo: Message) -> None:
    """And after an update, what it was updated to."""
    first = _request(project)
    pach.pps.CreatePipeline(first)
    assert _told(pach, project) == first
    second = _request(project, "another")
    assert second != first
    second.update = True
    pach.pps.CreatePipeline(second)
    second.ClearField("update")
    assert _told(pach, project) == second
    assert inspect(pach, project, "line").version == 2


@pytest.mark.since("2.8", "CreatePipelineV2, which keeps a spec as it was written")
def test_an_update_of_a_stopped_pipeline(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    pach.pps.CreatePipeline(_request(project))
    pach.pps.StopPipeline(pps_pb2.StopPipelineRequest(pipeline=project.pipeline("line")))
    assert _told(pach, project) == _request(project)
    changed = _request(project, "another")
    changed.update = True
    pach.pps.CreatePipeline(changed)
    info = inspect(pach, project, "line")
    assert info.details.description == "another"
    recorded({"stopped": info.stopped, "version": info.version})


def test_updates_downstream_first_kill_no_job(pach: Pach, project: Project, repo: Message) -> None:
    """An update starts jobs in all pipelines downstream, and kills unfinished ones of its own pipeline."""
    chain = {"one": "data", "two": "one", "three": "two"}

    def make(name: str, *, update: bool) -> None:
        given = pfs(project, chain[name], "/", name="data")
        # reprocessed: a job that takes a while is still there when the next update comes
        script = "sleep 1" if update else "true"
        create(pach, shell(project, name, given, script), update=update, reprocess=update)

    pach.commit(repo, *put("/a", b"1"))
    for name in chain:
        make(name, update=False)
    for name in chain:
        for job in jobs(pach, project, name):
            ended(pach, project, name, job.job.id)
    for name in reversed(chain):
        make(name, update=True)
    states = {
        told(ended(pach, project, name, commit.commit.id))["state"]
        for name in chain
        # each commit has its job; ListJob has those of the pipeline's newest version
        for commit in pach.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=project.named(name), all=True))
    }
    assert states == {"JOB_SUCCESS"}

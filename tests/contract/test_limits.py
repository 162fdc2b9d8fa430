"""What limits a pipeline: the time of a datum and of a job, the pods that it keeps, what a pod may do."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format
from python_pachyderm.proto.v2.pps import pps_pb2

from pachvault.bundled_files import ALL_STAGES
from pachvault.bundled_files import spec as text_of

from .pach import Message, Pach, add
from .pipelines import create, ended, eventually, inspect, pfs, shell, told
from .projects import Project
from .recording import refusal

_KEPT = (
    *("resource_requests", "resource_limits", "sidecar_resource_requests", "pod_patch", "autoscaling"),
    *("datum_timeout", "job_timeout", "datum_tries", "description"),
)


def test_a_datum_that_takes_too_long_fails_and_each_try_has_the_whole_time(
    pach: Pach, project: Project, repo: Message
) -> None:
    given = pfs(project, "data", "/*")
    create(pach, shell(project, "timed", given, "sleep 600", datum_timeout="2s", datum_tries=2))
    commit = pach.commit(repo, add("/file", b"any"))
    job = ended(pach, project, "timed", commit.id)
    assert pps_pb2.JobState.Name(job.state) == "JOB_FAILURE"
    assert job.data_failed == 1
    took = job.finished.ToMilliseconds() - job.started.ToMilliseconds()
    assert took >= 4000, "two tries of two seconds"


def test_a_job_that_takes_too_long_is_killed(pach: Pach, project: Project, repo: Message) -> None:
    create(pach, shell(project, "timed", pfs(project, "data", "/*"), "sleep 600", job_timeout="3s"))
    commit = pach.commit(repo, add("/file", b"any"))
    job = ended(pach, project, "timed", commit.id)
    assert pps_pb2.JobState.Name(job.state) == "JOB_KILLED"
    assert "timed" in job.reason


def test_a_pipeline_that_scales_by_itself_stands_by_between_its_jobs(
    pach: Pach, project: Project, repo: Message
) -> None:
    given = pfs(project, "data", "/*")
    create(pach, shell(project, "sparing", given, "cp /pfs/data/* /pfs/out", autoscaling=True))

    def stands_by() -> bool:
        return bool(inspect(pach, project, "sparing").state == pps_pb2.PIPELINE_STANDBY)

    eventually(stands_by, seconds=180)
    commit = pach.commit(repo, add("/file", b"any"))
    assert told(ended(pach, project, "sparing", commit.id))["state"] == "JOB_SUCCESS"
    eventually(stands_by, seconds=180)


@pytest.mark.parametrize("field", ["pod_patch", "pod_spec"])
def test_what_is_patched_into_a_pod_must_be_json(
    pach: Pach, project: Project, repo: Message, field: str
) -> None:
    spec = shell(project, "patched", pfs(project, "data", "/*"), "true")
    assert refusal(create, pach, {**spec, field: "[{"}) != "OK"
    assert refusal(create, pach, {**spec, field: '[{"op": "test", "path": "/containers/0/name"}]'}) == "OK"


def test_the_shipped_specs_make_pipelines_one_after_the_other(pach: Pach, project: Project) -> None:
    """In their order, with nothing but the two repos before them."""
    for repo in ("policy", "requests"):
        project.repo(repo)
    for name in ALL_STAGES:
        spec = json.loads(text_of(name))
        spec["pipeline"]["project"]["name"] = project.name
        create(pach, spec)
        info = inspect(pach, project, name)
        wanted = json_format.ParseDict(spec, pps_pb2.CreatePipelineRequest())
        for field in _KEPT:
            assert getattr(info.details, field) == getattr(wanted, field), f"{name}: {field}"

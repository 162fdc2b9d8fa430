"""A pipeline's life: made, told, updated, stopped, deleted, made again. No job is waited for here."""

from __future__ import annotations

import json

import pytest
from python_pachyderm import Client
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from .pach import Message, Pach, add
from .pipelines import create, inspect, pfs, shell
from .projects import Project
from .recording import Recording, refusal


def _repos(pach: Pach, project: Project) -> list[list[str]]:
    listed = pach.pfs.ListRepo(pfs_pb2.ListRepoRequest(projects=[project.message]))
    return sorted([info.repo.name, info.repo.type] for info in listed)


def _branches(pach: Pach, repo: Message) -> list[dict[str, object]]:
    return [
        {
            "branch": info.branch.name,
            "direct provenance": sorted(
                f"{b.repo.name}.{b.repo.type}@{b.name}" for b in info.direct_provenance
            ),
            "provenance": sorted(f"{b.repo.name}.{b.repo.type}@{b.name}" for b in info.provenance),
            "subvenance": sorted(f"{b.repo.name}.{b.repo.type}@{b.name}" for b in info.subvenance),
        }
        for info in pach.pfs.ListBranch(pfs_pb2.ListBranchRequest(repo=repo))
    ]


def test_what_a_pipeline_makes(pach: Pach, project: Project, repo: Message, recorded: Recording) -> None:
    given = {
        "cross": [
            {"cron": {"name": "tick", "spec": "0 0 1 1 *", "overwrite": True}},
            pfs(project, "data", "/"),
        ]
    }
    create(pach, shell(project, "line", given, "true"))
    repos = _repos(pach, project)
    assert repos == [
        ["data", "user"],
        ["line", "meta"],
        ["line", "spec"],
        ["line", "user"],
        ["line_tick", "user"],
    ]
    branches = {name: _branches(pach, project.named(name)) for name in ("data", "line_tick", "line")}
    assert branches["line"][0]["direct provenance"] == [
        "data.user@master",
        "line.spec@master",
        "line_tick.user@master",
    ]
    assert branches["data"][0]["branch"] == "master", "the input's branch is made, if need be"
    recorded({"repos": repos, "branches": branches})


@pytest.mark.since("2.8", "CreatePipelineV2, which keeps a spec as it was written")
def test_what_a_pipeline_tells(pach: Pach, project: Project, repo: Message, recorded: Recording) -> None:
    spec = shell(
        project,
        "line",
        pfs(project, "data", "/*"),
        "true",
        parallelism_spec={"constant": "2"},
        datum_tries="2",
        description="what it does",
        datum_set_spec={"number": "1"},
    )
    effective = json.loads(create(pach, spec))
    info = inspect(pach, project, "line")
    fields = {
        "version": info.version,
        "stopped": info.stopped,
        "type": pps_pb2.PipelineInfo.PipelineType.Name(info.type),
        "parallelism": info.parallelism,
        "auth token": info.auth_token,
        "description": info.details.description,
        "tries": info.details.datum_tries,
        "set": info.details.datum_set_spec.number,
        "cmd": list(info.details.transform.cmd),
        "stdin": list(info.details.transform.stdin),
        "input": [
            info.details.input.pfs.repo,
            info.details.input.pfs.branch,
            info.details.input.pfs.name,
            info.details.input.pfs.glob,
            info.details.input.pfs.project,
            info.details.input.pfs.repo_type,
        ],
        "output branch": info.details.output_branch,
        "made": info.details.created_at.seconds > 0,
        "salted": bool(info.details.salt),
        "as the user wrote it": json.loads(info.details_json) == spec,
    }
    assert fields["as the user wrote it"]
    assert (fields["version"], fields["stopped"], fields["auth token"]) == (1, False, "")
    assert effective["pipeline"]["name"] == "line"
    without = inspect(pach, project, "line", details=False)
    assert not without.HasField("details")
    listed = [
        pipeline.pipeline.name
        for pipeline in pach.pps.ListPipeline(
            pps_pb2.ListPipelineRequest(projects=[project.message], details=True)
        )
    ]
    assert listed == ["line"]
    recorded(fields)


def test_python_pachyderms_own_create(
    client: Client, pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    client.create_pipeline(
        "line",
        project_name=project.name,
        transform=pps_pb2.Transform(cmd=["sh"], stdin=["true"]),
        input=pps_pb2.Input(pfs=pps_pb2.PFSInput(project=project.name, repo="data", glob="/*")),
    )
    info = inspect(pach, project, "line")
    assert info.version == 1
    recorded(
        {
            "user spec": bool(info.details_json),
            "input": [info.details.input.pfs.name, info.details.input.pfs.branch],
        }
    )


def test_an_update_is_a_new_version(pach: Pach, project: Project, repo: Message, recorded: Recording) -> None:
    spec = shell(project, "line", pfs(project, "data", "/*"), "true")
    create(pach, spec)
    again = refusal(create, pach, spec)
    assert again == "ALREADY_EXISTS: already exists"
    created = inspect(pach, project, "line").details.created_at.ToNanoseconds()
    create(pach, {**spec, "description": "new"}, update=True)
    info = inspect(pach, project, "line")
    assert (info.version, info.details.description) == (2, "new")
    recorded({"again": again, "made at the same time": info.details.created_at.ToNanoseconds() == created})


def test_stopping_and_starting(pach: Pach, project: Project, repo: Message, recorded: Recording) -> None:
    create(pach, shell(project, "line", pfs(project, "data", "/*"), "true"))
    pach.pps.StopPipeline(pps_pb2.StopPipelineRequest(pipeline=project.pipeline("line")))
    assert inspect(pach, project, "line").stopped
    before = pach.head(project.named("line"))
    commit = pach.commit(repo, add("/a", b"1"))
    after = pach.head(project.named("line"))
    assert after == before, "a stopped pipeline follows no input"
    stopped = _branches(pach, project.named("line"))
    pach.pps.StartPipeline(pps_pb2.StartPipelineRequest(pipeline=project.pipeline("line")))
    assert not inspect(pach, project, "line").stopped
    head = pach.head(project.named("line"))
    assert head != before
    assert stopped[0]["direct provenance"] == []
    recorded({"while stopped": stopped, "of the input's commit set": head == commit.id})


def test_deleting_takes_the_output_along(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    given = {"cross": [{"cron": {"name": "tick", "spec": "0 0 1 1 *"}}, pfs(project, "data", "/")]}
    spec = shell(project, "line", given, "true")
    create(pach, spec)
    pach.pps.DeletePipeline(pps_pb2.DeletePipelineRequest(pipeline=project.pipeline("line")))
    left = _repos(pach, project)
    unknown = refusal(inspect, pach, project, "line")
    assert unknown.startswith("NOT_FOUND")
    create(pach, spec)
    assert inspect(pach, project, "line").version == 1
    recorded({"left": left, "unknown": unknown})


def test_an_output_may_outlive_its_pipeline(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    spec = shell(project, "line", pfs(project, "data", "/*"), "true")
    create(pach, spec)
    pach.pps.DeletePipeline(pps_pb2.DeletePipelineRequest(pipeline=project.pipeline("line"), keep_repo=True))
    recorded({"left": _repos(pach, project), "made again": refusal(create, pach, spec)})
    assert ["line", "user"] in _repos(pach, project)


def test_what_a_pipeline_holds_cannot_be_deleted(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    create(pach, shell(project, "line", pfs(project, "data", "/*"), "true"))
    answers = {
        "its input": refusal(pach.pfs.DeleteRepo, pfs_pb2.DeleteRepoRequest(repo=repo)),
        "its output": refusal(pach.pfs.DeleteRepo, pfs_pb2.DeleteRepoRequest(repo=project.named("line"))),
        "its input's branch": refusal(
            pach.pfs.DeleteBranch, pfs_pb2.DeleteBranchRequest(branch=project.branch("data"))
        ),
    }
    assert "OK" not in answers.values()
    recorded(answers)


def test_unknown_pipelines(pach: Pach, project: Project, recorded: Recording) -> None:
    unknown = project.pipeline("no")
    answers = {
        "inspect": refusal(inspect, pach, project, "no"),
        "delete": refusal(pach.pps.DeletePipeline, pps_pb2.DeletePipelineRequest(pipeline=unknown)),
        "stop": refusal(pach.pps.StopPipeline, pps_pb2.StopPipelineRequest(pipeline=unknown)),
        "run cron": refusal(pach.pps.RunCron, pps_pb2.RunCronRequest(pipeline=unknown)),
        "job": refusal(
            pach.pps.InspectJob,
            pps_pb2.InspectJobRequest(job=pps_pb2.Job(pipeline=unknown, id="0123456789abcdef" * 2)),
        ),
        "jobs": refusal(pach.pps.ListJob, pps_pb2.ListJobRequest(pipeline=unknown)),
    }
    assert answers["inspect"].startswith("NOT_FOUND")
    recorded(answers)

"""Pipelines on a running server: what they make, what is refused, how they change, stop and go."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from pps_cluster import Project, new_project, running_server
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm.pps.service import pps_messages


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture
def project(address: str) -> Iterator[Project]:
    with new_project(address) as created:
        yield created


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def test_a_pipeline_makes_its_repos_and_follows_its_inputs_and_its_spec(project: Project) -> None:
    tree = pps_pb2.Input(cross=[project.cron("tick", "@never"), project.input("data")])
    project.create("plan", tree)
    repos = {("plan", "user"), ("plan", "spec"), ("plan", "meta"), ("plan_tick", "user")}
    assert project.repos() == repos | {("data", "user")}
    for kind in ("user", "meta"):
        branch = pfs_pb2.Branch(repo=project.repo("plan", kind), name="master")
        info = project.pfs.InspectBranch(pfs_pb2.InspectBranchRequest(branch=branch))
        sources = {(source.repo.name, source.repo.type) for source in info.direct_provenance}
        assert sources == {("plan_tick", "user"), ("data", "user"), ("plan", "spec")}


def test_spec_output_and_meta_commits_are_of_one_set(project: Project) -> None:
    project.create("copy", project.input("data"))
    info = project.pps.InspectPipeline(pps_pb2.InspectPipelineRequest(pipeline=project.pipeline("copy")))
    request = pfs_pb2.InspectCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=info.spec_commit.id))
    repos = {
        (commit.commit.repo.name, commit.commit.repo.type) for commit in project.pfs.InspectCommitSet(request)
    }
    assert repos >= {("copy", "spec"), ("copy", "user"), ("copy", "meta")}


def test_inspect_gives_defaults_and_the_users_own_words(project: Project) -> None:
    project.create("copy", project.input("data"), description="what it does")
    request = pps_pb2.InspectPipelineRequest(pipeline=project.pipeline("copy"), details=True)
    info = project.pps.InspectPipeline(request)
    assert (info.version, info.stopped, info.state) == (1, False, pps_pb2.PIPELINE_RUNNING)
    assert info.details.datum_tries == 3
    assert info.details.output_branch == "master"
    assert info.details.reprocess_spec == "until_success"
    assert info.details.input.pfs.branch == "master"
    assert info.details.input.pfs.name == "data"
    assert json.loads(info.details_json)["description"] == "what it does"
    plain = project.pps.InspectPipeline(pps_pb2.InspectPipelineRequest(pipeline=project.pipeline("copy")))
    assert not plain.HasField("details")


def test_takes_the_json_that_pachctl_sends(project: Project) -> None:
    spec = {
        "pipeline": {"name": "copy", "project": {"name": project.name}},
        "transform": {"cmd": ["true"]},
        "input": {"pfs": {"repo": "data", "glob": "/*"}},
    }
    with grpc.insecure_channel(project.address.removeprefix("grpc://")) as channel:
        call = channel.unary_unary(
            "/pps_v2.API/CreatePipelineV2",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pps_messages.CreatePipelineV2Response.FromString,
        )
        answer = call(pps_messages.CreatePipelineV2Request(create_pipeline_request_json=json.dumps(spec)))
        assert json.loads(answer.effective_create_pipeline_request_json)["datumTries"] == "3"
        code, words = refusal(
            lambda: call(
                pps_messages.CreatePipelineV2Request(
                    create_pipeline_request_json=json.dumps(spec | {"glob": "/"})
                )
            )
        )
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert 'unknown field "glob"' in words
    request = pps_pb2.ListPipelineRequest(pipeline=project.pipeline("copy"))
    (info,) = project.pps.ListPipeline(request)
    assert json.loads(info.details_json) == spec


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("bad name", {}, "only alphanumeric characters, underscores, and dashes"),
        ("_x", {}, "must start with an alphanumeric character"),
        ("x" * 52, {}, "is 1 characters longer than the 51 max"),
        ("x" * 51, {}, "characters longer than the 63 max"),
        ("data", {}, "a repo with the same name already exists"),
        ("x", {"parallelism_spec": pps_pb2.ParallelismSpec(constant=9)}, "parallelism more than 8"),
        ("x", {"service": pps_pb2.Service(internal_port=1)}, "a pipeline with service is not served"),
        ("x", {"spout": pps_pb2.Spout()}, "a pipeline with spout is not served"),
        ("x", {"s3_out": True}, "a pipeline with s3_out is not served"),
        ("x", {"reprocess_spec": "never"}, "reprocess_spec must be"),
        ("x", {"reprocess_spec": "every_job"}, "reprocess_spec every_job is not served"),
        ("x", {"pod_patch": "[{"}, "malformed PodPatch"),
        ("x", {"pod_spec": "{"}, "malformed PodSpec"),
        ("x", {"datum_set_spec": pps_pb2.DatumSetSpec(per_worker=1)}, "per_worker is not served"),
        (
            "x",
            {"transform": pps_pb2.Transform(cmd=["x"], err_cmd=["y"])},
            "transform with err_cmd is not served",
        ),
        ("x", {"transform": pps_pb2.Transform(accept_return_code=[1])}, "accept_return_code is not served"),
        (
            "x",
            {
                "transform": pps_pb2.Transform(
                    cmd=["x"], secrets=[pps_pb2.SecretMount(name="none", mount_path="/x")]
                )
            },
            "missing Kubernetes secret none",
        ),
    ],
)
def test_refuses_a_pipeline_by_name(
    project: Project, name: str, fields: dict[str, object], words: str
) -> None:
    _, message = refusal(lambda: project.create(name, project.input("data"), **fields))
    assert words in message
    assert project.repos() == {("data", "user")}


@pytest.mark.parametrize(
    ("leaf", "words"),
    [
        (pps_pb2.Input(), "no input set"),
        (pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="none", glob="/")), "/none not found"),
        (pps_pb2.Input(pfs=pps_pb2.PFSInput(glob="/", name="x")), "input must specify a repo"),
        (pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="data")), "input must specify a glob"),
        (
            pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="data", glob="/", commit="x")),
            "input cannot come from a commit",
        ),
        (pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="data", glob="/", name="out")), "input cannot be named out"),
        (
            pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="data", glob="/", s3=True)),
            "a pfs input with s3 is not served",
        ),
        (pps_pb2.Input(cron=pps_pb2.CronInput(name="t", spec="x")), "error parsing cron-spec"),
        (pps_pb2.Input(cron=pps_pb2.CronInput(spec="@never")), "input must specify a name"),
        (
            pps_pb2.Input(
                cross=[
                    pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="data", glob="/")),
                    pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="data", glob="/*")),
                ]
            ),
            'name "data" was used more than once',
        ),
        (
            pps_pb2.Input(
                cross=[
                    pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="data", glob="/")),
                    pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="data", glob="/", name="b", branch="b")),
                ]
            ),
            "multiple branches from the same repo",
        ),
        (
            pps_pb2.Input(
                group=[pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="data", glob="/(*)", group_by="$1"))]
            ),
            "an input of kind group is not served",
        ),
        (
            pps_pb2.Input(union=[pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="data", glob="/*"))]),
            "an input of kind union is not served",
        ),
        (
            pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="data", glob="/", empty_files=True)),
            "a pfs input with empty_files is not served",
        ),
    ],
)
def test_refuses_an_input(project: Project, leaf: pps_pb2.Input, words: str) -> None:
    project.put("data", {"/a": b""})
    _, message = refusal(lambda: project.create("x", leaf))
    assert words in message
    assert project.repos() == {("data", "user")}


def test_community_edition_takes_sixteen_pipelines(project: Project) -> None:
    for number in range(16):
        project.create(f"p{number}", project.input("data"))
    _, message = refusal(lambda: project.create("p16", project.input("data")))
    assert "more than 16 total pipelines (you have 16)" in message
    project.create("p1", project.input("data"), update=True)


def test_an_update_keeps_skipping_until_told_to_reprocess(project: Project) -> None:
    project.create("copy", project.input("data"), "echo 1 > /pfs/out/version")
    project.wait("copy", project.put("data", {"/a": b""}))
    code, _ = refusal(lambda: project.create("copy", project.input("data")))
    assert code == grpc.StatusCode.ALREADY_EXISTS
    project.create("copy", project.input("data"), "echo 2 > /pfs/out/version", update=True)
    job = project.wait("copy")
    assert (job.pipeline_version, job.data_skipped) == (2, 1)
    assert project.files("copy") == {"/version": b"1\n"}
    project.create("copy", project.input("data"), "echo 3 > /pfs/out/version", update=True, reprocess=True)
    job = project.wait("copy")
    assert (job.pipeline_version, job.data_processed) == (3, 1)
    assert project.files("copy") == {"/version": b"3\n"}
    listed = project.pps.ListPipeline(pps_pb2.ListPipelineRequest(pipeline=project.pipeline("copy")))
    assert [info.version for info in listed] == [3]


def test_a_stopped_pipeline_has_no_jobs_until_it_is_started(project: Project) -> None:
    project.create("copy", project.input("data"), "cp /pfs/data/* /pfs/out/")
    project.wait("copy", project.put("data", {"/a": b""}))
    project.pps.StopPipeline(pps_pb2.StopPipelineRequest(pipeline=project.pipeline("copy")))
    info = project.pps.InspectPipeline(pps_pb2.InspectPipelineRequest(pipeline=project.pipeline("copy")))
    assert (info.stopped, info.state) == (True, pps_pb2.PIPELINE_PAUSED)
    before = len(project.jobs("copy"))
    project.put("data", {"/b": b""})
    assert len(project.jobs("copy")) == before
    project.pps.StartPipeline(pps_pb2.StartPipelineRequest(pipeline=project.pipeline("copy")))
    assert len(project.jobs("copy")) == before + 1
    project.wait("copy")
    assert set(project.files("copy")) == {"/a", "/b"}


def test_deleting_takes_all_repos_or_keeps_the_output(project: Project) -> None:
    project.create("gone", project.cron("tick", "@never"))
    project.create("kept", project.input("data"), "cp /pfs/data/* /pfs/out/")
    project.wait("kept", project.put("data", {"/a": b"1"}))
    project.delete("gone")
    project.delete("kept", keep_repo=True)
    assert project.repos() == {("data", "user"), ("kept", "user")}
    assert project.files("kept") == {"/a": b"1"}
    code, _ = refusal(
        lambda: project.pps.InspectPipeline(pps_pb2.InspectPipelineRequest(pipeline=project.pipeline("gone")))
    )
    assert code == grpc.StatusCode.NOT_FOUND
    project.delete("gone")


def test_a_pipeline_that_others_read_is_deleted_by_force_only(project: Project) -> None:
    project.create("one", project.input("data"))
    project.create("two", project.input("one"))
    _, message = refusal(lambda: project.delete("one"))
    assert "cannot be deleted" in message
    assert ("one", "user") in project.repos()
    project.delete("one", force=True)
    assert ("one", "user") not in project.repos()


def test_a_recreated_pipeline_starts_from_nothing(project: Project) -> None:
    project.put("data", {"/a": b""})
    project.create("copy", project.input("data"), "cp /pfs/data/* /pfs/out/")
    project.wait("copy")
    project.delete("copy")
    project.create("copy", project.input("data"), "cp /pfs/data/* /pfs/out/")
    assert len(project.jobs("copy")) == 1
    assert project.wait("copy").data_processed == 1


def test_secrets_are_made_mounted_and_deleted_but_never_shown(project: Project) -> None:
    name = f"secret-{project.name}"
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "data": {"key": base64.b64encode(b"hidden").decode()},
    }
    project.pps.CreateSecret(pps_pb2.CreateSecretRequest(file=json.dumps(document).encode()))
    listed = project.pps.ListSecret(pps_pb2.google_dot_protobuf_dot_empty__pb2.Empty())
    assert name in {info.secret.name for info in listed.secret_info}
    transform = pps_pb2.Transform(
        cmd=["sh", "-c", "echo $KEY > /pfs/out/key"],
        secrets=[pps_pb2.SecretMount(name=name, key="key", env_var="KEY")],
    )
    project.create("reveal", project.input("data"), transform=transform)
    project.wait("reveal", project.put("data", {"/a": b""}))
    assert project.files("reveal") == {"/key": b"hidden\n"}
    project.pps.DeleteSecret(pps_pb2.DeleteSecretRequest(secret=pps_pb2.Secret(name=name)))
    _, message = refusal(
        lambda: project.pps.InspectSecret(pps_pb2.InspectSecretRequest(secret=pps_pb2.Secret(name=name)))
    )
    assert "not found" in message


def test_cron_ticks_by_itself_and_on_demand(project: Project) -> None:
    project.create("plan", project.cron("tick", "@every 1s", overwrite=True), "ls /pfs/tick > /pfs/out/tick")
    deadline = time.monotonic() + 20
    while sum(job.data_processed for job in project.jobs("plan")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    project.pps.StopPipeline(pps_pb2.StopPipelineRequest(pipeline=project.pipeline("plan")))
    time.sleep(1.5)
    resting = project.files("plan_tick")
    assert len(resting) == 1
    project.pps.RunCron(pps_pb2.RunCronRequest(pipeline=project.pipeline("plan")))
    (tick,) = project.files("plan_tick")
    assert tick not in resting
    assert time.strptime(tick, "/%Y-%m-%dT%H:%M:%SZ")


def test_cron_without_overwrite_keeps_every_tick(project: Project) -> None:
    project.create("plan", project.cron("tick", "@never"))
    for _ in range(2):
        project.pps.RunCron(pps_pb2.RunCronRequest(pipeline=project.pipeline("plan")))
        time.sleep(1.1)
    assert len(project.files("plan_tick")) == 2


def test_run_cron_wants_a_cron_input(project: Project) -> None:
    project.create("copy", project.input("data"))
    _, message = refusal(
        lambda: project.pps.RunCron(pps_pb2.RunCronRequest(pipeline=project.pipeline("copy")))
    )
    assert message == "pipeline doesn't have a cron input"


def test_what_is_not_served_says_its_name(project: Project) -> None:
    code, message = refusal(lambda: project.pps.RunPipeline(pps_pb2.RunPipelineRequest()))
    assert code == grpc.StatusCode.UNIMPLEMENTED
    assert message == "pps_v2.API.RunPipeline is not served by the embedded Pachyderm"

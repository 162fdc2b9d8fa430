"""Jobs on a running server: what is worked on, what is skipped, what becomes of failures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from pps_cluster import Project, gone, new_project, running_server
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with running_server(folder) as running:
        yield running


@pytest.fixture
def faults(folder: Path) -> Iterator[Callable[..., None]]:
    """Lets calls fail from now on, until the test ends."""
    file = folder / "faults.json"
    yield lambda **rule: file.write_text(json.dumps([rule])) and None
    file.unlink(missing_ok=True)


@pytest.fixture
def project(address: str) -> Iterator[Project]:
    with new_project(address) as created:
        yield created


def test_a_commit_is_a_job_whose_output_has_its_id(project: Project) -> None:
    project.create("copy", project.input("data"), "cp /pfs/data/* /pfs/out/")
    commit_id = project.put("data", {"/a": b"1", "/b": b"2"})
    job = project.wait("copy", commit_id)
    assert job.state == pps_pb2.JOB_SUCCESS
    assert (job.data_total, job.data_processed, job.data_skipped) == (2, 2, 0)
    assert project.files("copy", commit_id) == {"/a": b"1", "/b": b"2"}
    assert job.details.input.pfs.commit == commit_id


def test_the_first_job_is_of_the_empty_commit_and_has_no_datum(project: Project) -> None:
    project.create("copy", project.input("data"), "cp /pfs/data/* /pfs/out/")
    job = project.wait("copy")
    assert (job.state, job.data_total) == (pps_pb2.JOB_SUCCESS, 0)
    assert project.files("copy") == {}


def test_unchanged_datums_are_skipped_and_vanished_ones_take_their_output_along(project: Project) -> None:
    project.create(
        "copy", project.input("data"), "cp /pfs/data/* /pfs/out/; date +%N > /pfs/out/at-$(ls /pfs/data)"
    )
    first = project.put("data", {"/a": b"1", "/b": b"2"})
    project.wait("copy", first)
    second = project.put("data", {"/b": b"3"}, delete=["/a", "/b"])
    before = project.files("copy", first)
    job = project.wait("copy", second)
    assert (job.data_total, job.data_processed, job.data_skipped) == (1, 1, 0)
    third = project.put("data", {"/c": b"4"})
    job = project.wait("copy", third)
    after = project.files("copy", third)
    assert (job.data_total, job.data_processed, job.data_skipped) == (2, 1, 1)
    assert set(after) == {"/b", "/at-b", "/c", "/at-c"}
    assert after["/b"] == b"3"
    assert after["/at-b"] != before["/at-b"]
    states = {datum.data[0].file.path: datum.state for datum in project.datums("copy", third)}
    assert states == {"/b": pps_pb2.SKIPPED, "/c": pps_pb2.SUCCESS}


def test_a_failing_datum_is_tried_again_then_fails_the_job_and_what_is_downstream(project: Project) -> None:
    project.create("check", project.input("data", "/"), "echo trying; test ! -e /pfs/data/bad", datum_tries=2)
    project.create("next", project.input("check", "/"))
    project.create("last", project.input("next", "/"))
    commit_id = project.put("data", {"/bad": b""})
    failed = project.wait("check", commit_id)
    assert failed.state == pps_pb2.JOB_FAILURE
    assert failed.data_failed == 1
    datum = project.datums("check", commit_id)[0].datum.id
    assert failed.reason == f"datum {datum} failed"
    assert project.user_log("check", commit_id) == ["trying", "trying"]
    for name, upstream in (("next", "check"), ("last", "next")):
        job = project.wait(name, commit_id)
        assert job.state == pps_pb2.JOB_UNRUNNABLE
        assert job.reason == f"unrunnable because the following upstream pipelines failed: {upstream}"
    output = project.pfs.InspectCommit(
        pfs_pb2.InspectCommitRequest(commit=project.commit("check", commit_id))
    )
    assert output.error == failed.reason
    repaired = project.put("data", {}, delete=["/bad"])
    assert project.wait("last", repaired).state == pps_pb2.JOB_SUCCESS


def test_two_datums_with_one_output_path_fail_the_job(project: Project) -> None:
    project.create("same", project.input("data"), "echo > /pfs/out/same")
    job = project.wait("same", project.put("data", {"/a": b"", "/b": b""}))
    assert job.state == pps_pb2.JOB_FAILURE
    assert "duplicate path output by different datums" in job.reason


def test_user_code_sees_a_workers_environment(project: Project) -> None:
    transform = pps_pb2.Transform(
        cmd=["sh", "-c", "env > /pfs/out/env; pwd > /pfs/out/folder"],
        env={"MINE": "yes"},
    )
    project.create("look", project.input("data", "/*", name="data"), transform=transform)
    commit_id = project.put("data", {"/a": b""})
    job = project.wait("look", commit_id)
    files = project.files("look", commit_id)
    seen = dict(line.split("=", 1) for line in files["/env"].decode().splitlines())
    port = project.address.rsplit(":", 1)[1]
    expected = {
        "MINE": "yes",
        "data": "/pfs/data/a",
        "data_COMMIT": commit_id,
        "PACH_JOB_ID": commit_id,
        "PACH_OUTPUT_COMMIT_ID": commit_id,
        "PACH_DATUM_ID": project.datums("look", job.job.id)[0].datum.id,
        "PPS_PROJECT_NAME": project.name,
        "PPS_PIPELINE_NAME": "look",
        "PPS_POD_NAME": f"{project.name}-look-v1-0",
        "PACHD_PEER_SERVICE_HOST": "127.0.0.1",
        "PACHD_PEER_SERVICE_PORT": port,
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert seen["PEER_PORT"].isdigit()
    assert seen["PEER_PORT"] != port
    assert files["/folder"] == b"/\n"


def test_workers_run_side_by_side_one_datum_each(project: Project) -> None:
    project.create(
        "slow",
        project.input("data"),
        "sleep 0.5; echo $PPS_POD_NAME > /pfs/out/$(ls /pfs/data)",
        parallelism_spec=pps_pb2.ParallelismSpec(constant=4),
        datum_set_spec=pps_pb2.DatumSetSpec(number=1),
    )
    commit_id = project.put("data", {f"/{number}": b"" for number in range(8)})
    began = time.monotonic()
    project.wait("slow", commit_id)
    assert time.monotonic() - began < 3
    assert len(set(project.files("slow", commit_id).values())) == 4


def test_a_chain_shaped_like_a_backup_seals_once_a_tick(project: Project) -> None:
    tick = project.cron("tick", "@never", overwrite=True)
    policy = project.input("data", "/", name="policy")
    project.create(
        "plan",
        pps_pb2.Input(cross=[tick, policy]),
        "mkdir /pfs/out/work; for i in 1 2 3; do ls /pfs/tick > /pfs/out/work/$i; done; date > /pfs/out/plan",
    )
    project.create(
        "ship",
        project.input("plan", "/work/*"),
        "cd /pfs/plan/work; for f in *; do cp $f /pfs/out/receipt-$f; done",
        parallelism_spec=pps_pb2.ParallelismSpec(constant=2),
        datum_set_spec=pps_pb2.DatumSetSpec(number=1),
    )
    project.create(
        "seal",
        pps_pb2.Input(cross=[project.input("plan", "/plan"), project.input("ship", "/")]),
        "ls /pfs/ship > /pfs/out/sealed",
    )
    project.put("data", {"/policy.yaml": b"x"})
    for _ in range(2):
        project.pps.RunCron(pps_pb2.RunCronRequest(pipeline=project.pipeline("plan")))
        job = project.wait("seal")
        assert (job.state, job.data_processed) == (pps_pb2.JOB_SUCCESS, 1)
        assert project.files("seal")["/sealed"] == b"receipt-1\nreceipt-2\nreceipt-3\n"
        time.sleep(1.1)  # a tick's name has whole seconds


def test_user_code_writes_another_repo_through_its_sidecar(project: Project) -> None:
    project.make_repo("mirror")
    script = (
        "import os, python_pachyderm as p\n"
        "client = p.Client(host='localhost', port=int(os.environ['PEER_PORT']))\n"
        f"commit = p.pfs.Commit(repo='mirror', branch='master', project='{project.name}')\n"
        "client.put_file_bytes(commit, '/x', b'1')\n"
    )
    transform = pps_pb2.Transform(cmd=["python3", "-W", "ignore", "-c", script])
    project.create("write", project.input("data"), transform=transform)
    commit_id = project.put("data", {"/a": b""})
    job = project.wait("write", commit_id)
    assert job.state == pps_pb2.JOB_SUCCESS, project.user_log("write", commit_id)
    assert project.files("mirror") == {"/x": b"1"}


def test_a_job_ends_at_its_timeout_with_its_processes(project: Project) -> None:
    limit = pps_pb2.CreatePipelineRequest().job_timeout
    limit.FromMilliseconds(300)
    project.create("slow", project.input("data"), "sleep 600 & sleep 600", datum_tries=1, job_timeout=limit)
    job = project.wait("slow", project.put("data", {"/a": b""}))
    assert (job.state, job.reason) == (pps_pb2.JOB_KILLED, "job timed out")
    follower = project.put("data", {}, delete=["/a"])
    assert project.wait("slow", follower).state == pps_pb2.JOB_SUCCESS


def test_jobs_of_the_newest_version_are_listed_newest_first_and_by_input(project: Project) -> None:
    project.create("copy", project.input("data"))
    ids = [project.put("data", {f"/{number}": b""}) for number in range(3)]
    for commit_id in ids:
        project.wait("copy", commit_id)
    assert [job.job.id for job in project.jobs("copy")][:3] == ids[::-1]
    by_input = project.jobs("copy", input_commit=[project.commit("data", ids[0])])
    assert [job.job.id for job in by_input] == [ids[0]]
    project.create("copy", project.input("data"), update=True)
    assert len(project.jobs("copy")) == 1


def test_options_that_listings_would_ignore_are_refused_by_name(project: Project) -> None:
    project.create("copy", project.input("data"))
    job = project.jobs("copy")[0].job
    for listing, option in (
        (lambda: project.jobs("copy", history=-1), "ListJob with history"),
        (lambda: project.datums("copy", job.id, number=2), "ListDatum with number"),
        (lambda: list(project.pps.GetLogs(pps_pb2.GetLogsRequest(job=job, tail=1))), "GetLogs with tail"),
        (lambda: list(project.pps.ListPipeline(pps_pb2.ListPipelineRequest(history=1))), "ListPipeline with"),
    ):
        with pytest.raises(grpc.RpcError, match=f"{option}.* is not served") as caught:
            listing()
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_input_that_arrives_short_is_fetched_again(project: Project, faults: Callable[..., None]) -> None:
    project.create("copy", project.input("data"), "cp /pfs/data/* /pfs/out/")
    project.wait("copy")
    faults(method="GetFileTAR", nth=1, end_early=True, cut_after_bytes=100)
    commit_id = project.put("data", {"/a": b"whole"})
    job = project.wait("copy", commit_id)
    assert (job.state, job.restart) == (pps_pb2.JOB_SUCCESS, 0)
    assert project.files("copy", commit_id) == {"/a": b"whole"}


@pytest.mark.parametrize("method", ["GlobFile", "GetFileTAR", "CreateFileSet", "AddFileSet", "InspectCommit"])
def test_a_job_starts_over_when_the_file_system_fails_it(
    project: Project, faults: Callable[..., None], method: str
) -> None:
    project.create("copy", project.input("data"), "cp /pfs/data/* /pfs/out/")
    project.wait("copy", project.put("data", {"/old": b"kept"}))
    project.pps.StopPipeline(pps_pb2.StopPipelineRequest(pipeline=project.pipeline("copy")))
    project.put("data", {"/a": b"1"})
    faults(method=method, nth=1, code="UNAVAILABLE")
    project.pps.StartPipeline(pps_pb2.StartPipelineRequest(pipeline=project.pipeline("copy")))
    job = project.wait("copy")
    assert (job.state, job.data_processed, job.data_skipped) == (pps_pb2.JOB_SUCCESS, 1, 1)
    assert job.restart == 1
    assert project.files("copy") == {"/old": b"kept", "/a": b"1"}


def test_deleting_a_pipeline_ends_its_running_job(project: Project, tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    project.create("slow", project.input("data"), f"echo $$ > {marker}; sleep 600")
    project.put("data", {"/a": b""})
    while not marker.exists() or not marker.read_text():
        time.sleep(0.02)
    project.delete("slow")
    deadline = time.monotonic() + 10
    while not gone(int(marker.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert project.repos() == {("data", "user")}


def test_a_pipelines_repo_is_not_deleted_without_it(project: Project) -> None:
    project.create("copy", project.input("data"))
    for kind in ("user", "spec", "meta"):
        with pytest.raises(grpc.RpcError, match="associated with a pipeline"):
            project.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=project.repo("copy", kind), force=True))


def test_a_join_by_request_runs_again_only_for_new_requests(project: Project) -> None:
    project.make_repo("fetched")
    left = project.input("data", "/(*)", join_on="$1", name="plan")
    right = project.input("fetched", "/(*)", join_on="$1", name="fetch")
    script = "echo $PACH_DATUM_plan_JOIN_ON; cat /pfs/plan/*/x /pfs/fetch/*/x > /pfs/out/$(ls /pfs/plan)"
    project.create("replay", pps_pb2.Input(join=[left, right]), script)
    project.put("data", {"/r1/x": b"p1", "/r2/x": b"p2"})
    first = project.put("fetched", {"/r1/x": b"f1"})
    assert project.wait("replay", first).data_processed == 1
    assert project.user_log("replay", first) == ["r1"]
    second = project.put("fetched", {"/r2/x": b"f2"})
    job = project.wait("replay", second)
    assert (job.data_processed, job.data_skipped) == (1, 1)
    assert project.files("replay") == {"/r1": b"p1f1", "/r2": b"p2f2"}

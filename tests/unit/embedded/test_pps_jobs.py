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
    with new_project(address) as made:
        yield made


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


def test_every_job_reprocesses_when_the_spec_says_so(project: Project) -> None:
    project.create("copy", project.input("data"), "cp /pfs/data/* /pfs/out/", reprocess_spec="every_job")
    project.wait("copy", project.put("data", {"/a": b"1"}))
    job = project.wait("copy", project.put("data", {"/b": b"2"}))
    assert (job.data_processed, job.data_skipped) == (2, 0)


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


def test_accepted_codes_and_error_handlers_save_a_datum(project: Project) -> None:
    accepting = pps_pb2.Transform(cmd=["sh", "-c", "exit 7"], accept_return_code=[7])
    handled = pps_pb2.Transform(cmd=["sh", "-c", "exit 8"], err_cmd=["sh", "-c", "echo handled"])
    project.create("accepting", project.input("data"), transform=accepting)
    project.create("handled", project.input("data"), transform=handled, datum_tries=1)
    commit_id = project.put("data", {"/a": b""})
    assert project.wait("accepting", commit_id).data_processed == 1
    job = project.wait("handled", commit_id)
    assert (job.state, job.data_recovered) == (pps_pb2.JOB_SUCCESS, 1)
    assert project.user_log("handled", commit_id) == ["handled"]


def test_two_datums_with_one_output_path_fail_the_job(project: Project) -> None:
    project.create("same", project.input("data"), "echo > /pfs/out/same")
    job = project.wait("same", project.put("data", {"/a": b"", "/b": b""}))
    assert job.state == pps_pb2.JOB_FAILURE
    assert "duplicate path output by different datums" in job.reason


def test_user_code_sees_a_workers_environment(project: Project) -> None:
    transform = pps_pb2.Transform(
        cmd=["sh", "-c", "env > /pfs/out/env; pwd > /pfs/out/folder"],
        env={"MINE": "yes"},
        working_dir="/pfs/data",
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
    assert files["/folder"] == b"/pfs/data\n"


def test_empty_files_have_names_but_no_content(project: Project) -> None:
    project.create(
        "names", project.input("data", "/", empty_files=True), "cd /pfs/data && wc -c d/* > /pfs/out/n"
    )
    commit_id = project.put("data", {"/d/x": b"12345"})
    project.wait("names", commit_id)
    assert project.files("names", commit_id) == {"/n": b"0 d/x\n"}


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


def test_a_stopped_job_is_killed_with_its_processes(project: Project) -> None:
    project.create("slow", project.input("data"), "echo started; sleep 600 & sleep 600")
    commit_id = project.put("data", {"/a": b""})
    while not project.user_log("slow", commit_id):
        time.sleep(0.05)
    stop = pps_pb2.StopJobRequest(job=project.job("slow", commit_id), reason="enough")
    project.pps.StopJob(stop)
    job = project.wait("slow", commit_id)
    assert (job.state, job.reason) == (pps_pb2.JOB_KILLED, "enough")
    follower = project.put("data", {}, delete=["/a"])
    assert project.wait("slow", follower).state == pps_pb2.JOB_SUCCESS


@pytest.mark.parametrize(
    ("field", "state"), [("datum_timeout", pps_pb2.JOB_FAILURE), ("job_timeout", pps_pb2.JOB_KILLED)]
)
def test_timeouts_end_what_takes_too_long(project: Project, field: str, state: int) -> None:
    limit = pps_pb2.CreatePipelineRequest().datum_timeout
    limit.FromMilliseconds(300)
    project.create("slow", project.input("data"), "sleep 600", datum_tries=1, **{field: limit})
    job = project.wait("slow", project.put("data", {"/a": b""}))
    assert job.state == state


def test_jobs_are_listed_newest_first_by_page_input_and_version(project: Project) -> None:
    project.create("copy", project.input("data"))
    ids = [project.put("data", {f"/{number}": b""}) for number in range(3)]
    for one in ids:
        project.wait("copy", one)
    listed = [job.job.id for job in project.jobs("copy")]
    assert listed[:3] == ids[::-1]
    assert [job.job.id for job in project.jobs("copy", number=2)] == ids[:0:-1]
    assert [job.job.id for job in project.jobs("copy", reverse=True)] == listed[::-1]
    second = project.jobs("copy")[1]
    older = project.jobs("copy", paginationMarker=second.created)
    assert [job.job.id for job in older] == listed[2:]
    assert [job.job.id for job in project.jobs("copy", input_commit=[project.commit("data", ids[0])])] == [
        ids[0]
    ]
    project.create("copy", project.input("data"), update=True)
    assert len(project.jobs("copy")) == 1
    assert len(project.jobs("copy", history=-1)) == 5


def test_job_sets_hold_all_jobs_of_a_commit(project: Project) -> None:
    project.create("one", project.input("data"))
    project.create("two", project.input("one"))
    commit_id = project.put("data", {"/a": b""})
    request = pps_pb2.InspectJobSetRequest(job_set=pps_pb2.JobSet(id=commit_id), wait=True)
    jobs = list(project.pps.InspectJobSet(request, timeout=30))
    assert [(job.job.pipeline.name, job.state) for job in jobs] == [
        ("one", pps_pb2.JOB_SUCCESS),
        ("two", pps_pb2.JOB_SUCCESS),
    ]
    listed = project.pps.ListJobSet(pps_pb2.ListJobSetRequest(projects=[pfs_pb2.Project(name=project.name)]))
    newest = next(iter(listed))
    assert newest.job_set.id == commit_id
    assert len(newest.jobs) == 2


def test_subscribers_are_told_of_every_unfinished_job_once(project: Project) -> None:
    project.create("slow", project.input("data"), "sleep 1")
    project.wait("slow")
    first = project.put("data", {"/a": b""})
    request = pps_pb2.SubscribeJobRequest(pipeline=project.pipeline("slow"))
    stream = project.pps.SubscribeJob(request, timeout=30)
    assert next(stream).job.id == first
    second = project.put("data", {"/b": b""})
    assert next(stream).job.id == second
    stream.cancel()


def test_a_deleted_job_is_gone(project: Project) -> None:
    project.create("copy", project.input("data"))
    commit_id = project.put("data", {"/a": b""})
    project.wait("copy", commit_id)
    project.pps.DeleteJob(pps_pb2.DeleteJobRequest(job=project.job("copy", commit_id)))
    with pytest.raises(grpc.RpcError) as caught:
        project.wait("copy", commit_id)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_datums_of_an_input_are_listed_before_there_is_a_pipeline(project: Project) -> None:
    project.put("data", {"/a": b"", "/b": b""})
    request = pps_pb2.ListDatumRequest(input=project.input("data"))
    found = list(project.pps.ListDatum(request))
    assert {datum.data[0].file.path for datum in found} == {"/a", "/b"}
    assert {datum.state for datum in found} == {pps_pb2.UNKNOWN}


def test_datums_are_listed_by_state_and_page(project: Project) -> None:
    project.create("check", project.input("data"), "test ! -e /pfs/data/bad", datum_tries=1)
    commit_id = project.put("data", {"/bad": b"", "/good": b"", "/fine": b""})
    project.wait("check", commit_id)
    everything = [datum.datum.id for datum in project.datums("check", commit_id)]
    failed = project.datums(
        "check", commit_id, filter=pps_pb2.ListDatumRequest.Filter(state=[pps_pb2.FAILED])
    )
    assert [datum.data[0].file.path for datum in failed] == ["/bad"]
    assert [d.datum.id for d in project.datums("check", commit_id, number=2)] == everything[:2]
    later = project.datums("check", commit_id, paginationMarker=everything[0])
    assert [d.datum.id for d in later] == everything[1:]
    last = project.datums("check", commit_id, number=1, reverse=True)
    assert [d.datum.id for d in last] == everything[-1:]
    one = pps_pb2.Datum(job=project.job("check", commit_id), id=everything[0])
    inspected = project.pps.InspectDatum(pps_pb2.InspectDatumRequest(datum=one))
    assert inspected.pfs_state.path == f"/pfs/{everything[0]}"


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

"""Three pipelines in the shape of a backup: freeze (cron and policy), export (its work), seal (both).

One story of two ticks, told once; freeze also writes a commit through its sidecar into a repo that is no
part of its provenance.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass

import pytest
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from .pach import Message, Pach, add
from .pipelines import create, ended, eventually, jobs, output, pfs, shell, told
from .projects import Project
from .recording import Recording

pytestmark = pytest.mark.xdist_group("cron")

_WRITE = """$PYTHON -W ignore - <<'END'
import os
import grpc
from google.protobuf import wrappers_pb2
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc
from google.protobuf import empty_pb2
from python_pachyderm.proto.v2.version.versionpb import version_pb2_grpc
sidecar = grpc.insecure_channel("127.0.0.1:" + os.environ["PEER_PORT"])
try:
    version_pb2_grpc.APIStub(sidecar).GetVersion(empty_pb2.Empty())
except grpc.RpcError as error:
    open("/pfs/out/version", "w").write(error.code().name)
pfs = pfs_pb2_grpc.APIStub(sidecar)
project = pfs_pb2.Project(name=os.environ["PPS_PROJECT_NAME"])
repo = pfs_pb2.Repo(name="backup", type="user", project=project)
branch = pfs_pb2.Branch(repo=repo, name="mirror")
commit = pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=branch))
raw = wrappers_pb2.BytesValue(value=b".")
pfs.ModifyFile(iter([
    pfs_pb2.ModifyFileRequest(set_commit=commit),
    pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path="/ticks", raw=raw)),
]))
pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commit))
pfs.InspectCommit(pfs_pb2.InspectCommitRequest(commit=commit, wait=pfs_pb2.FINISHED))
END"""
_FREEZE = (
    _WRITE,
    "mkdir /pfs/out/work",
    "ls /pfs/policy /pfs/tick > /pfs/out/inputs",
    "echo $PACH_JOB_ID > /pfs/out/plan.json",
    "for n in 0000 0001 0002; do echo $PACH_JOB_ID $n > /pfs/out/work/$n.json; done",
)
_EXPORT = ("for file in /pfs/freeze/work/*; do cp $file /pfs/out/$(basename $file); done",)
_SEAL = ("cat /pfs/freeze/plan.json /pfs/export/* > /pfs/out/sealed",)
_TICK = re.compile(r"/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@dataclass(frozen=True, slots=True)
class Tick:
    """One run of cron, by its job's id."""

    job: str
    freeze: Message
    export: Message
    seal: Message
    cron_files: list[list[object]]


@dataclass(frozen=True, slots=True)
class Story:
    pach: Pach
    project: Project
    before: dict[str, list[Message]]
    ticks: list[Tick]


@pytest.fixture(scope="module")
def story(pach: Pach, shared_project: Project, worker_python: str) -> Story:
    project = shared_project
    python = f"PYTHON={worker_python}"
    project.repo("backup")
    pach.commit(project.repo("policy"), add("/policy.yaml", b"interval: 1h"))
    cron = {"cron": {"name": "tick", "spec": "0 0 1 1 *", "overwrite": True}}
    create(pach, shell(project, "freeze", {"cross": [cron, pfs(project, "policy", "/")]}, python, *_FREEZE))
    create(
        pach,
        shell(
            project,
            "export",
            pfs(project, "freeze", "/work/*"),
            *_EXPORT,
            parallelism_spec={"constant": 2},
            datum_set_spec={"number": 1},
        ),
    )
    both = {"cross": [pfs(project, "freeze", "/plan.json"), pfs(project, "export", "/")]}
    create(pach, shell(project, "seal", both, *_SEAL))
    names = ("freeze", "export", "seal")
    before = {
        name: [ended(pach, project, name, job.job.id) for job in jobs(pach, project, name)] for name in names
    }
    return Story(pach, project, before, [_tick(pach, project) for _ in range(2)])


def _tick(pach: Pach, project: Project) -> Tick:
    last = pach.head(project.named("freeze"))
    # A tick is named by its second: two within one second are one file, hence one datum, and the later
    # is skipped.
    time.sleep(1 - time.time() % 1)
    pach.pps.RunCron(pps_pb2.RunCronRequest(pipeline=project.pipeline("freeze")))
    eventually(lambda: pach.head(project.named("freeze")) != last)
    job = pach.head(project.named("freeze"))
    freeze, export, seal = (ended(pach, project, name, job) for name in ("freeze", "export", "seal"))
    ticks = pfs_pb2.Commit(repo=project.named("freeze_tick"), branch=project.branch("freeze_tick"))
    return Tick(job, freeze, export, seal, [[info.file.path, info.size_bytes] for info in pach.walk(ticks)])


def test_a_tick_is_an_empty_file_named_by_its_time(story: Story, recorded: Recording) -> None:
    for tick in story.ticks:
        [root, [path, size]] = tick.cron_files
        assert root == ["/", 0]
        assert size == 0
        assert _TICK.fullmatch(str(path)), path
    assert story.ticks[0].cron_files != story.ticks[1].cron_files, "overwritten by the next"
    recorded([tick.cron_files for tick in story.ticks])


def test_the_repo_of_ticks_is_named_by_pipeline_and_input(story: Story, recorded: Recording) -> None:
    listed = story.pach.pfs.ListRepo(pfs_pb2.ListRepoRequest(projects=[story.project.message], type="user"))
    names = sorted(info.repo.name for info in listed)
    assert names == ["backup", "export", "freeze", "freeze_tick", "policy", "seal"]
    recorded(names)


def test_before_the_first_tick_there_is_nothing_to_do(story: Story, recorded: Recording) -> None:
    done = {name: [told(job) for job in listed] for name, listed in story.before.items()}
    assert all(job["total"] == 0 for listed in done.values() for job in listed)
    recorded(done)


def test_each_tick_is_one_datum_for_freeze_and_seal(story: Story, recorded: Recording) -> None:
    done = [
        {name: told(getattr(tick, name)) for name in ("freeze", "export", "seal")} for tick in story.ticks
    ]
    for tick in done:
        assert {job["state"] for job in tick.values()} == {"JOB_SUCCESS"}
        assert [tick[name]["processed"] for name in ("freeze", "export", "seal")] == [1, 3, 1]
        assert [tick[name]["skipped"] for name in ("freeze", "export", "seal")] == [0, 0, 0]
    recorded(done)


def test_seal_sees_the_plan_and_the_receipts_of_its_own_tick(story: Story) -> None:
    for tick in story.ticks:
        sealed = story.pach.read(output(story.project, "seal", tick.job), "/sealed").decode().split("\n")
        assert sealed == [tick.job, *(f"{tick.job} {n}" for n in ("0000", "0001", "0002")), ""]


def test_a_new_ticks_output_replaces_the_old_ones(story: Story, recorded: Recording) -> None:
    paths = {
        name: story.pach.paths(output(story.project, name, story.ticks[1].job))
        for name in ("freeze", "export", "seal")
    }
    assert paths["freeze"] == [
        "/",
        "/inputs",
        "/plan.json",
        "/version",
        "/work/",
        "/work/0000.json",
        "/work/0001.json",
        "/work/0002.json",
    ]
    recorded(paths)


def test_user_code_sees_both_sides_of_a_cross(story: Story, recorded: Recording) -> None:
    seen = story.pach.read(output(story.project, "freeze", story.ticks[1].job), "/inputs").decode().split()
    assert seen[:3] == ["/pfs/policy:", "policy.yaml", "/pfs/tick:"]
    assert "/" + seen[3] == story.ticks[1].cron_files[1][0]
    recorded(seen)


def test_a_worker_writes_commits_outside_its_provenance(story: Story, recorded: Recording) -> None:
    backup = story.project.named("backup")
    commits = list(story.pach.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=backup)))
    told_of = [[pfs_pb2.OriginKind.Name(info.origin.kind), info.details.size_bytes] for info in commits]
    assert told_of == [["USER", 2], ["USER", 1]]
    assert not {info.commit.id for info in commits} & {tick.job for tick in story.ticks}
    head = pfs_pb2.Commit(repo=backup, branch=story.project.branch("backup", "mirror"))
    assert story.pach.read(head, "/ticks") == b".."
    recorded(told_of)


def test_a_sidecar_serves_files_but_no_version(story: Story, recorded: Recording) -> None:
    code = story.pach.read(output(story.project, "freeze", story.ticks[1].job), "/version").decode()
    assert code == "UNIMPLEMENTED"
    recorded(code)


def test_a_tick_is_one_commit_set(story: Story, recorded: Recording) -> None:
    listed = story.pach.pfs.InspectCommitSet(
        pfs_pb2.InspectCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=story.ticks[1].job))
    )
    members = sorted(f"{info.commit.repo.name}.{info.commit.repo.type}" for info in listed)
    assert {"freeze.user", "export.user", "seal.user", "freeze_tick.user"} <= set(members)
    recorded(members)


def test_the_users_spec_comes_back(story: Story) -> None:
    listed = story.pach.pps.ListPipeline(
        pps_pb2.ListPipelineRequest(projects=[story.project.message], details=True)
    )
    specs = {info.pipeline.name: json.loads(info.details_json) for info in listed}
    assert specs["export"]["datum_set_spec"] == {"number": 1}
    assert specs["freeze"]["input"]["cross"][0]["cron"]["overwrite"] is True


@pytest.mark.parametrize("overwrite", [True, False])
def test_the_schedule_ticks_by_itself(pach: Pach, project: Project, *, overwrite: bool) -> None:
    cron = {"cron": {"name": "tick", "spec": "@every 2s", "overwrite": overwrite}}
    create(pach, shell(project, "often", cron, "true"))
    ticks = pfs_pb2.Commit(repo=project.named("often_tick"), branch=project.branch("often_tick"))

    def ticked() -> int:
        commits = pach.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=project.named("often_tick"), all=True))
        return sum(info.HasField("finished") and info.details.size_bytes == 0 for info in commits)

    eventually(lambda: ticked() >= 4)
    pach.pps.StopPipeline(pps_pb2.StopPipelineRequest(pipeline=project.pipeline("often")))
    names = [path for path in pach.paths(ticks) if path != "/"]
    assert all(_TICK.fullmatch(name) for name in names)
    assert len(names) == 1 if overwrite else len(names) >= 3

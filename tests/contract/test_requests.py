"""Three pipelines in the shape of a restore: plan (a request a datum), fetch (its work), replay (their join).

One story, told once: two requests, a third, and one deleted. fetch also makes a repo and a branch in it
through its sidecar, as staging does.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from python_pachyderm.proto.v2.pfs import pfs_pb2

from .pach import Commit, Message, Pach, add, delete
from .pipelines import create, ended, output, pfs, shell, told
from .projects import Project
from .recording import Recording

pytestmark = pytest.mark.xdist_group("requests")

_STAGE = """$PYTHON -W ignore - <<'END'
import os
import grpc
from google.protobuf import wrappers_pb2
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc
pfs = pfs_pb2_grpc.APIStub(grpc.insecure_channel("127.0.0.1:" + os.environ["PEER_PORT"]))
project = pfs_pb2.Project(name=os.environ["PPS_PROJECT_NAME"])
repo = pfs_pb2.Repo(name="staging", type="user", project=project)
said = []
for call in (
    lambda: pfs.CreateProject(pfs_pb2.CreateProjectRequest(project=project)),
    lambda: pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo)),
):
    try:
        call()
        said.append("OK")
    except grpc.RpcError as error:
        said.append("already exists" in error.details())
open("/pfs/out/" + os.environ["FOLDER"] + "/said", "w").write(str(said[0]))
name = os.environ["FOLDER"] + "-" + os.environ["FILE"]
raw = wrappers_pb2.BytesValue(value=name.encode())
made = pfs.CreateFileSet(iter([pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path="/part", raw=raw))]))
branch = pfs_pb2.Branch(repo=repo, name=name)
commit = pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=branch))
pfs.AddFileSet(pfs_pb2.AddFileSetRequest(commit=commit, file_set_id=made.file_set_id))
pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commit))
END"""
_PLAN = (
    "name=$(ls /pfs/requests)",
    "mkdir -p /pfs/out/${name%.yaml}/work",
    "cp /pfs/requests/$name /pfs/out/${name%.yaml}/plan.json",
    "for n in $(cat /pfs/requests/$name); do echo $n > /pfs/out/${name%.yaml}/work/$n.json; done",
)
_FETCH = (
    "path=$(cd /pfs/plan && echo */work/*)",
    "export FOLDER=${path%%/*} FILE=$(basename $path .json)",
    "mkdir -p /pfs/out/$FOLDER/receipts",
    _STAGE,
    "mv /pfs/out/$FOLDER/said /pfs/out/$FOLDER/receipts/$FILE.json",
)
_REPLAY = (
    "name=$(ls /pfs/plan)",
    "mkdir /pfs/out/$name",
    "(cd /pfs && find -L plan fetch -type f | sort) > /pfs/out/$name/seen",
)


@dataclass(frozen=True, slots=True)
class Story:
    pach: Pach
    project: Project
    jobs: list[dict[str, Message]]

    def output(self, name: str, number: int) -> Commit:
        return output(self.project, name, self.jobs[number][name].job.id)


@pytest.fixture(scope="module")
def story(pach: Pach, shared_project: Project, worker_python: str) -> Story:
    project = shared_project
    python = f"PYTHON={worker_python}"
    requests = project.repo("requests")
    create(pach, shell(project, "plan", pfs(project, "requests", "/*"), *_PLAN))
    create(
        pach,
        shell(
            project,
            "fetch",
            pfs(project, "plan", "/*/work/*"),
            python,
            *_FETCH,
            parallelism_spec={"constant": 2},
            datum_set_spec={"number": 1},
        ),
    )
    sides = [pfs(project, name, "/(*)", join_on="$1") for name in ("plan", "fetch")]
    create(pach, shell(project, "replay", {"join": sides}, *_REPLAY))
    commits = [
        pach.commit(requests, add("/one.yaml", b"0000"), add("/two.yaml", b"0000 0001")),
        pach.commit(requests, add("/three.yaml", b"0000")),
        pach.commit(requests, delete("/one.yaml")),
    ]
    names = ("plan", "fetch", "replay")
    return Story(
        pach,
        project,
        [{name: ended(pach, project, name, commit.id) for name in names} for commit in commits],
    )


def test_a_request_is_one_datum_of_plan_and_of_replay(story: Story, recorded: Recording) -> None:
    done = [{name: told(job) for name, job in jobs.items()} for jobs in story.jobs]
    assert [jobs["replay"]["processed"] for jobs in done] == [2, 1, 0], "only new ones are done"
    assert [jobs["fetch"]["processed"] for jobs in done] == [3, 1, 0]
    recorded(done)


def test_replay_sees_a_requests_plan_with_its_own_receipts(story: Story, recorded: Recording) -> None:
    seen = {
        name: story.pach.read(story.output("replay", 1), f"/{name}/seen").decode().split()
        for name in ("one", "two", "three")
    }
    assert seen["two"] == [
        "fetch/two/receipts/0000.json",
        "fetch/two/receipts/0001.json",
        "plan/two/plan.json",
        "plan/two/work/0000.json",
        "plan/two/work/0001.json",
    ]
    recorded(seen)


def test_what_a_deleted_request_put_out_goes(story: Story, recorded: Recording) -> None:
    paths = {name: story.pach.paths(story.output(name, 2)) for name in ("plan", "fetch", "replay")}
    assert paths["replay"] == ["/", "/three/", "/three/seen", "/two/", "/two/seen"]
    recorded(paths)


def test_a_worker_makes_a_repo_and_commits_file_sets_through_its_sidecar(
    story: Story, recorded: Recording
) -> None:
    staging = story.project.named("staging")
    branches = sorted(
        info.branch.name for info in story.pach.pfs.ListBranch(pfs_pb2.ListBranchRequest(repo=staging))
    )
    assert branches == ["one-0000", "three-0000", "two-0000", "two-0001"]
    heads = [pfs_pb2.Commit(repo=staging, branch=story.project.branch("staging", name)) for name in branches]
    assert [story.pach.read(head, "/part").decode() for head in heads] == branches
    receipt = story.pach.read(story.output("fetch", 0), "/one/receipts/0000.json").decode()
    assert receipt == "True", "a project that is there is said to be, by a sidecar too"
    recorded([branches, receipt])

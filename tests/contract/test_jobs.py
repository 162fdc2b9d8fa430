"""Jobs: what user code sees, what is done again and what is not, what a failure stops.

One story of eight commits through two pipelines, told once; each test looks at a part of it. Starting real
workers takes long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from .pach import Message, Pach, add, delete, put
from .pipelines import create, ended, inspect, jobs, output, pfs, shell, told
from .projects import Project
from .recording import Recording, refusal
from .secret import delete_secret, make_secret

pytestmark = pytest.mark.xdist_group("jobs")

_WORK = (
    "for file in /pfs/data/*; do",
    "  name=$(basename $file)",
    '  if [ "$(cat $file)" = fail ]; then exit 7; fi',
    '  if [ "$(cat $file)" = flaky ]; then',
    "    echo try >> /tmp/tries-$PACH_DATUM_ID",
    "    if [ $(wc -l < /tmp/tries-$PACH_DATUM_ID) -lt 3 ]; then exit 7; fi",
    "    rm /tmp/tries-$PACH_DATUM_ID",
    "  fi",
    "  mkdir -p /pfs/out/env",
    "  cat $file > /pfs/out/$name",
    "  env > /pfs/out/env/$name",
    "  ls /pfs > /pfs/out/env/$name.pfs",
    "  cat /safe/word > /pfs/out/env/$name.secret",
    "done",
)
_ENVIRONMENT = [
    "PACHD_PEER_SERVICE_HOST",
    "PACHD_PEER_SERVICE_PORT",
    "PACH_DATUM_ID",
    "PACH_JOB_ID",
    "PACH_OUTPUT_COMMIT_ID",
    "PEER_PORT",
    "PPS_PIPELINE_NAME",
    "PPS_POD_NAME",
    "PPS_PROJECT_NAME",
    "FROM_SAFE",
    "OF_OURS",
    "data",
    "data_COMMIT",
]


@dataclass(frozen=True, slots=True)
class Step:
    """One commit, and what the two pipelines made of it."""

    commit: str
    work: Message
    after: Message


@dataclass(frozen=True, slots=True)
class Story:
    pach: Pach
    project: Project
    steps: dict[str, Step]

    def files(self, step: str) -> dict[str, bytes]:
        commit = output(self.project, "work", self.steps[step].work.job.id)
        return {
            info.file.path: self.pach.read(commit, info.file.path)
            for info in self.pach.walk(commit)
            if info.file_type == pfs_pb2.FILE
        }

    def environment(self, step: str, name: str) -> dict[str, str]:
        lines = self.files(step)[f"/env/{name}"].decode().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.fixture(scope="module")
def story(pach: Pach, shared_project: Project) -> Iterator[Story]:
    project = shared_project
    data = project.repo("data")
    changes: dict[str, list[Any]] = {
        "changed": [*put("/a", b"changed"), add("/c", b"3")],
        "vanished": [delete("/c")],
        "failed": [add("/d", b"fail")],
        "mended": [*put("/d", b"4")],
        "flaky": [add("/e", b"flaky")],
        "untouched": [],
        "emptied": [delete("/")],
    }
    pach.commit(data, add("/a", b"1"), add("/b", b"2"))
    secret = project.name
    make_secret(pach, secret, {"word": "swordfish"})
    transform = {
        "env": {"OF_OURS": "yes"},
        "secrets": [
            {"name": secret, "env_var": "FROM_SAFE", "key": "word"},
            {"name": secret, "mount_path": "/safe"},
        ],
    }
    create(pach, shell(project, "work", pfs(project, "data", "/*"), *_WORK, transform=transform))
    create(pach, shell(project, "after", pfs(project, "work", "/"), "ls /pfs/work > /pfs/out/names"))

    def step(commit: str, work: str, after: str) -> Step:
        return Step(commit, ended(pach, project, "work", work), ended(pach, project, "after", after))

    first = pach.head(project.named("after"))
    steps = {"first": step("", jobs(pach, project, "work")[0].job.id, first)}
    for name, change in changes.items():
        commit = pach.commit(data, *change)
        steps[name] = step(commit.id, commit.id, commit.id)
    yield Story(pach, project, steps)
    delete_secret(pach, secret)


def test_what_user_code_sees(story: Story, recorded: Recording) -> None:
    seen = story.environment("first", "a")
    job = story.steps["first"].work
    assert [name for name in _ENVIRONMENT if name not in seen] == []
    assert seen["PACH_JOB_ID"] == seen["PACH_OUTPUT_COMMIT_ID"] == job.job.id
    assert seen["PPS_PROJECT_NAME"] == story.project.name
    assert seen["PPS_PIPELINE_NAME"] == "work"
    assert seen["data"] == "/pfs/data/a"
    assert seen["OF_OURS"] == "yes"
    assert seen["FROM_SAFE"] == "swordfish"
    assert story.files("first")["/env/a.secret"] == b"swordfish"
    assert seen["PEER_PORT"].isdigit()
    kept = {
        name: seen[name] for name in _ENVIRONMENT if not name.startswith(("PACHD_PEER", "PEER", "PPS_POD"))
    }
    recorded({"environment": kept, "pfs": story.files("first")["/env/a.pfs"].decode().split()})


def test_each_datum_has_an_id_and_sees_its_own_file(story: Story) -> None:
    first, second = (story.environment("first", name) for name in ("a", "b"))
    assert first["PACH_DATUM_ID"] != second["PACH_DATUM_ID"]
    assert second["data"] == "/pfs/data/b"


def test_a_job_has_the_id_of_its_commit(story: Story) -> None:
    for name, step in story.steps.items():
        if name != "first":
            assert step.work.job.id == step.after.job.id == step.commit
            assert step.work.output_commit.id == step.commit


def test_what_the_jobs_did(story: Story, recorded: Recording) -> None:
    done = {name: {"work": told(step.work), "after": told(step.after)} for name, step in story.steps.items()}
    # What a failing job had skipped before it failed is its own affair.
    del done["failed"]["work"]["skipped"], done["failed"]["work"]["processed"]
    assert done["first"]["work"]["processed"] == 2
    assert (done["changed"]["work"]["processed"], done["changed"]["work"]["skipped"]) == (2, 1)
    assert (done["vanished"]["work"]["processed"], done["vanished"]["work"]["skipped"]) == (0, 2)
    assert done["failed"]["work"]["state"] == "JOB_FAILURE"
    assert done["failed"]["after"]["state"] == "JOB_UNRUNNABLE"
    assert (done["mended"]["work"]["processed"], done["mended"]["work"]["skipped"]) == (1, 2)
    assert done["emptied"]["work"] == {
        "state": "JOB_SUCCESS",
        "total": 0,
        "processed": 0,
        "skipped": 0,
        "failed": 0,
    }
    recorded(done)


def test_a_datum_is_tried_three_times(story: Story) -> None:
    """The step's user code fails twice."""
    assert pps_pb2.JobState.Name(story.steps["flaky"].work.state) == "JOB_SUCCESS"
    assert story.files("flaky")["/e"] == b"flaky"


def test_a_skipped_datum_keeps_its_output(story: Story) -> None:
    assert story.environment("changed", "b")["PACH_JOB_ID"] == story.steps["first"].work.job.id
    assert story.environment("changed", "a")["PACH_JOB_ID"] == story.steps["changed"].work.job.id
    assert story.files("changed")["/a"] == b"changed", "and a changed one's is replaced"


def test_what_a_vanished_datum_put_out_goes(story: Story, recorded: Recording) -> None:
    assert "/c" in story.files("changed")
    names = {step: sorted(story.files(step)) for step in ("changed", "vanished", "mended", "emptied")}
    assert "/c" not in names["vanished"]
    assert names["emptied"] == []
    recorded(names)


def test_a_failed_jobs_commits_are_failed(story: Story, recorded: Recording) -> None:
    errors = {
        name: bool(story.pach.inspect(output(story.project, name, story.steps["failed"].commit)).error)
        for name in ("work", "after")
    }
    assert errors == {"work": True, "after": True}
    reasons = {name: bool(getattr(story.steps["failed"], name).reason) for name in ("work", "after")}
    recorded({"commit errors": errors, "job reasons": reasons})


def test_what_went_before_a_failure_is_the_base_of_what_comes_after(story: Story) -> None:
    assert story.environment("mended", "b")["PACH_JOB_ID"] == story.steps["first"].work.job.id


def test_jobs_are_listed_newest_first(story: Story, recorded: Recording) -> None:
    listed = [job.job.id for job in jobs(story.pach, story.project, "work")]
    order = [step.work.job.id for step in story.steps.values()]
    assert listed[: len(order)] == order[::-1]
    by_input = pps_pb2.ListJobRequest(
        pipeline=story.project.pipeline("work"),
        input_commit=[pfs_pb2.Commit(repo=story.project.named("data"), id=order[1])],
    )
    recorded(
        {
            "jobs": len(listed) - len(order),
            "of one input commit": [job.job.id == order[1] for job in story.pach.pps.ListJob(by_input)],
        }
    )


def test_datums_are_told_by_job(story: Story, recorded: Recording) -> None:
    asked = pps_pb2.Job(pipeline=story.project.pipeline("work"), id=story.steps["changed"].commit)
    listed = sorted(
        [pps_pb2.DatumState.Name(info.state), *(file.file.path for file in info.data)]
        for info in story.pach.pps.ListDatum(pps_pb2.ListDatumRequest(job=asked))
    )
    assert listed == [["SKIPPED", "/b"], ["SUCCESS", "/a"], ["SUCCESS", "/c"]]
    recorded(listed)


def test_output_commits_are_of_automatic_origin(story: Story, recorded: Recording) -> None:
    work = story.project.named("work")
    told_of = {
        str(all_of_them): [
            pfs_pb2.OriginKind.Name(info.origin.kind)
            for info in story.pach.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=work, all=all_of_them))
        ]
        for all_of_them in (False, True)
    }
    assert set(told_of["True"]) == {"AUTO"}
    info = story.pach.inspect(output(story.project, "work", story.steps["changed"].commit))
    provenance = sorted(f"{c.repo.name}.{c.repo.type}" for c in info.direct_provenance)
    assert provenance == ["data.user", "work.spec"]
    recorded({"listed": told_of, "provenance": provenance})


def test_no_commit_is_started_on_an_output(story: Story, recorded: Recording) -> None:
    answer = refusal(story.pach.start, story.project.named("work"))
    assert answer != "OK"
    recorded(answer)


def test_the_pipeline_tells_its_last_job(story: Story, recorded: Recording) -> None:
    info = inspect(story.pach, story.project, "work")
    assert pps_pb2.JobState.Name(info.last_job_state) == "JOB_SUCCESS"
    assert pps_pb2.PipelineState.Name(info.state) == "PIPELINE_RUNNING"
    recorded([pps_pb2.PipelineState.Name(info.state), pps_pb2.JobState.Name(info.last_job_state)])


def test_logs_hold_what_user_code_said(story: Story) -> None:
    asked = pps_pb2.GetLogsRequest(pipeline=story.project.pipeline("work"))
    assert list(story.pach.pps.GetLogs(asked))

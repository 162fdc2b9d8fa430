"""What the verdict pipelines rest on: a datum that fails once, and what later jobs make of it."""

from __future__ import annotations

import pytest

from .pach import Pach, add, put
from .pipelines import create, ended, pfs, shell, told
from .projects import Project

pytestmark = pytest.mark.xdist_group("verdicts")

_RESULT = ('echo "$PACH_JOB_ID $(cat /pfs/data/*)" > /pfs/out/$(basename /pfs/data/*)',)
_VERDICT = (
    "read job status < $(ls /pfs/result/*)",
    'if [ "$status" = bad ] && [ "$job" = "$result_COMMIT" ]; then exit 1; fi',
)
"""Fails for a bad result that the job of this very commit wrote."""


def test_a_bad_result_fails_the_job_that_wrote_it_and_no_later_one(pach: Pach, project: Project) -> None:
    data = project.repo("data")
    create(pach, shell(project, "result", pfs(project, "data", "/*"), *_RESULT))
    create(pach, shell(project, "verdict", pfs(project, "result", "/*"), *_VERDICT, datum_tries=1))
    seen = []
    for changes in (
        [add("/one", b"good")],
        [add("/two", b"bad")],
        [add("/three", b"good")],
        [add("/four", b"good")],
        put("/two", b"good"),
    ):
        job = pach.commit(data, *changes).id
        seen.append({name: told(ended(pach, project, name, job)) for name in ("result", "verdict")})
    assert {step["result"]["state"] for step in seen} == {"JOB_SUCCESS"}
    states = [step["verdict"]["state"] for step in seen]
    assert states == ["JOB_SUCCESS", "JOB_FAILURE", "JOB_SUCCESS", "JOB_SUCCESS", "JOB_SUCCESS"]
    # the job after the failure processes its datum again, and only then it is skipped
    assert [(step["verdict"]["processed"], step["verdict"]["skipped"]) for step in seen[2:4]] == [
        (2, 1),
        (1, 3),
    ]

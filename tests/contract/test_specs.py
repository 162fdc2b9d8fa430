"""Which pipeline specs are refused, and with what status."""

from __future__ import annotations

from typing import Any

import pytest
from python_pachyderm.proto.v2.pfs import pfs_pb2

from .pach import Message, Pach
from .pipelines import Spec, create, pfs, shell
from .projects import Project
from .recording import Recording, refusal


def _bad_specs(project: Project) -> dict[str, Spec]:
    """By what is wrong with it; each is the only wrong thing."""
    data = pfs(project, "data", "/*")
    cron = {"cron": {"name": "tick", "spec": "@never o'clock"}}

    def named(name: str) -> Spec:
        return shell(project, name, data, "true")

    def changed(**more: Any) -> Spec:
        return shell(project, "bad", data, "true", **more)

    return {
        "unknown field": changed(no_such_field=1),
        "unknown nested field": changed(transform={"no_such_field": 1}),
        "wrong type": changed(datum_tries="many"),
        "no name": named(""),
        "slash in the name": named("a/b"),
        "dot in the name": named("a.b"),
        "52 characters": named("a" * 52),
        "a repo is there": named("data"),
        "no input repo named": shell(project, "bad", pfs(project, "", "/*"), "true"),
        "no glob": shell(project, "bad", pfs(project, "data", ""), "true"),
        "bad cron": shell(project, "bad", cron, "true"),
        "two branches of a repo": shell(
            project, "bad", {"cross": [data, pfs(project, "data", "/", name="other", branch="dev")]}, "true"
        ),
        "two inputs of a name": shell(project, "bad", {"cross": [data, data]}, "true"),
        "out as a name": shell(project, "bad", pfs(project, "data", "/*", name="out"), "true"),
        "unknown project": {
            **changed(),
            "pipeline": {"project": {"name": "no-such-project"}, "name": "bad"},
        },
        "parallelism beyond the community's": changed(parallelism_spec={"constant": 9}),
        "bad timeout": changed(datum_timeout="soon"),
    }


@pytest.mark.since("2.8", "CreatePipelineV2, which keeps a spec as it was written")
def test_bad_specs_are_refused(pach: Pach, project: Project, repo: Message, recorded: Recording) -> None:
    answers = {}
    for number, (name, spec) in enumerate(_bad_specs(project).items()):
        if spec["pipeline"]["name"] == "bad":
            # One that is taken must not make the next one fail for its name.
            spec["pipeline"]["name"] = f"bad{number}"
        answers[name] = refusal(create, pach, spec)
    recorded(answers)
    assert [name for name, answer in answers.items() if answer == "OK"] == []
    left = pach.pfs.ListRepo(pfs_pb2.ListRepoRequest(projects=[project.message]))
    assert [info.repo.name for info in left] == ["data"], "a refusal leaves nothing behind"


def test_the_longest_name_depends_on_the_projects(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    """Kubernetes allows 63 characters for project, name and version together."""
    longest = 63 - len(f"{project.name}--v99")
    answers = [
        refusal(create, pach, shell(project, "a" * n, pfs(project, "data", "/*"), "true"))
        for n in (longest, longest + 1)
    ]
    assert answers[0] == "OK" != answers[1]
    recorded(answers)


def test_an_input_repo_that_is_not_there(pach: Pach, project: Project, recorded: Recording) -> None:
    answer = refusal(create, pach, shell(project, "early", pfs(project, "later", "/*"), "true"))
    recorded(answer)
    assert answer != "OK"


def test_a_project_that_is_not_there(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    spec = shell(project, "line", pfs(project, "data", "/*"), "true")
    spec["pipeline"]["project"]["name"] = f"{project.name}-no"
    answer = refusal(create, pach, spec)
    assert "not found" in answer
    recorded(answer)


def test_camel_case_is_taken_too(pach: Pach, project: Project, repo: Message) -> None:
    spec = {
        **shell(project, "camel", pfs(project, "data", "/*"), "true"),
        "datumTries": 2,
        "datumSetSpec": {"number": 1},
    }
    assert refusal(create, pach, spec) == "OK"

"""Names of projects and repos, and what is told of them."""

from __future__ import annotations

import string

import pytest
from python_pachyderm import Client
from python_pachyderm.proto.v2.pfs import pfs_pb2

from .pach import Message, Pach, add
from .projects import Project
from .recording import Recording, refusal

_PRINTABLE = [c for c in string.printable if c.isprintable()]
_NAME = set(string.ascii_letters + string.digits + "_-")


def test_repo_name_characters(pach: Pach, project: Project, recorded: Recording) -> None:
    answers = {}
    for character in [*_PRINTABLE, "é", "\n"]:
        name = f"r{character}{ord(character)}"
        answers[character] = refusal(pach.pfs.CreateRepo, pfs_pb2.CreateRepoRequest(repo=project.named(name)))
    assert {c for c, answer in answers.items() if answer == "OK"} == _NAME
    recorded(answers)


def test_repo_names_may_begin_with_any_of_their_characters(
    pach: Pach, project: Project, recorded: Recording
) -> None:
    names = ["-a", "_a", "9", "-", "a" * 51, "a" * 300, ""]
    answers = [
        [
            name,
            refusal(pach.pfs.CreateRepo, pfs_pb2.CreateRepoRequest(repo=project.named(name))),
        ]
        for name in names
    ]
    assert [answer == "OK" for _, answer in answers] == [True] * 6 + [False]
    recorded(answers)


@pytest.mark.parametrize("length", [51, 52])
def test_project_names_have_at_most_51_characters(
    pach: Pach, project: Project, recorded: Recording, length: int
) -> None:
    name = project.name + "x" * (length - len(project.name))
    named = pfs_pb2.Project(name=name)
    answer = refusal(pach.pfs.CreateProject, pfs_pb2.CreateProjectRequest(project=named))
    assert (answer == "OK") == (length <= 51)
    if length <= 51:
        pach.pfs.DeleteProject(pfs_pb2.DeleteProjectRequest(project=named))
    recorded(answer)


def test_project_name_characters(pach: Pach, project: Project, recorded: Recording) -> None:
    answers = {}
    for character in "._-A9 /@é":
        named = pfs_pb2.Project(name=f"{project.name}{character}z")
        answers[character] = refusal(pach.pfs.CreateProject, pfs_pb2.CreateProjectRequest(project=named))
        if answers[character] == "OK":
            pach.pfs.DeleteProject(pfs_pb2.DeleteProjectRequest(project=named))
    named = pfs_pb2.Project(name=f"-{project.name}")
    answers["leading -"] = refusal(pach.pfs.CreateProject, pfs_pb2.CreateProjectRequest(project=named))
    assert {c for c, answer in answers.items() if answer == "OK"} == {"_", "-", "A", "9"}
    recorded(answers)


def test_a_project_is_told_with_description_and_time(
    client: Client, project: Project, recorded: Recording
) -> None:
    project.pach.pfs.CreateProject(
        pfs_pb2.CreateProjectRequest(project=project.message, description="what it is for", update=True)
    )
    info = client.inspect_project(project.name)
    assert info.description == "what it is for"
    assert info.created_at.seconds > 0
    assert project.name in [project_info.project.name for project_info in client.list_project()]
    recorded([info.project.name, info.description])


def test_making_it_again_is_refused(pach: Pach, project: Project, repo: Message, recorded: Recording) -> None:
    answers = {
        "project": refusal(pach.pfs.CreateProject, pfs_pb2.CreateProjectRequest(project=project.message)),
        "repo": refusal(pach.pfs.CreateRepo, pfs_pb2.CreateRepoRequest(repo=repo)),
        "repo in no project": refusal(
            pach.pfs.CreateRepo,
            pfs_pb2.CreateRepoRequest(
                repo=pfs_pb2.Repo(name="a", type="user", project=pfs_pb2.Project(name="no-such-project"))
            ),
        ),
    }
    assert answers["project"] == answers["repo"] == "ALREADY_EXISTS: already exists"
    assert answers["repo in no project"].startswith("NOT_FOUND")
    recorded(answers)


def test_repos_are_listed_by_type_and_project(pach: Pach, project: Project, recorded: Recording) -> None:
    for name, kind in (("b", "user"), ("a", "user"), ("a", "meta"), ("a", "spec")):
        pach.pfs.CreateRepo(
            pfs_pb2.CreateRepoRequest(repo=project.named(name, kind), description=f"{name} {kind}")
        )
    listed = {
        kind: [
            [info.repo.name, info.repo.type, info.description]
            for info in pach.pfs.ListRepo(pfs_pb2.ListRepoRequest(type=kind, projects=[project.message]))
        ]
        for kind in ("user", "meta", "spec", "")
    }
    assert sorted(row[0] for row in listed["user"]) == ["a", "b"]
    assert len(listed[""]) == 4
    recorded({kind: sorted(rows) for kind, rows in listed.items()})


def test_a_repo_made_again_is_told_apart_by_its_time(pach: Pach, project: Project, repo: Message) -> None:
    asked = pfs_pb2.InspectRepoRequest(repo=repo)
    before = pach.pfs.InspectRepo(asked).created.ToNanoseconds()
    pach.commit(repo, add("/a", b"1"))
    pach.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo))
    project.repo("data")
    assert pach.pfs.InspectRepo(asked).created.ToNanoseconds() > before
    assert list(pach.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=repo, all=True))) == []


def test_what_a_repo_tells(pach: Pach, project: Project, recorded: Recording) -> None:
    repo = project.repo("told", description="of old")
    pach.commit(repo, add("/a", b"12345"))
    pach.commit(repo, add("/b", b"123"), branch="other")
    info = pach.pfs.InspectRepo(pfs_pb2.InspectRepoRequest(repo=repo))
    assert info.details.size_bytes == 5, "the size of the branch master, alone"
    assert sorted(branch.name for branch in info.branches) == ["master", "other"]
    pach.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo, description="of late", update=True))
    updated = pach.pfs.InspectRepo(pfs_pb2.InspectRepoRequest(repo=repo))
    assert (updated.description, updated.created) == ("of late", info.created)
    recorded([info.description, info.details.size_bytes, sorted(b.name for b in info.branches)])


def test_what_is_not_there(pach: Pach, project: Project, recorded: Recording) -> None:
    nowhere = pfs_pb2.Project(name="no-such-project")
    answers = {
        "project": refusal(pach.pfs.InspectProject, pfs_pb2.InspectProjectRequest(project=nowhere)),
        "repo": refusal(pach.pfs.InspectRepo, pfs_pb2.InspectRepoRequest(repo=project.named("no"))),
        "delete repo": refusal(pach.pfs.DeleteRepo, pfs_pb2.DeleteRepoRequest(repo=project.named("no"))),
        "list of an unknown project": refusal(
            pach.pfs.ListRepo, pfs_pb2.ListRepoRequest(type="user", projects=[nowhere])
        ),
    }
    assert answers["project"] == answers["repo"] == "NOT_FOUND: not found"
    recorded(answers)


def test_a_project_with_repos_is_not_deleted(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    answer = refusal(pach.pfs.DeleteProject, pfs_pb2.DeleteProjectRequest(project=project.message))
    assert answer != "OK"
    assert pach.pfs.InspectRepo(pfs_pb2.InspectRepoRequest(repo=repo)).repo.name == "data"
    recorded(answer)

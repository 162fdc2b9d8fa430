"""What a freeze lists of a history, and that it plans the same as if it had listed all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from python_pachyderm.proto.v2.pfs import pfs_pb2_grpc

from e2e.backup import Backup
from e2e.cluster import Project
from pachvault.backup.backup import new_run_id
from pachvault.backup.backup_messages import PlannedRepo
from pachvault.backup.freeze import commit_histories
from pachvault.backup.freeze.freeze import freeze
from pachvault.format.ids import RepoName
from pachvault.pach.connection import Connection, connect
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import Policy

HistoryText = str | dict[str, int | str]
"""As a policy has it."""


class Counted(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]
    """Counts the messages that a server answers with, by method."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()

    def intercept_unary_unary(self, call: Any, details: Any, request: Any) -> Any:
        self.messages[details.method] += 1
        return call(details, request)

    def intercept_unary_stream(self, call: Any, details: Any, request: Any) -> Any:
        def answers() -> Iterator[Any]:
            for message in call(details, request):
                self.messages[details.method] += 1
                yield message

        return answers()


def counted(connection: Connection) -> Counter[str]:
    """Count what the connection is answered from now on."""
    counter = Counted()
    connection.channel = grpc.intercept_channel(connection.channel, counter)
    connection.pfs = pfs_pb2_grpc.APIStub(connection.channel)
    return counter.messages


def frozen(
    backup: Backup,
    history: HistoryText = "all",
    source: str | None = None,
    connection: Connection | None = None,
) -> PlannedRepo:
    """The plan of the only repo of `source`."""
    connection = connection or backup.project.cluster.connection
    chosen = Policy.model_validate(
        {
            "version": 1,
            "target": backup.vault.url,
            "sources": [source or backup.project.everything()],
            "history": history,
            "pipelines": "skip",
        }
    )
    made = freeze(
        Source(connection), Target(connection), backup.vault.vault, policy=chosen, run_id=new_run_id()
    )
    (planned,) = made.plan.repos
    return planned


def test_five_new_commits_cost_the_same_on_a_short_history_and_on_a_long_one(backup: Backup) -> None:
    project = backup.project
    lengths = {"short": 10, "long": 500}
    for repo, length in lengths.items():
        project.repo(repo)
        for number in range(length):
            project.commit(repo, {f"/{number % 3}": b"%d" % number})
    backup.run()
    messages = {}
    for repo in lengths:
        for number in range(5):
            project.commit(repo, {"/new": b"%d" % number})
        with connect(project.cluster.address) as connection:
            counts = counted(connection)
            assert len(frozen(backup, source=f"{project.name}/{repo}", connection=connection).new) == 5
            messages[repo] = dict(counts)
    assert messages["short"] == messages["long"]
    assert messages["long"]["/pfs_v2.API/ListCommit"] == 8


def more(project: Project, repo: str) -> None:
    for number in range(5):
        project.commit(repo, {"/new": b"%d" % number})


def back(project: Project, repo: str) -> None:
    project.branch(repo, "master", ids(project, repo)[10])


def back_and_on(project: Project, repo: str) -> None:
    back(project, repo)
    more(project, repo)


def squash_recent(project: Project, repo: str) -> None:
    more(project, repo)
    project.squash(ids(project, repo)[6])


def squash_two_on_the_way(project: Project, repo: str) -> None:
    listed = ids(project, repo)
    more(project, repo)
    project.squash(listed[0])
    project.squash(listed[1])


def left_open(project: Project, repo: str) -> None:
    more(project, repo)
    project.start(repo)


def failed(project: Project, repo: str) -> None:
    project.commit(repo, {"/bad": b"x"}, error="it failed")
    project.commit(repo, {"/good": b"x"})


def branch_of_an_old_commit(project: Project, repo: str) -> None:
    project.branch(repo, "old", ids(project, repo)[12])
    project.commit(repo, {"/old": b"x"}, branch="old")


def another_root(project: Project, repo: str) -> None:
    project.commit(repo, {"/root": b"x"}, branch="side")
    project.branch(repo, "master", project.heads(repo)["side"])


def dropped_branch(project: Project, repo: str) -> None:
    project.branch(repo, "old", ids(project, repo)[3])
    project.delete_branch(repo, "master")


def nothing(_project: Project, _repo: str) -> None:
    """The repo stays as it is."""


def ids(project: Project, repo: str) -> list[str]:
    """The ids of all commits, newest first."""
    infos = project.cluster.source.commits(RepoName(project.name, repo))
    return [commit.id for commit in infos]


@pytest.mark.parametrize(
    "change",
    [
        nothing, more, back, back_and_on, squash_recent, squash_two_on_the_way, left_open, failed,
        branch_of_an_old_commit, another_root, dropped_branch,
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", ["all", {"last": 3}])
def test_a_plan_is_that_of_a_whole_listing(
    backup: Backup, monkeypatch: pytest.MonkeyPatch, change: Callable[[Project, str], None],
    before: HistoryText,
) -> None:  # fmt: skip
    project = backup.project
    repo = project.repo("data")
    for number in range(20):
        project.commit(repo, {f"/{number % 3}": b"%d" % number})
    backup.run_policy(history=before)
    change(project, repo)
    histories: list[HistoryText] = ["all", {"last": 3}, {"since": "1d"}]
    planned = [frozen(backup, history) for history in histories]
    monkeypatch.setattr(commit_histories, "WHOLE_LISTING_AFTER", timedelta())
    for history, plan in zip(histories, planned, strict=True):
        whole = frozen(backup, history)
        assert plan.model_copy(update={"history_listed_at": whole.history_listed_at}) == whole


def test_a_squash_far_back_is_noticed_when_the_whole_repo_is_listed(
    backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = backup.project
    repo = project.repo("data")
    commits = [project.commit(repo, {f"/{number}": b"x"}) for number in range(12)]
    backup.run()
    project.squash(commits[1])
    assert frozen(backup).is_unchanged
    monkeypatch.setattr(commit_histories, "WHOLE_LISTING_AFTER", timedelta())
    assert frozen(backup).parents[commits[2]] == commits[0]

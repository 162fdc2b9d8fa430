"""When a branch that waits for another follows it."""

from __future__ import annotations

from typing import Any

import pytest
from python_pachyderm.proto.v2.pfs import pfs_pb2

from .pach import Message, Pach, add
from .recording import Recording


def _wait(pach: Pach, repo: Message, head: Message | None, **condition: Any) -> None:
    """Branch `released` waits for `master`."""
    trigger = pfs_pb2.Trigger(branch="master", **condition)
    branch = pfs_pb2.Branch(repo=repo, name="released")
    pach.pfs.CreateBranch(pfs_pb2.CreateBranchRequest(branch=branch, head=head, trigger=trigger))


def _followed(pach: Pach, repo: Message, commits: int) -> list[bool]:
    """After which of so many more commits of a hundred bytes `released` is where `master` is."""
    seen = []
    for number in range(commits):
        commit = pach.commit(repo, add(f"/more-{number}", b"x" * 100))
        seen.append(pach.head(repo, "released") == commit.id)
    return seen


def test_from_a_later_commit_on_so_many_are_waited_for(pach: Pach, repo: Message) -> None:
    pach.commit(repo, add("/root"))
    _wait(pach, repo, pach.commit(repo, add("/a")), commits=2)
    assert _followed(pach, repo, 4) == [False, True, False, True]


@pytest.mark.since("2.8", "trigger that counts a root commit")
def test_a_root_counts_though_the_branch_is_there_already(pach: Pach, repo: Message) -> None:
    _wait(pach, repo, pach.commit(repo, add("/root")), commits=2)
    assert _followed(pach, repo, 3) == [True, False, True]


@pytest.mark.parametrize(
    "condition",
    [
        {"commits": 1},
        {"commits": 3},
        {"size": "250"},
        {"size": "150", "commits": 3},
        {"size": "150", "commits": 3, "all": True},
    ],
    ids=["one", "three", "size", "either", "both"],
)
@pytest.mark.parametrize("begins", ["empty", "root"])
def test_what_is_waited_for(
    pach: Pach, repo: Message, recorded: Recording, condition: dict[str, Any], begins: str
) -> None:
    root = pach.commit(repo, add("/root"))
    _wait(pach, repo, None if begins == "empty" else root, **condition)
    seen = _followed(pach, repo, 6)
    assert any(seen)
    recorded(seen)


def test_a_branch_that_is_moved_keeps_its_condition(pach: Pach, repo: Message) -> None:
    root = pach.commit(repo, add("/root"))
    _wait(pach, repo, pach.commit(repo, add("/a")), commits=1)
    branch = pfs_pb2.Branch(repo=repo, name="released")
    pach.pfs.CreateBranch(pfs_pb2.CreateBranchRequest(branch=branch, head=root))
    info = pach.pfs.InspectBranch(pfs_pb2.InspectBranchRequest(branch=branch))
    assert (info.head.id, info.trigger.branch, info.trigger.commits) == (root.id, "master", 1)

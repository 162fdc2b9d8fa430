"""What letting go of old commits rests on: they go one by one, newest first, and nothing else does."""

from __future__ import annotations

from python_pachyderm.proto.v2.pfs import pfs_pb2

from .pach import Commit, Message, Pach, add, delete
from .recording import Recording, refusal


def _squash(pach: Pach, commit: Commit) -> str:
    chosen = pfs_pb2.CommitSet(id=commit.id)
    return refusal(pach.pfs.SquashCommitSet, pfs_pb2.SquashCommitSetRequest(commit_set=chosen))


def _drop(pach: Pach, commit: Commit) -> str:
    chosen = pfs_pb2.CommitSet(id=commit.id)
    return refusal(pach.pfs.DropCommitSet, pfs_pb2.DropCommitSetRequest(commit_set=chosen))


def _delete_branch(pach: Pach, repo: Message, name: str = "master") -> None:
    pach.pfs.DeleteBranch(pfs_pb2.DeleteBranchRequest(branch=pfs_pb2.Branch(repo=repo, name=name)))


def _commits(pach: Pach, repo: Message) -> list[str]:
    return [info.commit.id for info in pach.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=repo, all=True))]


def _line(pach: Pach, repo: Message) -> list[Commit]:
    """Four commits that put, append and delete."""
    return [
        pach.commit(repo, add("/a", b"1"), add("/log", b"1")),
        pach.commit(repo, add("/b", b"2"), add("/log", b"2")),
        pach.commit(repo, delete("/a"), add("/log", b"3")),
        pach.commit(repo, add("/d", b"4"), add("/log", b"4")),
    ]


def test_all_before_the_head_are_squashed_newest_first(pach: Pach, repo: Message) -> None:
    *old, head = _line(pach, repo)
    before = pach.tree(head)
    assert [_squash(pach, commit) for commit in reversed(old)] == ["OK"] * 3
    assert (_commits(pach, repo), pach.head(repo)) == ([head.id], head.id)
    assert pach.inspect(head).parent_commit.id == ""
    assert pach.tree(head) == before
    assert pach.read(head, "/log") == b"1234"


def test_what_follows_on_a_head_that_lost_its_past(pach: Pach, repo: Message, recorded: Recording) -> None:
    """Reading, differences and the commit's own change are as they would have been."""
    *old, head = _line(pach, repo)
    for commit in reversed(old):
        assert _squash(pach, commit) == "OK"
    child = pach.commit(repo, delete("/b"), add("/log", b"5"), parent=head)
    assert pach.paths(child) == ["/", "/d", "/log"]
    assert pach.read(child, "/log") == b"12345"
    change = pach.diff(child, head)
    assert [difference.old_file.file.path for difference in change if not difference.new_file.file.path] == [
        "/b"
    ]
    first = pach.diff(head)
    recorded(
        {
            "child": [
                [difference.new_file.file.path, difference.old_file.file.path] for difference in change
            ],
            "head, now a root": [
                [difference.new_file.file.path, difference.old_file.file.path] for difference in first
            ],
        }
    )


def test_a_squash_where_branches_part_gives_both_children_its_parent(pach: Pach, repo: Message) -> None:
    first, fork = pach.commit(repo, add("/a", b"1")), pach.commit(repo, add("/b", b"2"))
    sides = [pach.commit(repo, add(f"/{side}", b"3"), branch=side, parent=fork) for side in ("left", "right")]
    _delete_branch(pach, repo)
    assert _squash(pach, fork) == "OK"
    assert [pach.inspect(side).parent_commit.id for side in sides] == [first.id] * 2
    assert [pach.paths(side) for side in sides] == [["/", "/a", "/b", "/left"], ["/", "/a", "/b", "/right"]]


def test_without_its_branch_a_line_is_dropped_newest_first(
    pach: Pach, repo: Message, recorded: Recording
) -> None:
    line = _line(pach, repo)
    _delete_branch(pach, repo)
    assert _commits(pach, repo) == [commit.id for commit in reversed(line)]
    with_children = _drop(pach, line[0])
    assert with_children != "OK"
    assert [_drop(pach, commit) for commit in reversed(line)] == ["OK"] * 4
    assert _commits(pach, repo) == []
    recorded(with_children)


def test_taking_out_what_is_gone_is_no_error(pach: Pach, repo: Message) -> None:
    first, second, third = (pach.commit(repo, add(path, b"1")) for path in ("/a", "/b", "/c"))
    assert _squash(pach, second) == "OK"
    assert _drop(pach, third) == "OK"
    assert (_squash(pach, second), _drop(pach, third)) == ("OK", "OK")
    assert _commits(pach, repo) == [first.id]


def test_a_commit_with_an_open_child_stays(pach: Pach, repo: Message, recorded: Recording) -> None:
    parent = pach.commit(repo, add("/a", b"1"))
    child = pach.start(repo, parent=parent)
    answers = {"squash": _squash(pach, parent), "drop": _drop(pach, parent)}
    assert "OK" not in answers.values()
    pach.modify(child, add("/b", b"2"))
    pach.finish(child)
    assert pach.inspect(child).parent_commit.id == parent.id
    assert pach.paths(child) == ["/", "/a", "/b"]
    recorded(answers)


def test_squashing_a_failed_commit_brings_nothing_of_it_back(pach: Pach, repo: Message) -> None:
    pach.commit(repo, add("/a", b"1"))
    failed = pach.start(repo)
    pach.modify(failed, add("/b", b"2"))
    pach.finish(failed, error="it went wrong")
    child = pach.commit(repo, add("/c", b"3"))
    assert _squash(pach, failed) == "OK"
    assert pach.paths(child) == ["/", "/a", "/c"]
    assert pach.paths(pach.commit(repo, add("/d", b"4"))) == ["/", "/a", "/c", "/d"]


def test_a_file_set_outlives_its_commit(pach: Pach, repo: Message) -> None:
    """What was frozen can be read though its commit was squashed, or dropped, meanwhile."""
    first, second, third = (pach.commit(repo, add(path, b"1")) for path in ("/a", "/b", "/c"))
    sets = [pach.file_set(commit) for commit in (second, third)]
    assert (_squash(pach, second), _drop(pach, third)) == ("OK", "OK")
    other = [pach.start(repo, name, parent=None) for name in ("one", "two")]
    for commit, file_set in zip(other, sets, strict=True):
        pach.add_file_set(commit, file_set)
        pach.finish(commit)
    assert [pach.paths(commit) for commit in other] == [["/", "/a", "/b"], ["/", "/a", "/b", "/c"]]
    assert pach.head(repo) == first.id

"""Branches and their heads, commits and their order, parents, ends."""

from __future__ import annotations

import string

from python_pachyderm.proto.v2.pfs import pfs_pb2

from .pach import Commit, Message, Pach, add, unknown_commit
from .projects import Project
from .recording import Recording, refusal


def _branch(pach: Pach, repo: Message, name: str, head: Commit | None = None) -> None:
    pach.pfs.CreateBranch(pfs_pb2.CreateBranchRequest(branch=pfs_pb2.Branch(repo=repo, name=name), head=head))


def _heads(pach: Pach, repo: Message, *, reverse: bool = False) -> list[list[str]]:
    listed = pach.pfs.ListBranch(pfs_pb2.ListBranchRequest(repo=repo, reverse=reverse))
    return [[info.branch.name, info.head.id] for info in listed]


def _told(info: Message) -> dict[str, object]:
    return {
        "id": info.commit.id,
        "branch in the answer": info.commit.branch.name,
        "parent": info.parent_commit.id,
        "children": sorted(child.id for child in info.child_commits),
        "origin": pfs_pb2.OriginKind.Name(info.origin.kind),
        "description": info.description,
        "error": info.error,
        "size": info.details.size_bytes,
        "has": [name for name in ("started", "finishing", "finished") if info.HasField(name)],
    }


def _list(pach: Pach, repo: Message, **asked: object) -> list[str]:
    return [info.commit.id for info in pach.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=repo, **asked))]


def test_branch_name_characters(pach: Pach, repo: Message, recorded: Recording) -> None:
    answers = {}
    for character in [*"azAZ09 ", *string.punctuation, "é"]:
        name = f"b{character}{ord(character)}"
        answers[character] = refusal(_branch, pach, repo, name)
    legal = {c for c, answer in answers.items() if answer == "OK"}
    assert legal == set("azAZ09_-")
    recorded(answers)


def test_branch_names_are_long_if_one_likes(pach: Pach, repo: Message, recorded: Recording) -> None:
    answers = [[n, refusal(_branch, pach, repo, "b" * n)] for n in (51, 64, 255, 256, 1000)]
    answers.append(["an id", refusal(_branch, pach, repo, "0123456789abcdef" * 2)])
    assert all(answer == "OK" for _, answer in answers[:-1])
    recorded(answers)


def test_a_branch_made_without_a_head_gets_an_empty_commit(
    pach: Pach, repo: Message, recorded: Recording
) -> None:
    _branch(pach, repo, "new")
    head = pfs_pb2.Commit(repo=repo, id=pach.head(repo, "new"))
    info = _told(pach.inspect(head, wait=True))
    assert info["origin"] == "AUTO"
    assert info["size"] == 0
    recorded(info)


def test_branches_are_listed_with_their_heads(pach: Pach, repo: Message, recorded: Recording) -> None:
    first = pach.commit(repo, add("/a", b"1"))
    second = pach.commit(repo, add("/b", b"2"))
    _branch(pach, repo, "old", first)
    _branch(pach, repo, "another", second)
    pach.start(repo, "open")
    heads = _heads(pach, repo)
    by_name = dict(heads)
    assert by_name["master"] == by_name["another"] == second.id
    assert by_name["old"] == first.id
    backwards = _heads(pach, repo, reverse=True)
    assert backwards == heads[::-1]
    recorded(heads)


def test_an_open_head_is_told_by_its_commit(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.start(repo, description="what for")
    info = _told(pach.inspect(commit))
    assert info["id"] == pach.head(repo)
    assert info["has"] == ["started"]
    recorded(info)


def test_a_branch_moves_to_an_old_commit_and_back(pach: Pach, repo: Message) -> None:
    first = pach.commit(repo, add("/a", b"1"))
    second = pach.commit(repo, add("/b", b"2"))
    _branch(pach, repo, "master", first)
    assert pach.head(repo) == first.id
    named = pfs_pb2.Commit(repo=repo, branch=pfs_pb2.Branch(repo=repo, name="master"))
    assert pach.paths(named) == ["/", "/a"]
    _branch(pach, repo, "master", second)
    assert pach.paths(named) == ["/", "/a", "/b"]


def test_a_branch_keeps_its_trigger(pach: Pach, repo: Message, recorded: Recording) -> None:
    pach.commit(repo, add("/a", b"1"))
    trigger = pfs_pb2.Trigger(branch="master", size="1K", commits=3, all=True)
    target = pfs_pb2.Branch(repo=repo, name="released")
    pach.pfs.CreateBranch(pfs_pb2.CreateBranchRequest(branch=target, trigger=trigger))
    trigger_info = pach.pfs.InspectBranch(pfs_pb2.InspectBranchRequest(branch=target)).trigger
    assert (trigger_info.branch, trigger_info.size, trigger_info.commits, trigger_info.all) == (
        "master",
        "1K",
        3,
        True,
    )
    itself = pfs_pb2.Trigger(branch="released")
    recorded(
        {
            "branch": trigger_info.branch,
            "on itself": refusal(
                pach.pfs.CreateBranch, pfs_pb2.CreateBranchRequest(branch=target, trigger=itself)
            ),
        }
    )


def test_a_deleted_branch_leaves_its_commits(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.commit(repo, add("/a", b"1"))
    pach.pfs.DeleteBranch(pfs_pb2.DeleteBranchRequest(branch=pfs_pb2.Branch(repo=repo, name="master")))
    assert _heads(pach, repo) == []
    assert _list(pach, repo, all=True) == [commit.id]
    assert pach.read(commit, "/a") == b"1"
    answer = refusal(pach.head, repo)
    assert answer.startswith("NOT_FOUND")
    recorded(answer)


def test_commits_are_told_newest_first(pach: Pach, repo: Message, recorded: Recording) -> None:
    commits = [pach.commit(repo, add("/a", b"1")) for _ in range(4)]
    ids = [commit.id for commit in commits]
    lists = {
        "all": _list(pach, repo),
        "two": _list(pach, repo, number=2),
        "reverse": _list(pach, repo, reverse=True),
        "to the third": _list(pach, repo, to=commits[2]),
        "from the first": _list(pach, repo, to=commits[3], **{"from": commits[0]}),
        "from the first, no to": _list_or_refusal(pach, repo, commits[0]),
        "to the branch": _list(
            pach, repo, to=pfs_pb2.Commit(repo=repo, branch=pfs_pb2.Branch(repo=repo, name="master"))
        ),
    }
    assert lists["all"] == lists["to the branch"] == ids[::-1]
    assert lists["two"] == ids[:1:-1]
    assert lists["to the third"] == ids[2::-1]
    assert lists["from the first"] == ids[:0:-1], "exclusive of from, inclusive of to"
    recorded({"made": ids, **lists})


def _list_or_refusal(pach: Pach, repo: Message, start: Commit) -> object:
    answer = refusal(_list, pach, repo, **{"from": start})
    return _list(pach, repo, **{"from": start}) if answer == "OK" else answer


def test_commits_are_listed_by_origin(pach: Pach, repo: Message, recorded: Recording) -> None:
    user = pach.commit(repo, add("/a", b"1"))
    _branch(pach, repo, "new")
    auto = pach.head(repo, "new")
    lists = {
        "default": _list(pach, repo),
        "all": _list(pach, repo, all=True),
        "user": _list(pach, repo, origin_kind=pfs_pb2.USER),
        "auto": _list(pach, repo, origin_kind=pfs_pb2.AUTO),
    }
    assert set(lists["all"]) == {user.id, auto}
    assert lists["user"] == [user.id]
    assert lists["auto"] == [auto]
    recorded({"user commit": user.id, "auto commit": auto, **lists})


def test_what_a_commit_tells(pach: Pach, repo: Message, recorded: Recording) -> None:
    first = pach.start(repo, description="said at the start")
    pach.modify(first, add("/a", b"12345"))
    pach.finish(first)
    second = pach.start(repo, description="said at the start")
    pach.modify(second, add("/b", b"123"))
    pach.finish(second, description="said at the end")
    third = pach.start(repo)
    pach.finish(third, error="it went wrong")
    infos = [_told(pach.inspect(commit)) for commit in (first, second, third)]
    assert [info["parent"] for info in infos] == ["", first.id, second.id]
    assert [info["description"] for info in infos] == ["said at the start", "said at the end", ""]
    assert [info["error"] for info in infos] == ["", "", "it went wrong"]
    assert [info["size"] for info in infos][:2] == [5, 8]
    recorded(infos)


def test_an_explicit_parent_moves_the_head(pach: Pach, repo: Message, recorded: Recording) -> None:
    first = pach.commit(repo, add("/a", b"1"))
    second = pach.commit(repo, add("/b", b"2"))
    third = pach.commit(repo, add("/c", b"3"), parent=first)
    assert pach.head(repo) == third.id
    assert pach.paths(third) == ["/", "/a", "/c"]
    infos = [_told(pach.inspect(commit)) for commit in (first, second, third)]
    assert infos[0]["children"] == sorted([second.id, third.id])
    recorded([[info["id"], info["parent"]] for info in infos])


def test_a_fresh_branch_starts_without_a_parent(pach: Pach, repo: Message, recorded: Recording) -> None:
    pach.commit(repo, add("/a", b"1"))
    root = pach.commit(repo, add("/b", b"2"), branch="fresh")
    info = _told(pach.inspect(root))
    assert info["parent"] == ""
    assert pach.paths(root) == ["/", "/b"]
    recorded(info)


def test_a_commit_may_start_where_another_branch_is(pach: Pach, repo: Message) -> None:
    first = pach.commit(repo, add("/a", b"1"))
    fork = pach.commit(repo, add("/b", b"2"), branch="fork", parent=first)
    assert pach.inspect(fork).parent_commit.id == first.id
    assert pach.paths(fork) == ["/", "/a", "/b"]
    assert pach.head(repo) == first.id


def test_an_open_head_blocks_the_next_start(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.start(repo)
    blocked = refusal(pach.start, repo)
    assert blocked != "OK"
    elsewhere = refusal(pach.start, repo, "elsewhere", parent=commit)
    assert elsewhere != "OK", "nor may its child be started"
    pach.finish(commit)
    assert refusal(pach.start, repo) == "OK"
    recorded([blocked, elsewhere])


def test_a_child_may_start_while_its_parent_is_finishing(pach: Pach, repo: Message) -> None:
    commit = pach.start(repo)
    pach.modify(commit, add("/a", b"1"))
    pach.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commit))
    child = pach.start(repo)
    pach.finish(child)
    assert pach.paths(child) == ["/", "/a"]


def test_clearing_empties_an_open_commit(pach: Pach, repo: Message, recorded: Recording) -> None:
    pach.commit(repo, add("/a", b"1"))
    commit = pach.start(repo)
    pach.modify(commit, add("/b", b"2"))
    pach.pfs.ClearCommit(pfs_pb2.ClearCommitRequest(commit=commit))
    pach.modify(commit, add("/c", b"3"))
    pach.finish(commit)
    assert pach.paths(commit) == ["/", "/a", "/c"]
    answer = refusal(pach.pfs.ClearCommit, pfs_pb2.ClearCommitRequest(commit=commit))
    assert answer != "OK"
    recorded(answer)


def test_finishing_twice_is_refused(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.commit(repo)
    answers = {
        "finish": refusal(pach.finish, commit),
        "write": refusal(pach.modify, commit, add("/a", b"1")),
    }
    assert "OK" not in answers.values()
    recorded(answers)


def test_a_failed_commit_is_read_but_not_inherited(pach: Pach, repo: Message, recorded: Recording) -> None:
    pach.commit(repo, add("/a", b"1"))
    failed = pach.start(repo)
    pach.modify(failed, add("/b", b"2"))
    pach.finish(failed, error="it went wrong")
    child = pach.commit(repo, add("/c", b"3"))
    assert pach.inspect(child).parent_commit.id == failed.id
    assert pach.paths(failed) == ["/", "/a", "/b"]
    assert pach.paths(child) == ["/", "/a", "/c"], "what failed is skipped"
    recorded({"failed": pach.paths(failed), "child": pach.paths(child), "told": _told(pach.inspect(failed))})


def test_squash_re_parents_the_children(pach: Pach, repo: Message, recorded: Recording) -> None:
    first = pach.commit(repo, add("/a", b"1"))
    second = pach.commit(repo, add("/b", b"2"))
    third = pach.commit(repo, add("/c", b"3"))
    pach.pfs.SquashCommitSet(pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=second.id)))
    assert pach.inspect(third).parent_commit.id == first.id
    assert pach.paths(third) == ["/", "/a", "/b", "/c"], "its tree stays"
    gone = refusal(pach.inspect, second)
    assert gone.startswith("NOT_FOUND")
    head = refusal(
        pach.pfs.SquashCommitSet, pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=third.id))
    )
    assert head != "OK", "a head has no child to squash into"
    recorded({"list": _list(pach, repo), "first": first.id, "third": third.id, "gone": gone, "head": head})


def test_drop_takes_the_head_back(pach: Pach, repo: Message, recorded: Recording) -> None:
    first = pach.commit(repo, add("/a", b"1"))
    second = pach.commit(repo, add("/b", b"2"))

    def drop(commit: Commit) -> None:
        pach.pfs.DropCommitSet(pfs_pb2.DropCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=commit.id)))

    with_children = refusal(drop, first)
    assert with_children != "OK"
    drop(second)
    assert pach.head(repo) == first.id
    assert refusal(pach.read, second, "/b").startswith("NOT_FOUND")
    recorded({"with children": with_children, "list": _list(pach, repo)})


def test_an_empty_commit_is_a_commit(pach: Pach, repo: Message, recorded: Recording) -> None:
    first = pach.commit(repo, add("/a", b"1"))
    empty = pach.commit(repo)
    assert pach.tree(empty) == pach.tree(first)
    assert pach.diff(empty) == []
    recorded(_told(pach.inspect(empty)))


def test_commits_of_one_transaction_share_their_id(pach: Pach, project: Project) -> None:
    from python_pachyderm.proto.v2.transaction import transaction_pb2, transaction_pb2_grpc  # noqa: PLC0415

    stub = transaction_pb2_grpc.APIStub(pach.channel)
    one, two = project.repo("one"), project.repo("two")
    requests = [
        transaction_pb2.TransactionRequest(
            start_commit=pfs_pb2.StartCommitRequest(branch=pfs_pb2.Branch(repo=repo, name="master"))
        )
        for repo in (one, two)
    ]
    stub.BatchTransaction(transaction_pb2.BatchTransactionRequest(requests=requests))
    assert pach.head(one) == pach.head(two)


def test_branches_of_one_transaction_move_all_or_none(pach: Pach, project: Project) -> None:
    from python_pachyderm.proto.v2.transaction import transaction_pb2, transaction_pb2_grpc  # noqa: PLC0415

    stub = transaction_pb2_grpc.APIStub(pach.channel)
    one, two = project.repo("one"), project.repo("two")
    old = [pach.commit(repo, add("/a", b"1")) for repo in (one, two)]
    new = [pach.commit(repo, add("/b", b"2")) for repo in (one, two)]

    def move(*heads: Commit) -> None:
        requests = [
            transaction_pb2.TransactionRequest(
                create_branch=pfs_pb2.CreateBranchRequest(
                    branch=pfs_pb2.Branch(repo=head.repo, name="live"), head=head
                )
            )
            for head in heads
        ]
        stub.BatchTransaction(transaction_pb2.BatchTransactionRequest(requests=requests))

    move(*old)
    unknown = unknown_commit(two)
    assert refusal(move, new[0], unknown) != "OK"
    assert [pach.head(repo, "live") for repo in (one, two)] == [commit.id for commit in old]
    move(*new)
    assert [pach.head(repo, "live") for repo in (one, two)] == [commit.id for commit in new]


def test_unknown_names_are_not_found(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    pach.commit(repo, add("/a", b"1"))
    unknown = unknown_commit(repo)
    answers = {
        "commit": refusal(pach.inspect, unknown),
        "branch": refusal(pach.head, repo, "no"),
        "branch of an unknown repo": refusal(pach.head, project.named("no")),
        "start in an unknown repo": refusal(pach.start, project.named("no")),
        "list of an unknown repo": refusal(_list, pach, project.named("no")),
        "branches of an unknown repo": refusal(_heads, pach, project.named("no")),
        "branch at an unknown commit": refusal(_branch, pach, repo, "new", unknown),
        "a bad id": refusal(pach.inspect, pfs_pb2.Commit(repo=repo, id="zz")),
    }
    assert all(answers[kind].startswith("NOT_FOUND") for kind in ("commit", "branch"))
    recorded(answers)


def test_a_followed_repo_tells_each_commit_once_in_order(pach: Pach, repo: Message) -> None:
    first = pach.commit(repo, add("/a", b"1"))
    followed = pach.pfs.SubscribeCommit(
        pfs_pb2.SubscribeCommitRequest(repo=repo, branch="master", state=pfs_pb2.FINISHED)
    )
    assert next(followed).commit.id == first.id
    second = pach.commit(repo, add("/b", b"2"))
    assert next(followed).commit.id == second.id
    followed.cancel()


def test_a_branchs_name_stands_for_its_head(pach: Pach, repo: Message) -> None:
    named = pfs_pb2.Commit(repo=repo, branch=pfs_pb2.Branch(repo=repo, name="master"))
    first = pach.commit(repo, add("/a", b"1"))
    assert pach.inspect(named).commit.id == first.id
    second = pach.start(repo)
    assert pach.inspect(named).commit.id == second.id
    pach.modify(named, add("/b", b"2"))
    pach.finish(second)
    assert pach.paths(named) == ["/", "/a", "/b"]

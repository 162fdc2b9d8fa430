"""What a lock rests on: an open commit is opened once, whoever asks, and is closed by its id."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from python_pachyderm.proto.v2.pfs import pfs_pb2

from .pach import Message, Pach
from .recording import refusal


def test_no_commit_is_opened_on_a_branch_whose_head_is_open(pach: Pach, repo: Message) -> None:
    first = pach.start(repo, "holder", description="who came first")
    assert refusal(pach.start, repo, "holder") not in {"OK", "UNAVAILABLE", "ABORTED", "INTERNAL"}
    assert pach.head(repo, "holder") == first.id
    assert pach.inspect(first).description == "who came first"


def test_of_many_at_once_one_opens_it(pach: Pach, repo: Message) -> None:
    """On a branch that is new, and again on one that is there."""
    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: refusal(pach.start, repo, "holder"), range(8)))
        assert answers.count("OK") == 1, answers
        listed = pach.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=repo, all=True))
        opened = [info.commit for info in listed if not info.HasField("finishing")]
        assert [commit.id for commit in opened] == [pach.head(repo, "holder")]
        pach.finish(opened[0], error="its holder ended")


def test_who_closes_the_old_one_leaves_the_next_one_alone(pach: Pach, repo: Message) -> None:
    old = pach.start(repo, "holder")
    pach.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=old, error="its holder ended"))
    new = pach.start(repo, "holder")
    refusal(pach.pfs.FinishCommit, pfs_pb2.FinishCommitRequest(commit=old, error="its holder ended"))
    assert not pach.inspect(new).HasField("finishing")


def test_a_repo_with_an_open_commit_is_deleted_by_force(pach: Pach, repo: Message) -> None:
    opened = pach.start(repo, "holder")
    pach.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo, force=True))
    assert refusal(pach.inspect, opened).startswith("NOT_FOUND")


def test_a_description_changes_under_an_open_commit(pach: Pach, repo: Message) -> None:
    """A holder tells its phase so; what it holds, and the repo's age, stay."""
    created = pach.pfs.InspectRepo(pfs_pb2.InspectRepoRequest(repo=repo)).created
    opened = pach.start(repo, "holder", description="who holds it")
    for text in ("one", "two", ""):
        pach.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo, description=text, update=True))
        info = pach.pfs.InspectRepo(pfs_pb2.InspectRepoRequest(repo=repo))
        assert (info.description, info.created) == (text, created)
    assert pach.head(repo, "holder") == opened.id
    assert not pach.inspect(opened).HasField("finishing")


def test_an_update_of_a_repo_that_is_gone_makes_it_anew(pach: Pach, repo: Message) -> None:
    """So that a sign of life must not come after the end."""
    pach.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo, force=True))
    pach.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo, description="late", update=True))
    assert pach.pfs.InspectRepo(pfs_pb2.InspectRepoRequest(repo=repo)).description == "late"
    assert list(pach.pfs.ListBranch(pfs_pb2.ListBranchRequest(repo=repo))) == []

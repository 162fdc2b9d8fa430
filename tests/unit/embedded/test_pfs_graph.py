"""Projects, repos, branches and commits: the graph, and what happens downstream."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import grpc
import pytest
from pfs_server import FINISHED, Pfs, put, refusal
from python_pachyderm.proto.v2.pfs import pfs_pb2

NOT_FOUND, EXISTS, UNKNOWN = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.UNKNOWN,
)
AUTO, USER, READY = pfs_pb2.AUTO, pfs_pb2.USER, pfs_pb2.READY


def branch(repo: Any, name: str = "master") -> Any:
    return pfs_pb2.Branch(repo=repo, name=name)


def listed(pfs: Pfs, **asked: Any) -> list[str]:
    start = asked.pop("start", None)
    request = pfs_pb2.ListCommitRequest(**asked)
    if start:
        getattr(request, "from").CopyFrom(start)
    return [info.commit.id for info in pfs.stub.ListCommit(request)]


def delete_branch(pfs: Pfs, repo: Any, name: str, *, force: bool = False) -> None:
    pfs.stub.DeleteBranch(pfs_pb2.DeleteBranchRequest(branch=branch(repo, name), force=force))


def squash(pfs: Pfs, set_id: str) -> None:
    pfs.stub.SquashCommitSet(pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=set_id)))


def drop(pfs: Pfs, set_id: str) -> None:
    pfs.stub.DropCommitSet(pfs_pb2.DropCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=set_id)))


def test_a_project_is_made_described_and_deleted_when_empty(pfs: Pfs) -> None:
    project = pfs_pb2.Project(name="p")
    create = pfs_pb2.CreateProjectRequest(project=project, description="one")
    pfs.stub.CreateProject(create)
    assert refusal(lambda: pfs.stub.CreateProject(create))[0] == EXISTS
    pfs.stub.CreateProject(pfs_pb2.CreateProjectRequest(project=project, description="two", update=True))
    info = pfs.stub.InspectProject(pfs_pb2.InspectProjectRequest(project=project))
    assert info.description == "two"
    assert info.created_at.seconds > 0
    repo = pfs_pb2.Repo(name="r", type="user", project=project)
    pfs.stub.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo))
    delete = pfs_pb2.DeleteProjectRequest(project=project)
    assert refusal(lambda: pfs.stub.DeleteProject(delete))[0] == grpc.StatusCode.FAILED_PRECONDITION
    pfs.stub.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo))
    pfs.stub.DeleteProject(delete)
    names = [info.project.name for info in pfs.stub.ListProject(pfs_pb2.ListProjectRequest())]
    assert names == ["default"]


def test_a_system_repo_needs_its_user_repo_and_goes_with_it(pfs: Pfs) -> None:
    assert refusal(lambda: pfs.repo("r", "spec"))[0] == NOT_FOUND
    repo = pfs.repo("r")
    pfs.repo("r", "spec")
    pfs.stub.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo))
    assert list(pfs.stub.ListRepo(pfs_pb2.ListRepoRequest())) == []


def test_a_repo_made_again_has_another_birth(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    inspect = pfs_pb2.InspectRepoRequest(repo=repo)
    born = pfs.stub.InspectRepo(inspect).created
    pfs.commit(repo, put("/a"))
    pfs.stub.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo))
    pfs.repo("r")
    again = pfs.stub.InspectRepo(inspect)
    assert (again.created.seconds, again.created.nanos) > (born.seconds, born.nanos)
    assert list(again.branches) == []


def test_repos_are_listed_by_type_and_project(pfs: Pfs) -> None:
    for kind in ("user", "spec", "meta"):
        pfs.repo("r", kind)
    project = pfs_pb2.Project(name="other")
    types = [r.repo.type for r in pfs.stub.ListRepo(pfs_pb2.ListRepoRequest(type="meta"))]
    assert types == ["meta"]
    assert list(pfs.stub.ListRepo(pfs_pb2.ListRepoRequest(projects=[project]))) == []


def test_a_branch_without_a_head_gets_an_empty_automatic_commit(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    pfs.branch(repo, "b")
    info = pfs.inspect(pfs.head(repo, "b"))
    assert info.origin.kind == AUTO
    assert info.HasField("finished")
    assert pfs.walk(info.commit) == []


def test_a_branch_can_be_put_at_any_commit_and_moved(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    first, second = pfs.commit(repo, put("/a")), pfs.commit(repo, put("/b"))
    pfs.branch(repo, "b", head=first)
    assert pfs.head(repo, "b").id == first.id
    pfs.branch(repo, "b", head=second)
    assert pfs.head(repo, "b").id == second.id


def test_an_open_head_blocks_the_next_start(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    opened = pfs.start(repo)
    code, details = refusal(lambda: pfs.start(repo))
    assert (code, "has not been finished" in details) == (UNKNOWN, True)
    pfs.finish(opened)
    pfs.finish(pfs.start(repo))


def test_a_start_takes_any_parent_and_moves_the_head(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    first = pfs.commit(repo, put("/a"))
    pfs.commit(repo, put("/b"))
    diverged = pfs.start(repo, "master", parent=first)
    pfs.finish(diverged)
    assert pfs.head(repo).id == diverged.id
    assert pfs.inspect(diverged).parent_commit.id == first.id
    assert pfs.paths(diverged) == ["/", "/a"]
    fresh = pfs.start(repo, "fresh")
    assert not pfs.inspect(fresh).HasField("parent_commit")


def test_commits_are_found_by_id_and_branch_but_not_by_ancestry(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    commit = pfs.commit(repo, put("/a"))
    for name in (commit.id, "master"):
        assert pfs.inspect(pfs_pb2.Commit(repo=repo, id=name)).commit.id == commit.id
    for name in ("master^", "master~2", "master.1", f"{commit.id}^"):
        code, _ = refusal(lambda name=name: pfs.inspect(pfs_pb2.Commit(repo=repo, id=name)))
        assert code == grpc.StatusCode.UNIMPLEMENTED
    assert refusal(lambda: pfs.inspect(pfs_pb2.Commit(repo=repo, id="none")))[0] == NOT_FOUND
    assert refusal(lambda: pfs.inspect(pfs_pb2.Commit(repo=repo, id=uuid.uuid4().hex)))[0] == NOT_FOUND


def test_answers_name_commits_without_their_branch(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    commit = pfs.commit(repo, put("/a"))
    assert not commit.HasField("branch")
    assert not pfs.inspect(commit).commit.HasField("branch")
    assert not pfs.head(repo).HasField("branch")


def test_commits_are_listed_newest_first_and_cut_as_asked(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    ids = [pfs.commit(repo, put("/a")).id for _ in range(4)]
    commit = {text: pfs_pb2.Commit(repo=repo, id=text) for text in ids}
    assert listed(pfs, repo=repo) == ids[::-1]
    assert listed(pfs, repo=repo, reverse=True, number=2) == ids[:2]
    assert listed(pfs, repo=repo, to=commit[ids[2]]) == ids[2::-1]
    assert listed(pfs, repo=repo, to=commit[ids[3]], start=commit[ids[1]]) == [ids[3], ids[2]]
    assert listed(pfs, repo=repo, origin_kind=AUTO) == []
    assert refusal(lambda: listed(pfs, repo=repo, start=commit[ids[0]]))[0] == UNKNOWN


def test_waiting_ends_when_the_commit_is_finished(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    commit = pfs.start(repo)
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(pfs.inspect(commit, wait=FINISHED)))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    pfs.stub.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commit))
    waiting.join(10)
    assert answers[0].HasField("finished")


def test_a_subscription_tells_old_commits_and_then_new_ones(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    first = pfs.commit(repo, put("/a"))
    stream = pfs.stub.SubscribeCommit(
        pfs_pb2.SubscribeCommitRequest(repo=repo, branch="master", state=FINISHED)
    )
    assert next(stream).commit.id == first.id
    pfs.commit(repo, put("/b"), branch="elsewhere")
    second = pfs.commit(repo, put("/b"))
    assert next(stream).commit.id == second.id
    stream.cancel()


class Pipeline:
    """in -> mid -> out, as a pipeline layer would declare them."""

    def __init__(self, pfs: Pfs) -> None:
        self.source, self.mid, self.out = (pfs.repo(name) for name in ("in", "mid", "out"))
        pfs.branch(self.mid, "master", provenance=[branch(self.source)])
        pfs.branch(self.out, "master", provenance=[branch(self.mid)])
        for repo in (self.mid, self.out):
            pfs.finish(pfs.head(repo))


def test_a_commit_opens_commits_of_its_id_on_all_that_follows(pfs: Pfs) -> None:
    line = Pipeline(pfs)
    commit = pfs.start(line.source)
    infos = list(
        pfs.stub.InspectCommitSet(pfs_pb2.InspectCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=commit.id)))
    )
    assert [info.commit.repo.name for info in infos] == ["in", "mid", "out"]
    assert [info.origin.kind for info in infos] == [USER, AUTO, AUTO]
    assert {info.commit.id for info in infos} == {commit.id}
    assert not any(info.HasField("finished") for info in infos)


def test_a_commit_is_ready_once_its_provenance_is_finished(pfs: Pfs) -> None:
    line = Pipeline(pfs)
    commit = pfs.start(line.source)
    out = pfs_pb2.Commit(repo=line.out, id=commit.id)
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(pfs.inspect(out, wait=READY)))
    waiting.start()
    pfs.finish(commit)
    waiting.join(0.2)
    assert waiting.is_alive()
    pfs.finish(pfs_pb2.Commit(repo=line.mid, id=commit.id))
    waiting.join(10)
    assert answers[0].commit.id == commit.id


def test_users_start_no_commits_on_outputs(pfs: Pfs) -> None:
    line = Pipeline(pfs)
    assert "output branch" in refusal(lambda: pfs.start(line.mid))[1]


def test_an_output_is_told_with_all_it_follows_from(pfs: Pfs) -> None:
    line = Pipeline(pfs)
    info = pfs.stub.InspectBranch(pfs_pb2.InspectBranchRequest(branch=branch(line.out)))
    assert {b.repo.name for b in info.provenance} == {"in", "mid"}
    assert [b.repo.name for b in info.direct_provenance] == ["mid"]
    source = pfs.stub.InspectBranch(pfs_pb2.InspectBranchRequest(branch=branch(line.source)))
    assert {b.repo.name for b in source.subvenance} == {"mid", "out"}


def test_one_graph_takes_no_two_branches_of_a_repo(pfs: Pfs) -> None:
    line = Pipeline(pfs)
    pfs.branch(line.source, "second")
    other = pfs.repo("other")
    code, details = refusal(
        lambda: pfs.branch(other, "master", provenance=[branch(line.source, "second"), branch(line.out)])
    )
    assert (code, "cannot participate in a DAG" in details) == (UNKNOWN, True)
    assert refusal(lambda: pfs.head(other))[0] == NOT_FOUND


def test_a_branch_that_others_follow_is_deleted_only_by_force(pfs: Pfs) -> None:
    line = Pipeline(pfs)
    commit = pfs.commit(line.source, put("/a"))
    assert "direct provenance" in refusal(lambda: delete_branch(pfs, line.source, "master"))[1]
    assert refusal(lambda: pfs.stub.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=line.mid)))[0] == UNKNOWN
    delete_branch(pfs, line.source, "master", force=True)
    assert pfs.paths(commit) == ["/", "/a"]


def test_squashing_keeps_the_childs_files_and_its_own_change(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    first, second, third = (pfs.commit(repo, put(f"/{n}"), put("/all", n.encode())) for n in "abc")
    tree, change = pfs.tree(third), pfs.diff(third)
    squash(pfs, second.id)
    assert pfs.inspect(third).parent_commit.id == first.id
    assert pfs.tree(third) == tree
    project = pfs_pb2.Project(name="default")
    of_set = pfs_pb2.Repo(name="__filesets__", type="user", project=project)
    assert pfs.tree(pfs_pb2.Commit(repo=of_set, id=pfs.diff(third))) == pfs.tree(
        pfs_pb2.Commit(repo=of_set, id=change)
    )
    assert refusal(lambda: pfs.inspect(second))[0] == NOT_FOUND


def test_squashing_loses_nothing_and_dropping_only_the_last(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    first, second = pfs.commit(repo, put("/a")), pfs.commit(repo, put("/b"))
    assert "no children" in refusal(lambda: squash(pfs, second.id))[1]
    assert "has children" in refusal(lambda: drop(pfs, first.id))[1]
    drop(pfs, second.id)
    assert pfs.head(repo).id == first.id
    drop(pfs, first.id)
    head = pfs.inspect(pfs.head(repo))
    assert (head.origin.kind, head.HasField("finished")) == (AUTO, True)


def test_a_set_that_others_follow_from_is_not_dropped(pfs: Pfs) -> None:
    line = Pipeline(pfs)
    commit = pfs.commit(line.source, put("/a"))
    later = pfs.repo("later")
    pfs.branch(later, "master", provenance=[branch(line.source)])
    assert "subvenant" in refusal(lambda: drop(pfs, commit.id))[1]


@pytest.mark.parametrize(("condition", "fires"), [({"commits": 2}, True), ({"size": "1k"}, False)])
def test_a_trigger_moves_its_branch_when_due(pfs: Pfs, condition: dict[str, Any], fires: bool) -> None:
    repo = pfs.repo("r")
    pfs.commit(repo, put("/root"))
    start = pfs.commit(repo, put("/a"))
    trigger = pfs_pb2.Trigger(branch="master", **condition)
    pfs.branch(repo, "released", head=start, trigger=trigger)
    pfs.commit(repo, put("/b"))
    assert pfs.head(repo, "released").id == start.id
    last = pfs.commit(repo, put("/c"))
    assert (pfs.head(repo, "released").id == last.id) == fires


def test_triggers_in_a_loop_are_refused(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    pfs.branch(repo, "a")
    pfs.branch(repo, "b", trigger=pfs_pb2.Trigger(branch="a", commits=1))
    loop = pfs_pb2.Trigger(branch="b", commits=1)
    assert "loop" in refusal(lambda: pfs.branch(repo, "a", trigger=loop))[1]


def test_what_is_not_served_says_its_name(pfs: Pfs) -> None:
    code, details = refusal(lambda: pfs.stub.RunLoadTest(pfs_pb2.RunLoadTestRequest()))
    assert (code, "RunLoadTest" in details) == (grpc.StatusCode.UNIMPLEMENTED, True)

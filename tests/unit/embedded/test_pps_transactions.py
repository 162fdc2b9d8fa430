"""Several PFS calls as one: one commit set, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from pps_cluster import Project, new_project, running_server
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.transaction import transaction_pb2, transaction_pb2_grpc


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture
def project(address: str) -> Iterator[Project]:
    with new_project(address) as created:
        created.make_repo("other")
        yield created


def batch(project: Project, *calls: dict[str, Any]) -> Any:
    with grpc.insecure_channel(project.address.removeprefix("grpc://")) as channel:
        requests = [transaction_pb2.TransactionRequest(**call) for call in calls]
        stub = transaction_pb2_grpc.APIStub(channel)
        return stub.BatchTransaction(transaction_pb2.BatchTransactionRequest(requests=requests))


def start(project: Project, repo: str) -> dict[str, Any]:
    branch = pfs_pb2.Branch(repo=project.repo(repo), name="master")
    return {"start_commit": pfs_pb2.StartCommitRequest(branch=branch)}


def finish(project: Project, repo: str, commit_id: str = "") -> dict[str, Any]:
    return {"finish_commit": pfs_pb2.FinishCommitRequest(commit=project.commit(repo, commit_id))}


def test_commits_of_one_transaction_share_their_id(project: Project) -> None:
    answer = batch(project, start(project, "data"), start(project, "other"))
    ids = {response.commit.id for response in answer.responses}
    assert len(answer.responses) == 2
    assert len(ids) == 1
    batch(project, finish(project, "data", *ids), finish(project, "other", *ids))
    for repo in ("data", "other"):
        request = pfs_pb2.InspectCommitRequest(commit=project.commit(repo, *ids), wait=pfs_pb2.FINISHED)
        assert project.pfs.InspectCommit(request, timeout=30).HasField("finished")


def test_one_refusal_undoes_all_and_names_its_place(project: Project) -> None:
    new = {"create_repo": pfs_pb2.CreateRepoRequest(repo=project.repo("new"))}
    with pytest.raises(grpc.RpcError) as caught:
        batch(project, new, new)
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert "error running request 2 of 2" in caught.value.details()
    assert ("new", "user") not in project.repos()


def test_a_call_it_does_not_take_is_named(project: Project) -> None:
    squash = pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id="0" * 32))
    with pytest.raises(grpc.RpcError) as caught:
        batch(project, {"squash_commit_set": squash})
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "squash_commit_set in a transaction is not served" in caught.value.details()

"""What a moved head makes downstream: open AUTO commits with the same id on every branch that
follows from it, so that each branch's head follows from the heads of its provenance."""

from __future__ import annotations

from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.pfs.metadata import commits, provenance
from embedded_pachyderm.pfs.metadata.database import Transaction
from embedded_pachyderm.pfs.metadata.records import SPEC_REPO, branch_by_id, commit_by_id, repo_by_id


def moved_branches(transaction: Transaction) -> None:
    """Propagate every head that this transaction moved."""
    sql = transaction.sql
    downstream: dict[int, list[int]] = {}
    for branch_id in dict.fromkeys(transaction.moved_branches):
        for follower in provenance.subvenance(sql, branch_id):
            downstream.setdefault(follower, provenance.provenance(sql, follower))
    # upstream first: whoever follows has a larger provenance, and takes the heads that are moved here
    for branch_id, upstream in sorted(downstream.items(), key=lambda item: len(item[1])):
        if len(upstream) == 1 and _is_spec(transaction, upstream[0]):
            continue  # a spout writes its output by itself
        branch = branch_by_id(sql, branch_id)
        head = commit_by_id(sql, branch.head)
        if head and head.set_id == transaction.set_id:
            continue
        commit_id = commits.insert(
            transaction,
            branch.repo,
            origin=pfs_pb2.AUTO,
            parent=branch.head if head else None,
            upstream=commits.heads(sql, provenance.direct_provenance(sql, branch_id)),
        )
        commits.put_on_branch(sql, commit_id, branch_id)


def _is_spec(transaction: Transaction, branch_id: int) -> bool:
    branch = branch_by_id(transaction.sql, branch_id)
    return repo_by_id(transaction.sql, branch.repo).type == SPEC_REPO

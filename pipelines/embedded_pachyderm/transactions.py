"""Transactions over PFS: several calls as one, with one commit set and one propagation at its end.

Only `BatchTransaction` is served, with the calls that pipelines and restores make in it.
"""

from __future__ import annotations

from typing import Any

import grpc
from python_pachyderm.proto.v2.transaction import transaction_pb2

from embedded_pachyderm.pfs.metadata import branches, commits, repos
from embedded_pachyderm.pfs.metadata.database import Database, Transaction
from embedded_pachyderm.pfs.metadata.records import commit_message, repo_key, timestamp
from embedded_pachyderm.pfs.pfs_errors import PfsError

_METHOD = "BatchTransaction"


class TransactionService:
    """transaction_v2.API, as far as it is needed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, server: Any) -> None:
        handler = grpc.unary_unary_rpc_method_handler(
            self.batch,
            request_deserializer=transaction_pb2.BatchTransactionRequest.FromString,
            response_serializer=transaction_pb2.TransactionInfo.SerializeToString,
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("transaction_v2.API", {_METHOD: handler}),)
        )

    def batch(self, request: Any, context: Any) -> Any:
        answer = transaction_pb2.TransactionInfo(requests=request.requests)
        try:
            with self._database.write() as transaction:
                answer.transaction.id = transaction.set_id
                answer.started.CopyFrom(timestamp(transaction.time))
                for item in request.requests:
                    answer.responses.append(_apply(transaction, item))
        # outside the block: the transaction is rolled back before the caller hears of it
        except PfsError as error:
            place = f"request {len(answer.responses) + 1} of {len(request.requests)}"
            context.abort(error.code, f"error running {place}: {error}")
        return answer


def _apply(transaction: Transaction, item: Any) -> Any:
    sql = transaction.sql
    response = transaction_pb2.TransactionResponse()
    if item.HasField("create_repo"):
        call = item.create_repo
        repos.create(transaction, repo_key(call.repo), call.description, update=call.update)
    elif item.HasField("delete_repo"):
        call = item.delete_repo
        repos.delete(sql, repos.find(sql, repo_key(call.repo)), force=call.force)
    elif item.HasField("start_commit"):
        call = item.start_commit
        parent = call.parent if call.HasField("parent") else None
        commit = commits.start(transaction, call.branch, parent, call.description)
        response.commit.CopyFrom(commit_message(sql, commit))
    elif item.HasField("finish_commit"):
        call = item.finish_commit
        commit = commits.resolve(sql, call.commit)
        commits.finish(transaction, commit, description=call.description, error=call.error)
    elif item.HasField("create_branch"):
        branches.create(transaction, item.create_branch)
    elif item.HasField("delete_branch"):
        call = item.delete_branch
        branches.delete(sql, branches.find(sql, call.branch), force=call.force)
    else:
        names = [field.name for field, _ in item.ListFields()]
        raise _UnservedError(f"{''.join(names) or 'an empty request'} in a transaction")
    return response


class _UnservedError(PfsError):
    """A call that this double does not take in a transaction."""

    code = grpc.StatusCode.UNIMPLEMENTED

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not served by the embedded Pachyderm")

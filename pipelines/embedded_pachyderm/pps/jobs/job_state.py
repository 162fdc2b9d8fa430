"""A job's state, and the end of a job: its output and meta commit are finished with it."""

from __future__ import annotations

from typing import Any

import grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2
from python_pachyderm.proto.v2.transaction import transaction_pb2

from embedded_pachyderm.pps.engine import Engine, now
from embedded_pachyderm.pps.state import TERMINAL, Key, key_of


def set_state(engine: Engine, key: Key, job_id: str, state: int, reason: str = "") -> Any | None:
    """Move an unfinished job on; none when it is finished or gone."""

    def edit(info: Any) -> None:
        info.state, info.reason = state, reason
        if state == pps_pb2.JOB_STARTING:
            info.started.CopyFrom(now())
        if state in TERMINAL:
            info.finished.CopyFrom(now())

    return engine.state.edit_job(key, job_id, edit)


def finish(engine: Engine, info: Any, state: int, reason: str) -> None:
    """End a job that did not succeed: its commits are finished with the reason as their error."""
    key, job_id = key_of(info.job.pipeline), info.job.id
    # state first: whoever ends the job second stops here and does not finish its commits again
    if set_state(engine, key, job_id, state, reason) is None:
        return
    engine.logs.write(key, f"job ended: {reason}", job=job_id)
    try:
        finish_commits(engine, info.output_commit, reason)
    except grpc.RpcError as error:
        # Finished or gone already: then there is nothing to hold anybody up.
        engine.logs.write(key, f"the output commit was not finished: {error.details()}", job=job_id)


def finish_commits(engine: Engine, commit: Any, error: str) -> None:
    """Output and meta commit together."""
    engine.pfs.transact(
        transaction_pb2.TransactionRequest(
            finish_commit=pfs_pb2.FinishCommitRequest(commit=member, error=error, force=True)
        )
        for member in (meta_commit(commit), commit)
    )


def meta_commit(commit: Any) -> Any:
    """The commit of the pipeline's meta repo that belongs to this output commit."""
    meta = pfs_pb2.Commit()
    meta.CopyFrom(commit)
    meta.repo.type = "meta"
    if meta.HasField("branch"):
        meta.branch.repo.type = "meta"
    return meta

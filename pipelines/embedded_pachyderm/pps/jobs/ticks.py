"""A cron input's repo: one empty file a tick, named by its time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.pps.engine import Engine


def tick(engine: Engine, cron_input: Any, moment: datetime) -> None:
    """Commit one tick: an empty file named by its time."""
    commit = _head(cron_input)
    changes = [pfs_pb2.ModifyFileRequest(set_commit=commit)]
    if cron_input.overwrite:
        changes.append(pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path="/")))
    added = pfs_pb2.ModifyFileRequest()
    added.add_file.path = f"/{moment.strftime('%Y-%m-%dT%H:%M:%SZ')}"
    added.add_file.raw.value = b""
    changes.append(added)
    engine.pfs.stub.ModifyFile(iter(changes))


def newest_tick(engine: Engine, cron_input: Any) -> datetime | None:
    """The time of the last tick that is still there."""
    names = [info.file.path.rsplit("/", 1)[-1] for info in engine.pfs.glob(_head(cron_input), "/*")]
    return datetime.fromisoformat(max(names)) if names else None


def _head(cron_input: Any) -> Any:
    repo = pfs_pb2.Repo(name=cron_input.repo, type="user", project=pfs_pb2.Project(name=cron_input.project))
    return pfs_pb2.Commit(repo=repo, branch=pfs_pb2.Branch(repo=repo, name="master"))

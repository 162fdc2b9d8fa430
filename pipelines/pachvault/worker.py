"""A pipeline worker: where its inputs and output lie, and how it reaches Pachyderm.

The facts about the environment are Pachyderm's: https://docs.pachyderm.com (user code contract).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pachvault.errors import UsageError
from pachvault.pach.access import mounted_token

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker's environment."""

    pfs: Path
    job_id: str
    sidecar: str
    """Data is read through the worker's own sidecar: more workers, more bandwidth."""
    pachd: str
    token: str | None
    """That of the robot user, where a secret is mounted; else the pipeline's own, which reads its inputs."""

    @classmethod
    def from_environment(cls) -> Worker:
        """Read the environment; UsageError outside a worker."""
        env = os.environ
        job_id = env.get("PACH_JOB_ID")
        if not job_id:
            raise UsageError("PACH_JOB_ID is not set: a stage runs inside a pipeline's worker only")
        pachd = f"grpc://{env.get('PACHD_PEER_SERVICE_HOST')}:{env.get('PACHD_PEER_SERVICE_PORT')}"
        port = env.get("PEER_PORT")
        return cls(
            pfs=Path(env.get("PACHVAULT_PFS", "/pfs")),
            job_id=job_id,
            sidecar=f"grpc://127.0.0.1:{port}" if port else pachd,
            pachd=pachd,
            token=mounted_token.read() or env.get("PACH_TOKEN"),
        )

    def inputs(self, name: str, pattern: str) -> Iterator[Path]:
        """The files of an input that match a glob pattern, by name."""
        # is_file follows links: the entries of /pfs are symbolic links into a scratch folder
        yield from sorted(path for path in (self.pfs / name).glob(pattern) if path.is_file())

    def input_commit(self, name: str) -> str:
        """The id of the commit of an input that this datum reads; empty where Pachyderm does not give it."""
        return os.environ.get(f"{name}_COMMIT", "")

    def policy_text(self) -> str:
        """The policy of the input `policy`; UsageError where there is none."""
        files = list(self.inputs("policy", "policy.yaml"))
        if not files:
            raise UsageError("no policy.yaml on branch master", where="pachvault/policy")
        try:
            return files[0].read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UsageError("not a text file", where="policy.yaml") from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the output repo."""
        path = self.pfs / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def tick(self, name: str) -> datetime | None:
        """The newest tick of a cron input; None where there is none."""
        newest = None
        for path in self.inputs(name, "*"):
            try:
                at = datetime.fromisoformat(path.name)
                at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
            except (ValueError, OverflowError):
                _log.warning("skipped file %s of input %s: its name is no time", path.name, name)
                continue
            newest = max(newest or at, at)
        return newest

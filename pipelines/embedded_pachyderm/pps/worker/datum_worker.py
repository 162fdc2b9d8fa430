"""One datum in one worker: download its files, run the user's code, upload its output, retry on failure."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm.pps.engine import Engine
from embedded_pachyderm.pps.jobs import output
from embedded_pachyderm.pps.jobs.datums import Datum
from embedded_pachyderm.pps.jobs.pfs_client import IncompleteInputError
from embedded_pachyderm.pps.state import DatumRow, Key, pipeline_of
from embedded_pachyderm.pps.worker import environment, process, sandbox


@dataclass(frozen=True, slots=True)
class Work:
    """A job as its workers see it."""

    key: Key
    job_id: str
    output_commit: Any
    pipeline: Any
    stopped: Callable[[], bool]

    @property
    def details(self) -> Any:
        return self.pipeline.details


@dataclass(frozen=True, slots=True)
class Worker:
    """One datum's way through one worker."""

    engine: Engine
    work: Work
    datum: Datum
    name: str
    stats: Any = field(default_factory=pps_pb2.ProcessStats)

    def process(self) -> DatumRow:
        """Add the datum's output to the job's commit. The code's failure is a state, not an exception."""
        state = pps_pb2.FAILED
        outputs: tuple[str, ...] = ()
        tries = max(1, self.work.details.datum_tries)
        for _ in range(tries):
            if self.work.stopped():
                break
            scratch = self.engine.scratch / uuid.uuid4().hex
            try:
                (scratch / "out").mkdir(parents=True)
                self._download(scratch)
                if self._run(scratch):
                    outputs = self._upload(scratch)
                    state = pps_pb2.SUCCESS
                    break
            except (output.DatumOutputError, IncompleteInputError) as error:
                self._say(str(error))
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        return DatumRow(
            id=self.datum.id,
            hash=self.datum.hash(self.work.details.salt),
            state=state,
            info=info_of(self.datum, self.work.key, self.work.job_id, state, self.stats),
            outputs=outputs,
        )

    def _say(self, message: str, *, user: bool = False) -> None:
        self.engine.logs.write(
            self.work.key,
            message,
            job=self.work.job_id,
            worker=self.name,
            datum=self.datum.id,
            user=user,
        )

    def _download(self, scratch: Path) -> None:
        began = time.monotonic()
        self.stats.download_bytes = 0
        for item in self.datum.inputs:
            folder = scratch / item.name
            folder.mkdir(exist_ok=True)
            count = self.engine.pfs.download(item.info.file, folder)
            if count != item.info.size_bytes:
                raise IncompleteInputError(
                    f"{item.path} arrived with {count} of {item.info.size_bytes} bytes"
                )
            self.stats.download_bytes += count
        self.stats.download_time.FromNanoseconds(_since(began))

    def _run(self, scratch: Path) -> bool:
        """Whether the user's code did well."""
        transform = self.work.details.transform
        self._say("beginning to run user code")
        began = time.monotonic()
        problem = self._start(scratch, transform.cmd, transform.stdin)
        self.stats.process_time.FromNanoseconds(_since(began))
        took = f"{_since(began) / 1e9:.3f}s"
        if problem is None:
            self._say(f"finished running user code after {took}")
            return True
        self._say(f"errored running user code after {took}: {problem}")
        return False

    def _start(self, scratch: Path, arguments: Sequence[str], stdin: Sequence[str]) -> str | None:
        details = self.work.details
        limit = details.datum_timeout.ToNanoseconds() / 1e9
        deadline = time.monotonic() + limit if limit > 0 else float("inf")
        if not arguments:
            return "invalid pipeline transform, no command specified"
        if sandbox.namespace_command() is None:
            self._say("no mount namespace available: /pfs in the command becomes a folder of this machine")
        with environment.secrets(self.engine.state, details.transform, self.engine.scratch) as secrets:
            command = sandbox.command(
                arguments,
                stdin,
                scratch=scratch,
                mounts=secrets.mounts,
            )
            problem = process.run(
                command,
                environment={
                    **environment.basic(self.engine.port, self.engine.sidecar_port, self.name),
                    **dict(details.transform.env),
                    **secrets.variables,
                    **self._variables(scratch),
                    process.OWNER_VARIABLE: str(self.engine.folder),
                },
                say=lambda line: self._say(line, user=True),
                stopped=lambda: self.work.stopped() or time.monotonic() > deadline,
            )
        # each try has the whole time, as in Pachyderm
        is_late = problem is not None and not self.work.stopped() and time.monotonic() > deadline
        return f"{problem} because the datum's time is over" if is_late else problem

    def _variables(self, scratch: Path) -> dict[str, str]:
        variables = {
            "PACH_DATUM_ID": self.datum.id,
            "PACH_JOB_ID": self.work.job_id,
            "PACH_OUTPUT_COMMIT_ID": self.work.output_commit.id,
            "PPS_PIPELINE_NAME": self.work.key.name,
            "PPS_PROJECT_NAME": self.work.key.project,
            "PPS_SPEC_COMMIT": self.work.pipeline.spec_commit.id,
        }
        if self.engine.auth.is_active:
            # over a secret of this name: a pipeline's own token replaces it in a real worker, too
            subject = f"pipeline:{self.work.key.project}/{self.work.key.name}"
            variables["PACH_TOKEN"] = self.engine.auth.make_token(subject)
        for item in self.datum.inputs:
            place = f"/pfs/{item.name}/{item.path.lstrip('/')}".rstrip("/")
            variables[item.name] = sandbox.seen(place, scratch)
            variables[f"{item.name}_COMMIT"] = item.commit_id
            if item.join_on:
                variables[f"PACH_DATUM_{item.name}_JOIN_ON"] = item.join_on
        return variables

    def _upload(self, scratch: Path) -> tuple[str, ...]:
        began = time.monotonic()
        files = output.find(scratch)
        if files:
            file_set = self.engine.pfs.create_file_set(output.additions(files))
            self.engine.pfs.add_file_set(self.work.output_commit, file_set)
        self.stats.upload_bytes = sum(file.size_bytes for file in files)
        self.stats.upload_time.FromNanoseconds(_since(began))
        return tuple(file.path for file in files)


def info_of(datum: Datum, key: Key, job_id: str, state: int, stats: Any = None) -> Any:
    """The DatumInfo that clients see."""
    info = pps_pb2.DatumInfo(state=state, data=[item.info for item in datum.inputs])
    info.datum.id = datum.id
    info.datum.job.pipeline.CopyFrom(pipeline_of(key))
    info.datum.job.id = job_id
    if stats is not None:
        info.stats.CopyFrom(stats)
    return info


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1e9)

"""Fails the datum of a verdict pipeline where a run was bad: that is what makes it red in Pachyderm.

All results were written before, by other pipelines, and nothing is downstream: a failed job here loses and
blocks nothing.
"""

from __future__ import annotations

from pachvault.errors import PachvaultError
from pachvault.messages import Outcome
from pachvault.worker import Worker


class BadRunError(PachvaultError):
    """A run was refused, is partial, damaged or different. Its result is in the file that `where` names."""


def fail_bad_run(worker: Worker, stage: str, pattern: str, *, is_once: bool = False) -> str:
    """The verdict on the one result of a datum, in a line. Raises BadRunError where it is bad.

    `is_once` fails only the job of the run that wrote the result. Pachyderm processes a failed datum again in
    every later job: an old bad result would make all of them fail.
    """
    paths = list(worker.inputs(stage, pattern))
    if len(paths) != 1:
        raise PachvaultError(
            f"expected exactly one result in this datum, found {len(paths)}", where=f"/pfs/{stage}"
        )
    outcome = Outcome.read(paths[0].read_bytes(), paths[0].name)
    commit = worker.input_commit(stage)
    path = paths[0].relative_to(worker.pfs / stage).as_posix()
    line = f"{stage}@{commit}:/{path}: {outcome.status}: {outcome.summary}"
    if not outcome.exit_code:
        return line
    if not outcome.is_signalled:
        return f"{line}; no failed job, because the policy has `verdicts: off`"
    if is_once and outcome.job != commit:
        return f"{line}; job {outcome.job} has failed for it"
    raise BadRunError(
        f"{outcome.status}: {outcome.summary}", where=f"{stage}@{commit}:/{path}", hint=outcome.next_step
    )

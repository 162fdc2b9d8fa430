"""What deploy keeps in the cluster, on branch `deployed` of repo `policy`: what the operator added, and how.

No pipeline reads that branch, so that a commit to it starts no job. It is backed up with the policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pachvault import cluster_project
from pachvault.deploy.merge_patch import Patch
from pachvault.deploy.operator_options import Options
from pachvault.errors import CorruptError
from pachvault.messages import StageMessage
from pachvault.pach.pipeline_spec import Spec
from pachvault.pach.source import Source
from pachvault.pach.target import Target

BRANCH = "deployed"
_OPTIONS = "/options.json"


class StageRecord(StageMessage):
    """One pipeline, as deploy last wrote it."""

    applied: dict[str, Any]
    """The whole spec: what differs from it in the cluster was changed by somebody else."""
    additions: dict[str, Any] = {}
    """A merge patch (RFC 7386) on the bundled spec: what the operator wants, options apart."""


class OptionsRecord(StageMessage):
    """The options of the deployment."""

    options: Options = Options()


@dataclass(frozen=True, slots=True)
class Records:
    """All records; empty before the first deployment."""

    options: Options = field(default_factory=Options)
    stages: Mapping[str, StageRecord] = field(default_factory=dict)

    def applied(self, stage: str) -> Spec | None:
        """The spec that deploy last wrote."""
        record = self.stages.get(stage)
        return record.applied if record else None

    def additions(self, stage: str) -> Patch:
        """What the operator had added by then."""
        record = self.stages.get(stage)
        return record.additions if record else {}

    def intended(self, new: Records) -> Records:
        """What operators want by now, and the specs as they still are: for the time of the deployment."""
        stages = {
            stage: record.model_copy(update={"additions": new.additions(stage)})
            for stage, record in self.stages.items()
        }
        return Records(new.options, stages)

    def files(self) -> dict[str, bytes]:
        """As they are stored."""
        options = {_OPTIONS: OptionsRecord(options=self.options).encode()} if self != Records() else {}
        return options | {f"/{stage}.json": record.encode() for stage, record in self.stages.items()}


def read(source: Source) -> Records:
    """The cluster's records. CorruptError where they are of another form."""
    files = cluster_project.files(source, cluster_project.POLICY, BRANCH)
    where = f"{cluster_project.POLICY}@{BRANCH}:"
    try:
        options = OptionsRecord.read(files.pop(_OPTIONS), where + _OPTIONS) if _OPTIONS in files else None
        stages = {
            path[1:].removesuffix(".json"): StageRecord.read(data, where + path)
            for path, data in files.items()
            if path.endswith(".json")
        }
    except CorruptError as error:
        error.hint = "`pachvault deploy --reset` drops what operators added, and writes them again"
        raise
    return Records(options.options if options else Options(), stages)


def write(target: Target, old: Records, new: Records) -> bool:
    """Commit what differs, all of it as one commit; whether anything did."""
    before, after = old.files(), new.files()
    changed = {path: data for path, data in after.items() if before.get(path) != data}
    if changed:
        repo = cluster_project.POLICY
        target.put_files(repo.project, repo.repo, BRANCH, changed)
    return bool(changed)

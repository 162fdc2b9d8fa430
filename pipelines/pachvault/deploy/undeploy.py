"""Taking the pipelines out of a cluster. Repos that users or backups write, and the vault, are left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pachvault import bundled_files, cluster_project, policy
from pachvault.deploy.deploy import DeployStep
from pachvault.errors import UsageError
from pachvault.pach.connection import Connection
from pachvault.pach.pipelines import Pipelines
from pachvault.pach.source import Source
from pachvault.policy import HOME_PROJECT


@dataclass(frozen=True, slots=True)
class Undeployed:
    """How many pipelines were deleted, and a line for each thing that is left."""

    deleted: int
    left: Sequence[str]


def undeploy(connection: Connection, say: Callable[[DeployStep], None], *, is_dry_run: bool) -> Undeployed:
    """Delete the pipelines with their output, those downstream first. Safe to repeat."""
    source, pipelines = Source(connection), Pipelines(connection)
    names = [item.name for item in source.pipelines() if item.project == HOME_PROJECT]
    ours = [stage for stage in reversed(bundled_files.ALL_STAGES) if stage in names]
    for stage in reversed(bundled_files.ALL_STAGES):
        if stage in ours and not is_dry_run:
            pipelines.delete(HOME_PROJECT, stage)
        say(DeployStep("pipeline", f"{HOME_PROJECT}/{stage}", "deleted" if stage in ours else "absent"))
    goes = {repo for stage in ours for repo in (stage, f"{stage}_tick")}
    is_there = HOME_PROJECT in {project.name for project in source.projects()}
    repos = [repo.name for repo in source.repos() if repo.name.project == HOME_PROJECT] if is_there else []
    left = [f"repo {name}" for name in sorted(repos, key=str) if name.repo not in goes]
    others = sorted(set(names) - {*ours})
    left += [f"pipeline {HOME_PROJECT}/{name}, which is not pachvault's" for name in others]
    return Undeployed(len(ours), left + _vault(source))


def _vault(source: Source) -> list[str]:
    try:
        text = cluster_project.policy_text(source)
        return [f"vault {policy.parse(text, cluster_project.POLICY_FILE).target}"]
    except UsageError:
        return ["the vault, if there is one: the cluster has no valid policy that names it"]

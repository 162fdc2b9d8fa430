"""Checks before the first write: whether the cluster takes the specs, and whether backups will run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from pachvault import cluster_project, robots
from pachvault.deploy.deploy_plan import StagePlan
from pachvault.deploy.operator_options import mounted_folders
from pachvault.deploy.wanted import target_folder
from pachvault.errors import PachvaultError, PachydermError, UsageError
from pachvault.pach.connection import Connection
from pachvault.pach.pipelines import MAX_PARALLELISM, MAX_PIPELINES, Pipelines
from pachvault.pach.source import Source
from pachvault.policy import HOME_PROJECT, Policy
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault

_EMBEDDED = "-embedded"
"""The end of the version of the embedded Pachyderm, whose workers see the files of this machine."""


def check(source: Source, plans: Iterable[StagePlan], pipelines_in_cluster: Iterable[str]) -> None:
    """UsageError or PachydermError where a pipeline could not be written."""
    specs = {plan.stage: plan.spec for plan in plans if plan.spec}
    pipelines = Pipelines(source.connection)
    projects = {project.name for project in source.projects()}
    existing = HOME_PROJECT if HOME_PROJECT in projects else next(iter(sorted(projects)), None)
    for stage, spec in specs.items():
        if existing is not None:
            # the pipeline's own project may not exist yet
            elsewhere = {"pipeline": {"name": stage, "project": {"name": existing}}}
            pipelines.check(json.dumps(spec | elsewhere), f"{stage}.json")
    secrets = {
        secret["name"]: stage
        for stage, spec in specs.items()
        for secret in spec["transform"].get("secrets", [])
    }
    for name, stage in secrets.items():
        # those of the robot users are made by the deployment itself
        if name not in robots.SECRETS and not source.has_secret(name):
            raise UsageError(
                f"the cluster has no secret {name}",
                where=f"{stage}.json",
                hint="`kubectl create secret generic`, in the namespace of Pachyderm",
            )
    _check_licence(pipelines, specs, {*pipelines_in_cluster})


def _check_licence(pipelines: Pipelines, specs: dict[str, dict[str, object]], names: set[str]) -> None:
    wide = [stage for stage, spec in specs.items() if _parallelism(spec) > MAX_PARALLELISM]
    count = len(names | specs.keys())
    has_room = count <= MAX_PIPELINES or specs.keys() <= names
    if (has_room and not wide) or pipelines.is_licensed():
        return
    if wide:
        raise UsageError(
            f"without a licence Pachyderm allows {MAX_PARALLELISM} workers for each pipeline",
            where=f"{wide[0]}.json",
            hint=f"set parallelism_spec.constant to {MAX_PARALLELISM} or less, or activate a licence",
        )
    raise PachydermError(
        f"the cluster would have {count} pipelines, and Pachyderm allows {MAX_PIPELINES} pipelines "
        "without a licence",
        hint="delete some, or activate a licence, then deploy again; `--restore off` needs four fewer",
    )


def _parallelism(spec: dict[str, object]) -> int:
    wanted = spec.get("parallelism_spec")
    constant = wanted.get("constant") if isinstance(wanted, dict) else None
    return constant if isinstance(constant, int) else 0


def missing(
    connection: Connection, policy: Policy, plans: Sequence[StagePlan], *, is_committed: bool
) -> list[str]:
    """A line for each thing that backups by this policy still need.

    `is_committed`: the deployment commits the policy, which puts it in force.
    """
    lines = []
    try:
        vault = open_vault(open_store(policy.target))
    except PachvaultError as error:
        vault = None
        lines.append(f"vault, as seen from here: {error}")
    if vault is not None and not is_committed:
        try:
            cluster_project.check_in_force(Source(connection), vault, policy.name)
        except UsageError as error:
            lines.append(f"policy: {error}")
    if not connection.version().endswith(_EMBEDDED):
        lines += unmounted(policy, plans)
    return lines


def unmounted(policy: Policy, plans: Sequence[StagePlan]) -> list[str]:
    """A line for a target that is a folder, and that no volume in the specs holds."""
    folder = target_folder(policy)
    stages = [
        plan.stage
        for plan in plans
        if plan.spec and folder and not plan.stage.endswith("_verdict") and not _covers(plan, folder)
    ]
    if not stages:
        return []
    names = ", ".join(stages)
    hint = "`pachvault deploy --volume pvc:CLAIM`, nfs:SERVER:/PATH or host:/PATH mounts it"
    return [f"volume: {folder} is not mounted in the workers of {names}; {hint}"]


def _covers(plan: StagePlan, folder: str) -> bool:
    return any(PurePosixPath(folder).is_relative_to(mount) for mount in mounted_folders(plan.spec))

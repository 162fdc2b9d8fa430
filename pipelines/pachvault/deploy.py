"""Putting the pipelines into a cluster: project, repos, policy, pipelines. Safe to repeat.

It makes no vault: `pachvault init` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pachvault import bundled_files, cluster_project, policy, robots
from pachvault.errors import PachvaultError, PachydermError, UsageError
from pachvault.format.ids import RepoName
from pachvault.pach.connection import Connection
from pachvault.pach.pipelines import Pipelines
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT, Policy
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault

_SCHEDULES: dict[str, Callable[[Policy], str]] = {
    "freeze": lambda chosen: chosen.schedule,
    "maintenance": lambda chosen: chosen.maintenance.schedule,
}
"""The stages that tick, and when the policy wants them to."""
_PURPOSES = {
    cluster_project.POLICY: "what is backed up, and where to: policy.yaml on branch master",
    cluster_project.REQUESTS: "restore requests, a YAML file each, on branch master",
}


@dataclass(frozen=True, slots=True)
class DeployStep:
    """A project, repo, file or pipeline, and what deploy did about it."""

    kind: Literal["project", "repo", "robot", "policy", "pipeline"]
    name: str
    action: str
    """created, updated, unchanged, deleted or absent."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """What the cluster now has, and a line for each thing that a backup still needs."""

    steps: list[DeployStep]
    missing: list[str]


def deploy(
    connection: Connection,
    *,
    policy_text: tuple[str, str] | None = None,
    restore: bool | None = None,
    spec: Callable[[str], str] = bundled_files.spec,
    say: Callable[[DeployStep], None] = lambda _: None,
) -> Deployed:
    """Make the pipelines of backups and maintenance, and with `restore` those of restores, or update them.

    `policy_text` is a policy's file name and text, to be committed where it differs; `restore=False` deletes
    the restore pipelines, None leaves them out unless they are there. Raises UsageError, before anything
    is done, for a bad policy or spec file.
    """
    source, target, pipelines = Source(connection), Target(connection), Pipelines(connection)
    given = policy.parse(policy_text[1], policy_text[0]) if policy_text else None
    in_force, missing = (given, []) if given else _policy_there(source)
    left_out = bundled_files.RESTORE_STAGES if restore is False else ()
    stages = [stage for stage in bundled_files.ALL_STAGES if stage not in left_out]
    specs = {stage: _scheduled(stage, spec(stage), in_force) for stage in stages}
    steps: list[DeployStep] = []

    def note(step: DeployStep) -> None:
        steps.append(step)
        say(step)

    for step in _places(source, target):
        note(step)
    has_restore = restore is not False and (restore or pipelines.exists(HOME_PROJECT, "restore_plan"))
    made_robots = robots.ensure_robot(connection, in_force, restore=bool(has_restore))
    for robot in made_robots:
        expiry = f"{robot.name}, token good until {robot.expires_at:%Y-%m-%d}"
        note(DeployStep("robot", expiry, robot.action))
    if made_robots:
        specs = {stage: robots.mounted(stage, text) for stage, text in specs.items()}
    if policy_text:
        note(_commit_policy(source, target, policy_text[1]))
    if restore is False:
        # downstream first: pachd refuses to delete a pipeline whose output another one reads
        for stage in reversed(bundled_files.RESTORE_STAGES):
            was_there = pipelines.delete(HOME_PROJECT, stage)
            note(DeployStep("pipeline", f"{HOME_PROJECT}/{stage}", "deleted" if was_there else "absent"))
    for stage, text in specs.items():
        is_optional = restore is None and stage in bundled_files.RESTORE_STAGES
        if is_optional and not pipelines.exists(HOME_PROJECT, stage):
            continue
        note(DeployStep("pipeline", f"{HOME_PROJECT}/{stage}", _ensure(pipelines, text, f"{stage}.json")))
    return Deployed(steps, missing + (_missing_vault(source, in_force) if in_force else []))


def _policy_there(source: Source) -> tuple[Policy | None, list[str]]:
    try:
        return policy.parse(
            cluster_project.policy_text(source), f"{cluster_project.POLICY}:{cluster_project.POLICY_FILE}"
        ), []
    except UsageError as error:
        return None, [f"policy: {error}; `pachvault deploy --policy FILE` commits one"]


def _missing_vault(source: Source, chosen: Policy) -> list[str]:
    try:
        vault = open_vault(open_store(chosen.target))
    except PachvaultError as error:
        return [f"vault, as seen from here: {error}"]
    try:
        cluster_project.check_in_force(source, vault, chosen.name)
    except UsageError as error:
        return [f"policy: {error}"]
    return []


def _places(source: Source, target: Target) -> Iterable[DeployStep]:
    is_there = HOME_PROJECT in {project.name for project in source.projects()}
    target.ensure_project(HOME_PROJECT, "backups of this cluster, by pachvault")
    yield DeployStep("project", HOME_PROJECT, "unchanged" if is_there else "created")
    repos: set[RepoName] = {repo.name for repo in source.repos()} if is_there else set()
    for name, purpose in _PURPOSES.items():
        target.ensure_repo(name.project, name.repo, purpose)
        yield DeployStep("repo", str(name), "unchanged" if name in repos else "created")


def _commit_policy(source: Source, target: Target, text: str) -> DeployStep:
    where = f"{cluster_project.POLICY}@{cluster_project.MASTER}:{cluster_project.POLICY_FILE}"
    there = cluster_project.files(source, cluster_project.POLICY).get(cluster_project.POLICY_FILE)
    # one that a restore brought is in force only once it is committed here
    if there == text.encode() and not cluster_project.is_policy_restored(source):
        return DeployStep("policy", where, "unchanged")
    target.put_file(
        cluster_project.POLICY.project,
        cluster_project.POLICY.repo,
        cluster_project.MASTER,
        cluster_project.POLICY_FILE,
        text.encode(),
    )
    return DeployStep("policy", where, "created" if there is None else "updated")


def _scheduled(stage: str, text: str, chosen: Policy | None) -> str:
    """A spec; that of a stage that ticks with the policy's schedule."""
    if stage not in _SCHEDULES or chosen is None:
        return text
    try:
        spec: dict[str, Any] = json.loads(text)
        crons = [entry["cron"] for entry in spec["input"]["cross"] if "cron" in entry]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "the spec's input must be a `cross` that contains a `cron`", where=f"{stage}.json"
        ) from error
    for cron in crons:
        cron["spec"] = _SCHEDULES[stage](chosen)
    return json.dumps(spec)


def _ensure(pipelines: Pipelines, text: str, where: str) -> str:
    try:
        return pipelines.ensure(text, where)
    except PachydermError as error:
        if "activation key" not in error.what or "total pipelines" not in error.what:
            raise
        raise PachydermError(
            "the cluster has the 16 pipelines that Pachyderm allows without a licence",
            where=error.where,
            hint="delete one, or activate a licence, then deploy again; `--restore off` needs three fewer",
        ) from error

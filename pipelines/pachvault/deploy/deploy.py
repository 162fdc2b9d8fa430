"""Putting the pipelines into a cluster: project, repos, policy, pipelines. Safe to repeat.

`plan` reads and checks, and writes nothing; `carry_out` writes. It makes no vault: `pachvault init` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from pachvault import bundled_files, cluster_project, policy, robots
from pachvault.deploy import deployed_records, first_backup, preconditions
from pachvault.deploy.deploy_plan import (
    Action,
    InCluster,
    StagePlan,
    plan_pipeline,
    schedule_of,
    scheduled,
)
from pachvault.deploy.deployed_records import Records
from pachvault.deploy.wanted import Wanted, bundled, own_spec, target_folder
from pachvault.errors import UsageError
from pachvault.format.ids import RepoName
from pachvault.pach.connection import Connection
from pachvault.pach.pipeline_spec import canonical
from pachvault.pach.pipelines import Pipelines
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT, Policy

_PURPOSES = {
    cluster_project.POLICY: "what is backed up, and where to: policy.yaml on branch master",
    cluster_project.REQUESTS: "restore requests, a YAML file each, on branch master",
}
_WHERE = f"{cluster_project.POLICY}@{cluster_project.MASTER}:{cluster_project.POLICY_FILE}"
_RECORDS = f"{cluster_project.POLICY}@{deployed_records.BRANCH}"


@dataclass(frozen=True, slots=True)
class DeployStep:
    """A project, repo, file or pipeline, and what deploy does about it."""

    kind: Literal["project", "repo", "robot", "policy", "records", "pipeline"]
    name: str
    action: str
    """created, updated, unchanged, deleted or absent."""


@dataclass(frozen=True, slots=True)
class DeployPlan:
    """What a deployment will do, all of it checked."""

    places: Sequence[DeployStep]
    """Project and repos."""
    policy_step: DeployStep | None
    policy_text: str | None
    """What is committed; None where the policy is left as it is."""
    pipelines: Sequence[StagePlan]
    old_records: Records
    records: Records
    missing: Sequence[str]
    """A line for each thing that backups still need."""
    notes: Sequence[str]
    robots_policy: Policy | None
    """The policy that the robot users get their roles by, with authentication on."""
    next_backup_at: datetime | None
    """About; None where no policy is in force."""

    @property
    def steps(self) -> Iterator[DeployStep]:
        """All that will be done, in no particular order."""
        yield from self.places
        if self.policy_step:
            yield self.policy_step
        yield from map(_step, self.pipelines)
        if self.records.files() != self.old_records.files():
            yield DeployStep("records", _RECORDS, "updated")


@dataclass(frozen=True, slots=True)
class Deployed:
    """What the cluster now has, and a line for each thing that a backup still needs."""

    steps: list[DeployStep]
    missing: Sequence[str]


def deploy(
    connection: Connection, *, policy_text: tuple[str, str] | None = None, restore: bool | None = None
) -> Deployed:
    """Plan and carry out, with the bundled specs and what operators added before."""
    return carry_out(connection, plan(connection, Wanted(), policy_text=policy_text, restore=restore))


def plan(
    connection: Connection,
    wanted: Wanted,
    *,
    policy_text: tuple[str, str] | None = None,
    restore: bool | None = None,
) -> DeployPlan:
    """Plan the pipelines of backups and maintenance, and with `restore` those of restores.

    `policy_text` is a policy's file name and text, to be committed where it differs; `restore=False` deletes
    the restore pipelines, None leaves them out unless they are there. Raises UsageError or PachydermError
    for whatever would fail later.
    """
    source = Source(connection)
    given = policy.parse(policy_text[1], policy_text[0]) if policy_text else None
    in_force, missing = (given, []) if given else _policy_there(source)
    if given:
        target_folder(given)  # raises UsageError for a target that cannot be opened
    for stage, text in wanted.own_specs.items():
        canonical(text, f"{stage}.json")
    old = Records() if wanted.is_reset else deployed_records.read(source)
    options = old.options.updated(wanted.options(in_force))
    # ListPipeline has what a spec was rebuilt from, too, and InspectPipeline only what the user wrote
    names = {(pipeline.project, pipeline.name) for pipeline in source.pipelines()}
    pipelines = Pipelines(connection)
    has_robots = robots.are_needed(connection)
    plans = []
    for stage in bundled_files.ALL_STAGES:
        is_there = (HOME_PROJECT, stage) in names
        is_optional = stage in bundled_files.RESTORE_STAGES
        if is_optional and restore is False:
            plans.append(StagePlan(stage, "deleted" if is_there else "absent"))
        elif not is_optional or restore or is_there:
            there = _in_cluster(pipelines, stage) if is_there else None
            ours = scheduled(bundled(stage), schedule_of(stage, in_force, there))
            if has_robots:
                ours = json.loads(robots.mounted(stage, json.dumps(ours)))
            own = own_spec(wanted, stage)
            plans.append(plan_pipeline(stage, ours, options, old, there, own, is_reset=wanted.is_reset))
    preconditions.check(source, plans, {name for _, name in names})
    step = _policy_step(source, policy_text[1]) if policy_text else None
    if in_force:
        # what is committed here is in force here
        is_committed = step is not None and step.action != "unchanged"
        missing = preconditions.missing(connection, in_force, plans, is_committed=is_committed)
    records = dict(old.stages) | {item.stage: item.record for item in plans if item.spec}
    return DeployPlan(
        places=_places(source),
        policy_step=step,
        policy_text=policy_text[1] if policy_text and step and step.action != "unchanged" else None,
        pipelines=plans,
        old_records=old,
        records=Records(options, records),
        missing=missing,
        notes=_notes(pipelines, names),
        robots_policy=in_force,
        next_backup_at=first_backup.next_tick(source, in_force) if in_force else None,
    )


def carry_out(
    connection: Connection, deploy_plan: DeployPlan, say: Callable[[DeployStep], None] = lambda _: None
) -> Deployed:
    """Do what the plan says. Where a write fails, the same deployment can be planned and done again."""
    target, pipelines = Target(connection), Pipelines(connection)
    steps: list[DeployStep] = []

    def note(step: DeployStep) -> None:
        steps.append(step)
        say(step)

    for step in deploy_plan.places:
        _ensure(target, step)
        note(step)
    has_restore = any(
        item.stage in bundled_files.RESTORE_STAGES and item.spec for item in deploy_plan.pipelines
    )
    # before the pipelines, whose pods mount the tokens
    for robot in robots.ensure_robot(connection, deploy_plan.robots_policy, restore=has_restore):
        expiry = f"{robot.name}, token good until {robot.expires_at:%Y-%m-%d}"
        note(DeployStep("robot", expiry, robot.action))
    # what operators want comes first: half-way through, options are known by it, and are no changes by hand
    intended = deploy_plan.old_records.intended(deploy_plan.records)
    deployed_records.write(target, deploy_plan.old_records, intended)
    by_action: dict[str, list[StagePlan]] = {action: [] for action in get_args(Action)}
    for item in deploy_plan.pipelines:
        by_action[item.action].append(item)
    # Where pipelines run by it, the policy comes after them: its commit starts a run, which an update would
    # kill. Where there are none yet it comes first: a commit that nobody follows starts nothing.
    is_first = any(item.stage == bundled_files.STAGES[0] for item in by_action["created"])
    if is_first:
        _commit_policy(target, deploy_plan, note)
    # Downstream first: an update starts jobs in all pipelines downstream, and kills those of its own.
    # (And pachd refuses to delete a pipeline whose output another one reads.)
    for item in reversed(by_action["deleted"]):
        pipelines.delete(HOME_PROJECT, item.stage)
    for item in by_action["created"]:
        pipelines.create(json.dumps(item.spec), f"{item.stage}.json")
        note(_step(item))
    for item in reversed(by_action["updated"]):
        pipelines.update(json.dumps(item.spec), f"{item.stage}.json")
        note(_step(item))
    for item in (*reversed(by_action["deleted"]), *by_action["unchanged"], *by_action["absent"]):
        note(_step(item))
    if not is_first:
        _commit_policy(target, deploy_plan, note)
    if deployed_records.write(target, intended, deploy_plan.records):
        note(DeployStep("records", _RECORDS, "updated"))
    return Deployed(steps, deploy_plan.missing)


def _policy_there(source: Source) -> tuple[Policy | None, list[str]]:
    try:
        return policy.parse(
            cluster_project.policy_text(source), f"{cluster_project.POLICY}:{cluster_project.POLICY_FILE}"
        ), []
    except UsageError as error:
        return None, [f"policy: {error}; `pachvault deploy --policy FILE` commits one"]


def _in_cluster(pipelines: Pipelines, stage: str) -> InCluster | None:
    text = pipelines.spec_of(HOME_PROJECT, stage)
    if text is None:
        return None
    return InCluster(canonical(text, f"{HOME_PROJECT}/{stage}") if text else None)


def _notes(pipelines: Pipelines, names: Iterable[tuple[str, str]]) -> list[str]:
    stages = [stage for stage in bundled_files.ALL_STAGES if (HOME_PROJECT, stage) in names]
    if not any(pipelines.spec_of(HOME_PROJECT, stage) == "" for stage in stages):
        return []
    line = (
        "this Pachyderm (before 2.8) does not keep specs as they were written: what was changed in them by "
        "hand is not seen, and is kept only if --specs names it"
    )
    return [line]


def _places(source: Source) -> list[DeployStep]:
    is_there = HOME_PROJECT in {project.name for project in source.projects()}
    steps = [DeployStep("project", HOME_PROJECT, "unchanged" if is_there else "created")]
    repos: set[RepoName] = {repo.name for repo in source.repos()} if is_there else set()
    return steps + [
        DeployStep("repo", str(name), "unchanged" if name in repos else "created") for name in _PURPOSES
    ]


def _ensure(target: Target, step: DeployStep) -> None:
    if step.action == "unchanged":
        return
    if step.kind == "project":
        target.ensure_project(HOME_PROJECT, "backups of this cluster, by pachvault")
        return
    name = RepoName.parse(step.name)
    target.ensure_repo(name.project, name.repo, _PURPOSES[name])


def _policy_step(source: Source, text: str) -> DeployStep:
    there = cluster_project.files(source, cluster_project.POLICY).get(cluster_project.POLICY_FILE)
    # one that a restore brought is in force only once it is committed here
    if there == text.encode() and not cluster_project.is_policy_restored(source):
        return DeployStep("policy", _WHERE, "unchanged")
    return DeployStep("policy", _WHERE, "created" if there is None else "updated")


def _commit_policy(target: Target, deploy_plan: DeployPlan, note: Callable[[DeployStep], None]) -> None:
    if deploy_plan.policy_step is None:
        return
    if deploy_plan.policy_text is not None:
        repo, text = cluster_project.POLICY, deploy_plan.policy_text.encode()
        target.put_file(repo.project, repo.repo, cluster_project.MASTER, cluster_project.POLICY_FILE, text)
    note(deploy_plan.policy_step)


def _step(item: StagePlan) -> DeployStep:
    return DeployStep("pipeline", f"{HOME_PROJECT}/{item.stage}", item.action)

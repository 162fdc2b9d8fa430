"""The robot users that the pipelines call Pachyderm as, with authentication on.

A pipeline's own token reads its inputs and writes its output. So `deploy` makes two robot users: one reads
what is backed up, one writes what is restored. Each gets the least rights. Its token is in a Kubernetes
secret that the specs mount as a file: Pachyderm sets PACH_TOKEN to the pipeline's own token, whatever the
spec says, and a file is renewed without a restart of the workers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pachvault.errors import NotAllowedError
from pachvault.pach.access import mounted_token, rights
from pachvault.pach.access.rights import Place
from pachvault.pach.connection import Connection
from pachvault.pach.robot_tokens import TO_RENEW, RobotTokens
from pachvault.pach.settings import Settings
from pachvault.pach.source import Source
from pachvault.policy import HOME_PROJECT, Policy
from pachvault.syntax import selection

LIFETIME = timedelta(days=90)
"""How long a token is good."""
RENEWED_AFTER = timedelta(days=30)
"""The age at which `deploy` and maintenance make a new one."""


@dataclass(frozen=True, slots=True)
class Robot:
    """A robot user, and the stages that call as it."""

    name: str
    stages: frozenset[str]

    @property
    def principal(self) -> str:
        """As role bindings name it."""
        return f"robot:{self.name}"

    @property
    def secret(self) -> str:
        """The Kubernetes secret with its token."""
        return f"{self.name}-token"


BACKUP = Robot("pachvault-backup", frozenset({"freeze", "export", "maintenance"}))
RESTORE = Robot("pachvault-restore", frozenset({"restore_plan", "restore_fetch", "restore_replay"}))


SECRETS = frozenset({BACKUP.secret, RESTORE.secret})


@dataclass(frozen=True, slots=True, order=True)
class Binding:
    """A role at a place."""

    place: Place
    role: str


@dataclass(frozen=True, slots=True)
class RobotStep:
    """What was done about a robot user."""

    name: str
    action: Literal["created", "updated", "unchanged"]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Plan:
    robot: Robot
    missing: Mapping[Place, list[str]]
    """Roles to add, by place."""
    made_at: datetime | None
    """When its secret was made."""
    is_unknown: bool = False
    """The cluster knows no role of it. A secret is from before authentication was activated (again)."""

    def is_due(self, now: datetime) -> bool:
        return self.is_unknown or self.made_at is None or now - self.made_at > RENEWED_AFTER


def needed(robot: Robot, chosen: Policy | None) -> list[Binding]:
    """The least roles that the stages of a robot user need, under a policy (docs/authentication.md)."""
    bindings = _to_restore() if robot == RESTORE else _to_back_up(chosen)
    return sorted(set(bindings))


def _to_back_up(chosen: Policy | None) -> Iterator[Binding]:
    yield Binding(Place(HOME_PROJECT), "projectOwner")
    if chosen is None:
        return
    projects = {_literal_project(pattern) for pattern in chosen.sources}
    if None in projects or chosen.pipelines == "include":
        yield Binding(Place(), "projectViewer")
    if chosen.maintenance.drill_within is not None:
        yield Binding(Place(), "projectCreator")
    if None in projects:
        yield Binding(Place(), "repoReader")
        return
    # the files of a file set are listed with the rights on project default, whatever they come from
    yield Binding(Place("default"), "repoReader")
    for project in projects - {None, HOME_PROJECT}:
        yield Binding(Place(str(project)), "projectViewer")
        yield Binding(Place(str(project)), "repoReader")


def _to_restore() -> Iterator[Binding]:
    for role in ("projectCreator", "projectWriter", "repoWriter"):
        yield Binding(Place(), role)


def _literal_project(pattern: str) -> str | None:
    return selection.source(pattern).literal_project


def are_needed(connection: Connection) -> bool:
    """Whether authentication is on."""
    return RobotTokens(connection).caller() is not None


def ensure_robot(
    connection: Connection, chosen: Policy | None, *, restore: bool, is_renewed: bool = False
) -> list[RobotStep]:
    """Make the robot users, or complete them: roles, tokens, secrets. Nothing without authentication.

    Roles are added, never removed. A token is made where the secret is missing or older than 30 days, or with
    `is_renewed`. Project pachvault must exist. Raises NotAllowedError, with nothing done, where the caller
    lacks a right; the line has the commands for an administrator.
    """
    tokens = RobotTokens(connection)
    caller = tokens.caller()
    if caller is None:
        return []
    now = datetime.now(UTC)
    lacking = tokens.lacking(TO_RENEW)
    if lacking:
        raise _refusal(caller.name, lacking)
    settings = Settings(connection)
    projects = {project.name for project in Source(connection).projects()}
    plans = []
    for robot in (BACKUP, RESTORE) if restore else (BACKUP,):
        # a project that a policy names and that is not there yet gets its roles at the next deploy
        wanted = [role for role in needed(robot, chosen) if role.place.project in {"", *projects}]
        missing = _missing(settings, robot, wanted)
        is_unknown = sum(map(len, missing.values())) == len(wanted)
        plans.append(_Plan(robot, missing, tokens.secret_made_at(robot.secret), is_unknown))
    _check_may_bind(tokens, caller.name, plans, settings)
    for plan in plans:
        for place, roles in plan.missing.items():
            if place.project:
                settings.add_project_roles(place.project, {plan.robot.principal: roles})
            else:
                settings.add_cluster_roles({plan.robot.principal: roles})
    return [_token(tokens, plan, now, is_renewed=is_renewed) for plan in plans]


def renew(connection: Connection, now: datetime) -> list[RobotStep]:
    """Make new tokens for the robot users that have a secret which is due, if the caller may (`TO_RENEW`)."""
    tokens = RobotTokens(connection)
    made = {robot: tokens.secret_made_at(robot.secret) for robot in (BACKUP, RESTORE)}
    return [
        _token(tokens, _Plan(robot, {}, made_at), now, is_renewed=False)
        for robot, made_at in made.items()
        if made_at is not None
    ]


def mounted(stage: str, spec: str) -> str:
    """A stage's spec with the secret of its robot user mounted; unchanged for a stage that has none."""
    robot = next((robot for robot in (BACKUP, RESTORE) if stage in robot.stages), None)
    if robot is None:
        return spec
    document = json.loads(spec)
    secrets = document.setdefault("transform", {}).setdefault("secrets", [])
    if not any(secret.get("name") == robot.secret for secret in secrets):
        secrets.append({"name": robot.secret, "mount_path": mounted_token.FOLDER})
    return json.dumps(document)


def _missing(settings: Settings, robot: Robot, wanted: Iterable[Binding]) -> dict[Place, list[str]]:
    missing: dict[Place, list[str]] = {}
    for binding in wanted:
        held = (_bound(settings, binding.place) or {}).get(robot.principal, [])
        if binding.role not in held:
            missing.setdefault(binding.place, []).append(binding.role)
    return missing


def _bound(settings: Settings, place: Place) -> Mapping[str, list[str]] | None:
    return settings.project_roles(place.project) if place.project else settings.cluster_roles()


def _check_may_bind(tokens: RobotTokens, caller: str, plans: Iterable[_Plan], settings: Settings) -> None:
    """Raise NotAllowedError where the caller may not give a role that is missing."""
    commands = []
    for plan in plans:
        for place, roles in plan.missing.items():
            kind = "PROJECT" if place.project else "CLUSTER"
            if tokens.lacking([f"{kind}_MODIFY_BINDINGS"], place.project):
                held = (_bound(settings, place) or {}).get(plan.robot.principal, [])
                commands.append(f"`{rights.grant(plan.robot.principal, place, roles, held)}`")
    if commands:
        raise NotAllowedError(
            f"{caller} may not give the pipelines' robot users the roles that they need",
            hint=f"let an administrator run {', '.join(commands)}, then deploy again",
        )


def _token(tokens: RobotTokens, plan: _Plan, now: datetime, *, is_renewed: bool) -> RobotStep:
    robot = plan.robot
    if plan.made_at is not None and not is_renewed and not plan.is_due(now):
        action: Literal["updated", "unchanged"] = "updated" if plan.missing else "unchanged"
        return RobotStep(robot.name, action, plan.made_at + LIFETIME)
    tokens.put_secret(robot.secret, mounted_token.KEY, tokens.make(robot.name, LIFETIME))
    return RobotStep(robot.name, "created" if plan.made_at is None else "updated", now + LIFETIME)


def _refusal(caller: str, lacking: frozenset[str]) -> NotAllowedError:
    roles = dict.fromkeys(rights.role_for([permission]) for permission in sorted(lacking))
    return NotAllowedError(
        f"{caller} lacks {' and '.join(sorted(lacking))} on the cluster, to make tokens for the pipelines",
        hint=f"`{rights.grant(caller, Place(), roles)}` grants it; add the roles that "
        "`pachctl auth get cluster` shows: it replaces them",
    )

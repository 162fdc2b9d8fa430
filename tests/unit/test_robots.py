"""The table of rights in docs/authentication.md is what `deploy` gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pachvault import robots
from pachvault.bundled_files import ALL_STAGES
from pachvault.pach.access import rights
from pachvault.pach.access.rights import Place
from pachvault.policy import parse
from pachvault.robots import BACKUP, RESTORE, Robot

_DOCUMENT = (Path(__file__).parents[2] / "docs" / "authentication.md").read_text()
_POLICY = parse("version: 1\ntarget: file:///v\nsources: ['*/*']", "policy.yaml")


@pytest.mark.parametrize("robot", [BACKUP, RESTORE], ids=lambda robot: robot.name)
def test_the_documented_roles_are_those_that_deploy_gives(robot: Robot) -> None:
    section = _DOCUMENT.split(f"### {robot.principal}\n")[1].split("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", section, re.MULTILINE)
    documented = {(role, place.replace("`", "")) for role, place, _ in rows}
    assert documented == {(binding.role, str(binding.place)) for binding in robots.needed(robot, _POLICY)}
    assert {stage for _, _, stages in rows for stage in stages.split(", ")} <= robot.stages


def test_every_stage_that_calls_pachyderm_does_so_as_one_robot() -> None:
    callers = {stage for stage in ALL_STAGES if stage != "seal" and not stage.endswith("_verdict")}
    assert BACKUP.stages | RESTORE.stages == callers
    assert not BACKUP.stages & RESTORE.stages


@pytest.mark.parametrize(
    ("permissions", "role"),
    [
        (["REPO_READ", "REPO_LIST_FILE"], "repoReader"),
        (["REPO_WRITE"], "repoWriter"),
        (["REPO_DELETE"], "repoOwner"),
        (["PROJECT_LIST_REPO"], "projectViewer"),
        (["PROJECT_CREATE_REPO"], "projectWriter"),
        (["PROJECT_DELETE", "PROJECT_MODIFY_BINDINGS"], "projectOwner"),
        (["PROJECT_CREATE"], "projectCreator"),
        (["SECRET_INSPECT"], "secretAdmin"),
        (["CLUSTER_AUTH_GET_ROBOT_TOKEN"], "robotUser"),
        (["CLUSTER_SET_DEFAULTS"], "clusterAdmin"),
    ],
)
def test_the_least_role_is_named(permissions: list[str], role: str) -> None:
    assert rights.role_for(permissions) == role


def test_the_command_is_pachctls() -> None:
    assert rights.grant("robot:x", Place("p", "r"), ["repoReader"]) == (
        "pachctl auth set repo r repoReader robot:x --project p"
    )
    assert rights.grant("robot:x", Place("p"), ["projectViewer"], ["repoReader"]) == (
        "pachctl auth set project p repoReader,projectViewer robot:x"
    )
    assert rights.grant("robot:x", Place(), ["repoReader"]) == "pachctl auth set cluster repoReader robot:x"

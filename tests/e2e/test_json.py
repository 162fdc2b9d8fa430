"""Every command with --json: each line is as docs/json.schema.json says, and of a type of the command's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import json_output
from e2e.backup import Backup
from e2e.cli import pachvault
from e2e.cluster import Cluster

RARE = {"run", "lost_object", "restore_difference", "demo_step", "demo_summary"}
"""What takes a rare fault, or a long time, to be written: see tests/unit/cli/test_render.py."""


class Lines:
    """What the commands wrote."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self.types: set[str] = set()

    def run(self, command: str, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        outcome = pachvault(*self._options, "--json", *command.split(), *arguments)
        assert outcome.code == code, outcome.out + outcome.err
        assert outcome.err == "", "with --json there is nothing left for people"
        types = {line["type"] for line in outcome.objects}
        assert types <= {*json_output.COMMANDS[command], "error"}, command
        self.types |= types
        return outcome.objects


@pytest.fixture
def lines(backup: Backup) -> Lines:
    where = ["--vault", backup.vault.url, "--pachd", backup.project.cluster.address]
    return Lines(*where)


def test_every_command_writes_what_is_documented(
    lines: Lines, backup: Backup, other: Cluster, tmp_path: Path
) -> None:
    project, run = backup.project, lines.run
    repo, place = f"{project.name}/data", f"{project.name}/data@master"
    project.repo("data", "readings")
    project.commit("data", {"/keep": os.urandom(100_000), "/d/x": b"x1", "/person": b"42"})
    run("init", "--vault", (tmp_path / "new").as_uri())
    run("init", code=2)
    run("backup", "--source", project.everything(), "--workers", "1")
    project.commit("data", {"/d/x": b"x2"}, delete=["/keep"], text="second")
    run("backup", "--source", project.everything(), "--workers", "1")
    old, new = backup.vault.snapshots()
    for command, *arguments in (
        ["specs", str(tmp_path / "specs")],
        ["snapshots"],
        ["snapshots pin", old],
        ["snapshots unpin", old],
        ["show", "latest"],
        ["show", "latest", repo],
        ["ls", "latest", place],
        ["diff", old, new],
        ["extract", "latest", str(tmp_path / "out")],
        ["verify", "--level", "data"],
        ["verify", "--level", "source"],
        ["verify", "latest", "--level", "drill"],
        ["repair", "--dry-run"],
        ["repair"],
        ["erase", "--repo", repo, "--path", "/person", "--dry-run"],
        ["erase", "--repo", repo, "--path", "/person", "--yes"],
        ["prune", "--dry-run"],
        ["prune"],
        ["restore", repo, "--to", f"{project.name}/again", "--dry-run"],
        ["restore", repo, "--to", f"{project.name}/again"],
        ["rollback", place, "--to", "latest"],
        ["restores", "--drills"],
        ["probe", "--quick", str(tmp_path)],
    ):
        run(command, *arguments)
    assert pachvault("--vault", backup.vault.url, "--json", "cat", "latest", f"{place}:/d/x").raw == b"x2"
    policy = tmp_path / "policy.yaml"
    rules = "retention: {match: [p/none], keep_last: 1}"
    policy.write_text(f"version: 1\ntarget: {backup.vault.url}\nsources: ['*/*']\nname: cli\n{rules}\n")
    run("status", "--policy", str(policy), code=3)
    run("maintenance", "--policy", str(policy), "--dry-run")
    elsewhere = Lines("--pachd", other.address)
    elsewhere.run("deploy", "--policy", str(policy))
    elsewhere.run("deploy", "--image", "registry.example/pachvault", "--dry-run")
    elsewhere.run("deploy", "--image", "registry.example/pachvault")
    elsewhere.run("undeploy")
    lines.types |= elsewhere.types
    run("forget", "--policy", str(policy), "--dry-run")
    (forgotten, *_) = backup.vault.snapshots()
    run("forget", forgotten)
    run("forget", "--bring-back", forgotten)
    run("prune", "--now", "--dry-run")
    for pack in backup.vault.files("packs"):
        (backup.vault.folder / pack).unlink()
    project.delete_repo("data")
    run("verify", "--level", "data", code=13)
    run("extract", "latest", str(tmp_path / "damaged"), code=13)
    run("repair", "--pachd", "127.0.0.1:1", code=13)
    state = str(tmp_path / "local")
    try:
        run("local start", "--state", state)
        run("local status", "--state", state)
    finally:
        run("local stop", "--state", state)
    assert json_output.result_classes().keys() - lines.types == RARE

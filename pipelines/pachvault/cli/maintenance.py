"""`maintenance`: what pipeline maintenance does at a tick, from a shell."""

from __future__ import annotations

from pathlib import Path

import click

from pachvault import policy
from pachvault.cli import committed_policy
from pachvault.cli.common import CommandContext, common_options, put, put_json, put_table, read_text, say
from pachvault.cli.verify import show_findings
from pachvault.maintenance.maintenance import exit_code, maintenance
from pachvault.maintenance.maintenance_report import MaintenanceRound
from pachvault.pach.connection import connect
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault


@click.command("maintenance")
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    help="Policy file.  [default: policy.yaml in repo pachvault/policy]",
)
@click.option("--dry-run", is_flag=True, help="Say what each step would do; change nothing.")
@common_options
@click.pass_obj
def maintenance_command(state: CommandContext, policy_file: Path | None, dry_run: bool) -> int:
    """Do a maintenance run, as the policy says: verify what is due, forget, prune, tidy up.

    A step that fails hides no other. Exits with 13 where the vault is damaged, with 3 where a step failed.
    """
    if policy_file:
        chosen = policy.parse(read_text(policy_file), str(policy_file))
    else:
        with connect(state.pachd, state.token) as connection:
            chosen = committed_policy.in_force(connection, state.vault, "--policy FILE")
    vault = open_vault(open_store(state.vault or chosen.target))
    with state.progress() as progress:
        done = maintenance(state.pachd, state.token, vault, chosen, progress, is_dry_run=dry_run)
    _show(state, done)
    return exit_code(done.report)


def _show(state: CommandContext, done: MaintenanceRound) -> None:
    show_findings(state, done.findings)
    report = done.report
    if state.json:
        for step in report.steps:
            put_json("step", **step.model_dump())
        put_json("summary", **report.model_dump(mode="json", exclude={"steps"}))
        return
    put_table(["STEP", "STATUS", "WHAT"], [[step.name, step.status, step.summary] for step in report.steps])
    for step in report.steps:
        if step.name != "verify":  # its lines are the findings
            for line in step.lines:
                put(f"  {step.name}: {line}")
    if report.status != "done":
        say(report.summary)

"""`maintenance`: what pipeline maintenance does at each tick, from a shell."""

from __future__ import annotations

from pathlib import Path

import click

from pachvault import policy
from pachvault.cli import committed_policy
from pachvault.cli.common import CommandContext, common_options, read_text
from pachvault.cli.render import show, show_all
from pachvault.cli.results.status import MaintenanceStepResult, MaintenanceSummary
from pachvault.cli.results.verify import FindingResult
from pachvault.maintenance.maintenance import exit_code, maintenance
from pachvault.pach.connection import connect
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault


@click.command("maintenance")
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    help="A policy file.  [default: policy.yaml in repo pachvault/policy]",
)
@click.option("--dry-run", is_flag=True, help="Show what each step would do; change nothing.")
@common_options
@click.pass_obj
def maintenance_command(context: CommandContext, policy_file: Path | None, dry_run: bool) -> int:
    """Do a maintenance run.

    By the policy, it verifies what is due, does a restore drill, forgets, prunes, and cleans up the backup
    repo. If a step fails, the others run all the same. The exit code is 13 if the vault is damaged, and 3 if
    it is degraded or a step failed.
    """
    if policy_file:
        chosen = policy.parse(read_text(policy_file), str(policy_file))
    else:
        with connect(context.pachd, context.token) as connection:
            chosen = committed_policy.in_force(connection, context.vault, "--policy FILE")
    vault = open_vault(open_store(context.vault or chosen.target))
    with context.progress() as progress:
        run = maintenance(context.pachd, context.token, vault, chosen, progress, is_dry_run=dry_run)
    show_all(context, FindingResult, [FindingResult.of(finding) for finding in run.findings])
    show_all(context, MaintenanceStepResult, [MaintenanceStepResult.of(step) for step in run.report.steps])
    show(context, MaintenanceSummary.of(run.report))
    return exit_code(run.report)

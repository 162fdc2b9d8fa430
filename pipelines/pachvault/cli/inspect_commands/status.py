"""`status`: the state of the vault."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from pachvault import policy
from pachvault.cli.common import CommandContext, common_options, read_text
from pachvault.cli.render import show
from pachvault.cli.results.status import StatusResult
from pachvault.errors import EXIT_DAMAGE, EXIT_PARTIAL
from pachvault.maintenance.status import status
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault


@click.command("status")
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    help="A policy file: its schedule and its `verify_within` and `drill_within` determine what is overdue.",
)
@common_options
@click.pass_obj
def status_command(context: CommandContext, policy_file: Path | None) -> int:
    """Show the state of the vault.

    The output has snapshots, verification, pending deletes, known damage, and what is overdue. The command
    reads only the vault, not the cluster. The exit code is 13 if damage is known, and 3 if something is
    overdue.

    Example: pachvault --vault file:///mnt/backup/vault status --policy policy.yaml
    """
    chosen = policy.parse(read_text(policy_file), str(policy_file)) if policy_file else None
    url = context.vault or (chosen.target if chosen else None) or context.vault_url()
    vault_status = status(open_vault(open_store(url)), chosen, datetime.now(UTC))
    show(context, StatusResult.of(vault_status))
    if vault_status.damaged:
        return EXIT_DAMAGE
    return EXIT_PARTIAL if vault_status.due else 0

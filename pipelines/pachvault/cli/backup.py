"""`init` and `backup`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from pachvault import policy
from pachvault.cli import committed_policy
from pachvault.cli.common import CommandContext, common_options, read_text, workers_option
from pachvault.cli.render import show
from pachvault.cli.results.backup import BackupSummary, InitSummary
from pachvault.errors import EXIT_PARTIAL, UsageError
from pachvault.maintenance import reserve
from pachvault.pach.connection import connect
from pachvault.policy import Policy
from pachvault.store.open_store import open_store
from pachvault.vault import vault

_LONGEST_GRACE_DAYS = 3650


@click.command("init")
@click.option(
    "--grace",
    type=click.FloatRange(min=0, min_open=True),
    default=7,
    show_default=True,
    metavar="DAYS",
    help="The grace period: how long prune keeps what is no longer needed. A backup may take half of it. "
    "Cannot be changed later.",
)
@click.option(
    "--shared",
    is_flag=True,
    help="Give the folder's group access, too.  [default: only the owner has access]",
)
@common_options
@click.pass_obj
def init_command(context: CommandContext, /, grace: float, shared: bool) -> int:
    """Create an empty vault.

    Only the owner can read the files of the vault, whatever the umask is. With --shared the folder's group
    can read and write them, too. docs/operating.md describes how to share a vault that exists already.

    Example: pachvault --vault file:///mnt/backup/vault init
    """
    if not grace <= _LONGEST_GRACE_DAYS:  # NaN is not, either
        raise UsageError(f"--grace {grace:g}: at most {_LONGEST_GRACE_DAYS} days")
    new_vault = vault.create(open_store(context.vault_url()), timedelta(days=grace), is_shared=shared)
    reserve.fill(new_vault)
    show(context, InitSummary(vault=new_vault.store.url, vault_id=new_vault.config.vault_id))
    return 0


@click.command("backup")
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(),
    help="A policy file.  [default: policy.yaml in repo pachvault/policy]",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="PATTERN",
    help="Back up project/repo@branch, without a policy. Repeatable.",
)
@click.option(
    "--history",
    default=None,
    help="With --source, which commits: heads (the newest of each branch) or all.  [default: all]",
)
@workers_option("Number of export processes.")
@common_options
@click.pass_obj
def backup_command(
    context: CommandContext,
    policy_file: str | None,
    sources: tuple[str, ...],
    history: str | None,
    workers: int,
) -> int:
    """Back up now: freeze, export and seal from this shell.

    If a source cannot be read, the snapshot is sealed without it and marked partial. It names what it lacks,
    and the exit code is 3.

    Example: pachvault --vault file:///mnt/backup/vault backup --source 'images/*@master'
    """
    # `init` shares this module, and does not wait for what a backup needs
    from pachvault.backup.backup import back_up  # noqa: PLC0415

    chosen = _policy(context, policy_file, sources, history)
    with context.progress() as progress:
        snapshot = back_up(context.pachd, context.token, chosen, progress, workers)
    show(context, BackupSummary.of(snapshot))
    return EXIT_PARTIAL if snapshot.manifest.partial else 0


def _policy(
    context: CommandContext, file: str | None, sources: tuple[str, ...], history: str | None
) -> Policy:
    if sources:
        if file:
            raise UsageError("--policy and --source exclude each other")
        fields = {
            "version": 1,
            "target": context.vault_url(),
            "sources": list(sources),
            "history": history or "all",
        }
        return policy.without_name(fields, "--source")
    if history:
        raise UsageError("--history needs --source")
    if file:
        chosen = policy.parse(read_text(Path(file)), file)
    else:
        with connect(context.pachd, context.token) as connection:
            hint = "--policy FILE, or --vault URL --source PROJECT/REPO"
            # unlike a policy that is named, one in the cluster may be a restored one of another cluster
            chosen = committed_policy.in_force(connection, context.vault, hint)
    return chosen.model_copy(update={"target": context.vault}) if context.vault else chosen

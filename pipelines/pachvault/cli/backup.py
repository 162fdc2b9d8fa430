"""`init` and `backup`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from pachvault import policy
from pachvault.cli import committed_policy
from pachvault.cli.common import (
    CommandContext,
    common_options,
    human,
    put_json,
    read_text,
    say,
    workers_option,
)
from pachvault.errors import EXIT_PARTIAL, UsageError
from pachvault.maintenance.prune import reserve
from pachvault.pach.connection import connect
from pachvault.policy import Policy
from pachvault.store.open_store import open_store
from pachvault.vault import vault
from pachvault.vault.snapshots import Snapshot

_LONGEST_GRACE_DAYS = 3650


@click.command("init")
@click.option(
    "--grace",
    type=click.FloatRange(min=0, min_open=True),
    default=7,
    show_default=True,
    metavar="DAYS",
    help="How long prune keeps what is no longer needed; a backup may take half of it. For good.",
)
@click.option("--shared", is_flag=True, help="For the folder's group, too.  [default: for its owner alone]")
@common_options
@click.pass_obj
def init_command(state: CommandContext, /, grace: float, shared: bool) -> int:
    """Make an empty vault.

    What is written in it is for its owner alone, whatever the umask; with --shared for the folder's group,
    too (docs/operating.md says how to share a vault that is there).

    Example: pachvault --vault file:///mnt/backup/vault init
    """
    if not grace <= _LONGEST_GRACE_DAYS:  # NaN is not, either
        raise UsageError(f"--grace {grace:g}: at most {_LONGEST_GRACE_DAYS} days")
    made = vault.create(open_store(state.vault_url()), timedelta(days=grace), is_shared=shared)
    reserve.fill(made)
    if state.json:
        put_json("summary", vault=made.store.url, vault_id=made.config.vault_id)
    else:
        say(f"made vault {made.config.vault_id[:12]} at {made.store.url}")
    return 0


@click.command("backup")
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(),
    help="Policy file.  [default: policy.yaml in repo pachvault/policy]",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="PATTERN",
    help="project/repo@branch; instead of a policy. Repeatable.",
)
@click.option("--history", default=None, help="With --source: heads or all.  [default: all]")
@workers_option("Processes.")
@common_options
@click.pass_obj
def backup_command(
    state: CommandContext,
    policy_file: str | None,
    sources: tuple[str, ...],
    history: str | None,
    workers: int,
) -> int:
    """Back up now: freeze, export and seal from this shell.

    Exits with 3 where some source could not be read: the snapshot is sealed, marked partial, and says which.

    Example: pachvault --vault file:///mnt/backup/vault backup --source 'images/*@master'
    """
    from pachvault.backup.backup import back_up  # noqa: PLC0415

    chosen = _policy(state, policy_file, sources, history)
    with state.progress() as progress:
        snapshot = back_up(state.pachd, state.token, chosen, progress, workers)
    _report(state, snapshot)
    return EXIT_PARTIAL if snapshot.manifest.partial else 0


def _policy(state: CommandContext, file: str | None, sources: tuple[str, ...], history: str | None) -> Policy:
    if sources:
        if file:
            raise UsageError("--policy and --source exclude each other")
        fields = {
            "version": 1,
            "target": state.vault_url(),
            "sources": list(sources),
            "history": history or "all",
        }
        return policy.validate(fields, "--source")
    if history:
        raise UsageError("--history goes with --source")
    if file:
        chosen = policy.parse(read_text(Path(file)), file)
    else:
        with connect(state.pachd, state.token) as connection:
            hint = "--policy FILE, or --vault URL --source PROJECT/REPO"
            chosen = committed_policy.in_force(connection, state.vault, hint)
    return chosen.model_copy(update={"target": state.vault}) if state.vault else chosen


def _report(state: CommandContext, snapshot: Snapshot) -> None:
    manifest = snapshot.manifest
    if state.json:
        put_json(
            "summary",
            snapshot=snapshot.name.id,
            partial=manifest.partial,
            repos=len(manifest.repos),
            problems=[problem.model_dump(exclude_none=True) for problem in manifest.problems],
            totals=manifest.totals.model_dump(),
        )
        return
    totals = manifest.totals
    say(
        f"snapshot {snapshot.short_id} sealed{' (partial)' if manifest.partial else ''}: "
        f"{len(manifest.repos)} repos, {totals.commits_new} new commits, {human(totals.bytes_read)} read, "
        f"{human(totals.bytes_new)} new, {human(totals.bytes_stored)} stored"
    )
    for problem in manifest.problems:
        say(f"  {problem.kind}: {problem.where}: {problem.message}")

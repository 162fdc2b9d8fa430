"""`forget`: remove snapshots by the policy's retention or by name, and bring them back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from pachvault import policy
from pachvault.cli import committed_policy
from pachvault.cli.common import CommandContext, Count, agreed_now, common_options, read_text
from pachvault.cli.render import show, show_all
from pachvault.cli.results.error import WarningResult
from pachvault.cli.results.forget import BringBackSummary, DecisionResult, ForgetSummary, RuleResult
from pachvault.errors import UsageError
from pachvault.maintenance import reserve
from pachvault.maintenance.forget import forget
from pachvault.maintenance.forget.forget import ForgetDecision
from pachvault.maintenance.forget.retention import RetentionAction
from pachvault.pach.connection import connect
from pachvault.policy import Policy, Retention
from pachvault.store.open_store import open_store
from pachvault.syntax.selection import quoted
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault, open_vault

_COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


def _keep_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name in reversed(_COUNTS):
        help_text = (
            "Keep the N newest."
            if name == "last"
            else f"Keep the newest snapshot of each of N {name} periods."
        )
        option = click.option(f"--keep-{name}", type=Count(), default=None, metavar="N", help=help_text)
        command = option(command)
    return command


@click.command("forget")
@click.argument("snaps", nargs=-1, metavar="[SNAP]...")
@_keep_options
@click.option(
    "--keep-within",
    default=None,
    metavar="DURATION",
    help="Keep what was frozen within DURATION of the newest: a number and s, m (minutes), h, d or w.",
)
@click.option(
    "--match",
    multiple=True,
    metavar="PATTERN",
    help="With --keep-…: only snapshots that have a branch that matches. Repeatable.",
)
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    help="Use the retention of this policy file.  [default: the policy in the cluster]",
)
@click.option("--bring-back", default=None, metavar="SNAP", help="Undo: bring a forgotten snapshot back.")
@click.option(
    "--dry-run", is_flag=True, help="Show which snapshots would be forgotten, and why; change nothing."
)
@common_options
@click.pass_obj
def forget_command(
    context: CommandContext,
    /,
    snaps: tuple[str, ...],
    policy_file: Path | None,
    bring_back: str | None,
    dry_run: bool,
    **keeps: object,
) -> int:
    """Forget snapshots by rules or by name.

    Without SNAP, the snapshots that the retention rules do not keep are forgotten. The command first prints
    the rules as it read them. A forgotten snapshot can be brought back until the grace period is nearly over.
    Pinned snapshots are never forgotten; damaged ones only by name.

    --keep-… applies to every policy and every cluster in the vault, to each separately. The retention of a
    policy applies only to the snapshots of that policy, and of the cluster that the policy was read from. If
    the vault is known to be damaged, nothing is forgotten by rules, and the exit code is 13.

    Example: pachvault --vault file:///mnt/backup/vault forget --keep-daily 14 --keep-monthly 12 --dry-run
    """
    given = {name: value for name, value in keeps.items() if value}
    if sum(map(bool, (snaps, given, policy_file, bring_back))) > 1:
        raise UsageError("SNAP, --keep-…, --policy and --bring-back exclude each other")
    if bring_back is not None:
        return _bring_back(context, bring_back, dry_run=dry_run)
    if snaps:
        vault = context.open_vault()
        decisions, now = forget.plan_named(vault, snaps), agreed_now(vault, dry_run=dry_run)
    elif given:
        vault = context.open_vault()
        rules, now = [_rule(given)], agreed_now(vault, dry_run=dry_run)
        if unmatched := forget.unmatched(vault, rules):
            raise UsageError(f"no snapshot has a branch that matches {quoted(unmatched)}", where="--match")
        forget.check_known(vault, now)
        decisions = forget.plan(vault, rules, now)
        _show_rules(context, rules, [])
    else:
        chosen, cluster = _policy(context, policy_file)
        vault = open_vault(open_store(context.vault or chosen.target))
        now = agreed_now(vault, dry_run=dry_run)
        forget.check_known(vault, now)
        decisions = forget.plan(vault, chosen.retention, now, policy=chosen.name, cluster=cluster)
        _show_rules(context, chosen.retention, forget.unmatched(vault, chosen.retention))
    show_all(context, DecisionResult, [DecisionResult.of(decision) for decision in decisions])
    forgotten = None if dry_run else reserve.used(vault, lambda _: forget.execute(vault, decisions))
    show(context, _summary(vault, decisions, forgotten, now))
    return 0


def _show_rules(context: CommandContext, rules: list[Retention], unmatched: list[str]) -> None:
    for rule in rules:
        show(context, RuleResult(match=rule.match, keeps=rule.keeps))
    for pattern in unmatched:
        message = f"no snapshot has a branch that matches {pattern!r} of the policy's retention"
        show(context, WarningResult(kind="nothing-matched", message=message))


def _rule(keeps: dict[str, object]) -> Retention:
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in keeps.items()}
    if list(fields) == ["match"]:
        raise UsageError("--match goes with --keep-…")
    # validated as a part of a policy, so that flags and policies take the same values. Target and sources are
    # placeholders
    document: dict[str, object] = {"version": 1, "target": "x", "sources": ["*/*"], "retention": fields}
    return policy.validate(document, "forget").retention[0]


def _policy(context: CommandContext, file: Path | None) -> tuple[Policy, str | None]:
    """The policy, and the id of the cluster that it was read from; None for a file."""
    if file is not None:
        chosen, cluster = policy.parse(read_text(file), str(file)), None
        where = str(file)
    else:
        with connect(context.pachd, context.token) as connection:
            hint = "--policy FILE, --keep-last N, or name the snapshots"
            chosen = committed_policy.committed(connection, hint)
            cluster = connection.cluster_id()
        where = committed_policy.WHERE
    if not chosen.retention:
        raise UsageError(
            "the policy has no retention: nothing is forgotten",
            where=where,
            hint="add one, or use --keep-last N",
        )
    return chosen, cluster


def _bring_back(context: CommandContext, reference: str, *, dry_run: bool) -> int:
    if dry_run:
        raise UsageError(
            "--bring-back has no --dry-run",
            hint="`pachvault snapshots --forgotten` lists what can be brought back",
        )
    name = forget.bring_back(context.open_vault(), reference)
    show(context, BringBackSummary(snapshot=name.id))
    return 0


def _summary(
    vault: Vault, decisions: list[ForgetDecision], forgotten: list[SnapshotName] | None, now: datetime
) -> ForgetSummary:
    """`forgotten` is None for a dry run."""
    to_forget = sum(decision.action is RetentionAction.FORGET for decision in decisions)
    damaged_names = {decision.name for decision in decisions if decision.state == "damaged"}
    damaged = len(damaged_names & set(forgotten or []))
    return ForgetSummary(
        kept=len(decisions) - to_forget,
        forgotten=len(forgotten or []),
        to_forget=to_forget,
        damaged=damaged,
        until=forget.until(vault, now) if len(forgotten or []) > damaged else None,
        dry_run=forgotten is None,
    )

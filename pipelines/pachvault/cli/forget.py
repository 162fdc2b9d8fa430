"""`forget`: drop snapshots by the policy's retention, or by name, and bring them back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from pachvault import policy
from pachvault.cli import committed_policy
from pachvault.cli.common import (
    CommandContext,
    Count,
    agreed_now,
    common_options,
    put_json,
    put_table,
    read_text,
    say,
)
from pachvault.errors import UsageError
from pachvault.maintenance.forget import forget
from pachvault.maintenance.forget.forget import Decision
from pachvault.maintenance.forget.retention import RetentionAction
from pachvault.maintenance.prune import reserve
from pachvault.pach.connection import connect
from pachvault.policy import Policy, Retention
from pachvault.store.open_store import open_store
from pachvault.syntax.selection import quoted
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault, open_vault

_COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


def _keep_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name in reversed(_COUNTS):
        help_text = "The newest N." if name == "last" else f"The newest of each period, N {name} ones."
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
    help="Frozen within 30d of the newest; a number and s, m (minutes), h, d or w.",
)
@click.option(
    "--match", multiple=True, metavar="PATTERN", help="With --keep-…: snapshots that hold such a branch."
)
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    help="A policy file, whose retention counts.  [default: the cluster's policy]",
)
@click.option("--bring-back", default=None, metavar="SNAP", help="Undo: bring a forgotten snapshot back.")
@click.option("--dry-run", is_flag=True, help="Show what would be forgotten, and why; change nothing.")
@common_options
@click.pass_obj
def forget_command(
    state: CommandContext,
    /,
    snaps: tuple[str, ...],
    policy_file: Path | None,
    bring_back: str | None,
    dry_run: bool,
    **keeps: object,
) -> int:
    """Forget the snapshots that the retention does not keep, or those that are named.

    What the rules were understood to be is said first. Forgotten snapshots can be brought back until prune's
    grace is nearly over. Pinned ones are never forgotten, damaged ones only by name. --keep-… judges every
    policy and every cluster in the vault, each for itself; a policy's own retention only the snapshots of
    that policy, and of the cluster it was read from. Exits with 13 where the vault is known to be damaged:
    nothing is forgotten by rules, then.

    Example: pachvault --vault file:///mnt/backup/vault forget --keep-daily 14 --keep-monthly 12 --dry-run
    """
    asked = {name: value for name, value in keeps.items() if value}
    if sum(map(bool, (snaps, asked, policy_file, bring_back))) > 1:
        raise UsageError("SNAP, --keep-…, --policy and --bring-back exclude each other")
    if bring_back is not None:
        return _bring_back(state, bring_back, dry_run=dry_run)
    if snaps:
        vault = state.open_vault()
        decisions, now = forget.plan_named(vault, snaps), agreed_now(vault, dry_run=dry_run)
    elif asked:
        vault = state.open_vault()
        rules, now = [_rule(asked)], agreed_now(vault, dry_run=dry_run)
        if unmatched := forget.unmatched(vault, rules):
            raise UsageError(f"no snapshot has a branch that matches {quoted(unmatched)}", where="--match")
        forget.check_known(vault, now)
        decisions = forget.plan(vault, rules, now)
        _tell_rules(state, rules, [])
    else:
        chosen, cluster = _policy(state, policy_file)
        vault = open_vault(open_store(state.vault or chosen.target))
        now = agreed_now(vault, dry_run=dry_run)
        forget.check_known(vault, now)
        decisions = forget.plan(vault, chosen.retention, now, policy=chosen.name, cluster=cluster)
        _tell_rules(state, chosen.retention, forget.unmatched(vault, chosen.retention))
    _show(state, decisions)
    done = None if dry_run else reserve.used(vault, lambda _: forget.execute(vault, decisions))
    _sum_up(state, vault, decisions, done, now)
    return 0


def _tell_rules(state: CommandContext, rules: list[Retention], unmatched: list[str]) -> None:
    """What was understood: 7m is minutes here, and months elsewhere."""
    for rule in rules:
        if state.json:
            put_json("rule", match=rule.match, keeps=rule.keeps)
        elif not state.quiet:
            say(f"rule for {', '.join(rule.match)}: {', '.join(rule.keeps)}")
    for pattern in unmatched:
        message = f"no snapshot has a branch that matches {pattern!r} of the policy's retention"
        if state.json:
            put_json("finding", kind="nothing-matched", message=message)
        else:
            say(message)


def _rule(asked: dict[str, object]) -> Retention:
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in asked.items()}
    if list(fields) == ["match"]:
        raise UsageError("--match goes with --keep-…")
    given: dict[str, object] = {"version": 1, "target": "x", "sources": ["*/*"], "retention": fields}
    return policy.validate(given, "forget").retention[0]


def _policy(state: CommandContext, file: Path | None) -> tuple[Policy, str | None]:
    """The policy, and the id of the cluster it comes from."""
    if file is not None:
        chosen, cluster = policy.parse(read_text(file), str(file)), None
        where = str(file)
    else:
        with connect(state.pachd, state.token) as connection:
            hint = "--policy FILE, --keep-last N, or name the snapshots"
            chosen = committed_policy.committed(connection, hint)
            cluster = connection.cluster_id()
        where = committed_policy.WHERE
    if not chosen.retention:
        raise UsageError(
            "the policy has no retention: nothing is forgotten", where=where, hint="add one, or --keep-last N"
        )
    return chosen, cluster


def _bring_back(state: CommandContext, reference: str, *, dry_run: bool) -> int:
    if dry_run:
        raise UsageError(
            "--bring-back has no --dry-run", hint="`pachvault snapshots --forgotten` says what it can"
        )
    name = forget.bring_back(state.open_vault(), reference)
    if state.json:
        put_json("summary", brought_back=name.id)
    else:
        say(f"snapshot {name.id[:12]} is there, and pinned: `pachvault snapshots unpin` lets it go again")
    return 0


def _show(state: CommandContext, decisions: list[Decision]) -> None:
    if state.json:
        for each in decisions:
            put_json(
                "decision",
                id=each.name.id,
                frozen_at=each.name.frozen_at,
                state=each.state,
                policy=each.policy,
                action=each.action.value,
                reasons=each.reasons,
            )
        return
    put_table(
        ["ID", "FROZEN (UTC)", "STATE", "POLICY", "ACTION", "WHY"],
        [
            [
                each.name.id[:12],
                f"{each.name.frozen_at:%Y-%m-%d %H:%M:%S}",
                each.state,
                each.policy,
                each.action.value,
                "; ".join(each.reasons),
            ]
            for each in decisions
        ],
    )


def _sum_up(
    state: CommandContext,
    vault: Vault,
    decisions: list[Decision],
    done: list[SnapshotName] | None,
    now: datetime,
) -> None:
    """`done`: what was forgotten; None for a dry run."""
    to_forget = sum(each.action is RetentionAction.FORGET for each in decisions)
    if state.json:
        put_json(
            "summary",
            kept=len(decisions) - to_forget,
            forgotten=len(done or []),
            to_forget=to_forget,
            dry_run=done is None,
        )
    elif done is None:
        say(f"{to_forget} of {len(decisions)} snapshots would be forgotten")
    else:
        broken = len({each.name for each in decisions if each.state == "damaged"} & set(done))
        until = f"{forget.until(vault, now):%Y-%m-%d %H:%M} UTC"
        back = f"; `forget --bring-back` until {until}" if len(done) > broken else ""
        lost = f"; {broken} damaged, which cannot be brought back" if broken else ""
        say(f"{len(done)} of {len(decisions)} snapshots forgotten{lost}{back}")

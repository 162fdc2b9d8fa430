"""`snapshots`, `snapshots pin`, `snapshots unpin`: list snapshots, and keep them from being forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from pachvault.cli.common import CommandContext, common_options
from pachvault.cli.render import show, show_all
from pachvault.cli.results.snapshots import PinSummary, SnapshotResult
from pachvault.errors import EXIT_DAMAGE, DamageError
from pachvault.maintenance import pins
from pachvault.maintenance.forget import forget
from pachvault.maintenance.forget.forget import ForgottenSnapshot
from pachvault.syntax import selection
from pachvault.syntax.selection import SnapshotRef
from pachvault.vault import clock, snapshots
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault


@click.group("snapshots", invoke_without_command=True)
@click.option("--forgotten", is_flag=True, help="List forgotten snapshots that can still be brought back.")
@common_options
@click.pass_context
def snapshots_command(click_context: click.Context, forgotten: bool) -> int:
    """List the snapshots, in the order in which they were sealed.

    `snapshots pin` keeps a snapshot from being forgotten. The exit code is 13 if a manifest is damaged.

    Example: pachvault --vault file:///mnt/backup/vault snapshots pin latest --reason 'before the migration'
    """
    context = click_context.find_object(CommandContext)
    # click calls the group before `pin` and `unpin`, too: they must not list
    if click_context.invoked_subcommand or context is None:
        return 0
    results = list(_snapshots(context.open_vault(), are_forgotten=forgotten))
    show_all(context, SnapshotResult, results)
    return EXIT_DAMAGE if any(result.damaged is not None for result in results) else 0


def _snapshots(vault: Vault, *, are_forgotten: bool) -> Iterator[SnapshotResult]:
    """The snapshots, or the forgotten ones, in the order of their sealing."""
    pinned = pins.load(vault)
    names: list[tuple[SnapshotName, ForgottenSnapshot | None]]
    if are_forgotten:
        names = [(forgotten.name, forgotten) for forgotten in forget.forgotten(vault)]
    else:
        names = [(name, None) for name in snapshots.names(vault)]
    now = datetime.now(UTC)
    for name, forgotten in names:
        pin = pinned.get(name.id)
        try:
            manifest = snapshots.load(vault, name).manifest
        except DamageError as error:
            yield SnapshotResult(
                id=name.id,
                frozen_at=name.frozen_at,
                damaged=str(error),
                pinned=pin is not None,
                pin_reason=pin.reason if pin else None,
                forgotten_at=forgotten.forgotten_at if forgotten else None,
                until=forgotten.until if forgotten else None,
            )
        else:
            is_future = clock.is_future(name.frozen_at, now)
            yield SnapshotResult.of(name, manifest, pin, forgotten, is_future=is_future)


@snapshots_command.command("pin")
@click.argument("snap", metavar="SNAP")
@click.option("--reason", default="", help="Why it is pinned; `pachvault snapshots` shows it.")
@common_options
@click.pass_obj
def pin_command(context: CommandContext, snap: str, reason: str) -> int:
    """Pin a snapshot, so that it is never forgotten.

    SNAP is an id, the start of an id, a time, or latest.
    """
    vault = context.open_vault()
    name = snapshots.find(vault, snap)
    is_new = pins.pin(vault, name.id, reason)
    show(context, PinSummary(snapshot=name.id, outcome="pinned" if is_new else "was pinned already"))
    return 0


@snapshots_command.command("unpin")
@click.argument("snap", metavar="SNAP")
@common_options
@click.pass_obj
def unpin_command(context: CommandContext, snap: str) -> int:
    """Remove the pin of a snapshot."""
    vault = context.open_vault()
    wanted = SnapshotRef.parse(snap)
    # the snapshot of a pin may be damaged, forgotten or gone
    pinned = None
    if wanted.at is None and wanted.id != selection.LATEST:
        pinned = selection.pick(pins.load(vault), wanted.id, "pinned snapshot", selection.SNAPSHOT_DIGITS)
    snapshot_id = pinned or snapshots.find(vault, wanted).id
    was_pinned = pins.unpin(vault, snapshot_id)
    show(context, PinSummary(snapshot=snapshot_id, outcome="unpinned" if was_pinned else "was not pinned"))
    return 0

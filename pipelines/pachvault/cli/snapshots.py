"""`snapshots`, `snapshots pin` and `snapshots unpin`: what a vault holds, and what stays there."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from pachvault.cli.common import CommandContext, common_options, human, put_json, put_table, say
from pachvault.errors import EXIT_DAMAGE, DamageError
from pachvault.format.documents import Manifest, Pin
from pachvault.maintenance import pins
from pachvault.maintenance.forget import forget
from pachvault.maintenance.forget.forget import Forgotten
from pachvault.syntax import selection
from pachvault.syntax.selection import SnapshotRef
from pachvault.vault import clock, snapshots
from pachvault.vault.snapshots import SnapshotName

_HEADINGS = ["ID", "FROZEN (UTC)", "STATE", "POLICY", "REPOS", "SIZE", "NEW", "STORED"]
_RIGHT = (4, 5, 6, 7)


@click.group("snapshots", invoke_without_command=True)
@click.option("--forgotten", is_flag=True, help="Those that were forgotten and can still be brought back.")
@common_options
@click.pass_context
def snapshots_command(context: click.Context, forgotten: bool) -> int:
    """List the snapshots in the order of their sealing; or pin one, that it is never forgotten.

    Example: pachvault --vault file:///mnt/backup/vault snapshots pin latest --reason 'before the migration'
    """
    state = context.find_object(CommandContext)
    if context.invoked_subcommand or state is None:
        return 0
    vault = state.open_vault()
    pinned = pins.load(vault)
    known: list[tuple[SnapshotName, Forgotten | None]]
    if forgotten:
        known = [(each.name, each) for each in forget.forgotten(vault)]
    else:
        known = [(name, None) for name in snapshots.names(vault)]
    rows: list[list[object]] = []
    damaged = 0
    now = datetime.now(UTC)
    for name, gone in known:
        try:
            manifest = snapshots.load(vault, name).manifest
        except DamageError as error:
            damaged += 1
            if state.json:
                put_json("snapshot", id=name.id, frozen_at=name.frozen_at, damaged=str(error))
            row: list[object] = [
                name.id[:12],
                f"{name.frozen_at:%Y-%m-%d %H:%M:%S}",
                "damaged",
                "",
                "",
                "",
                "",
                "",
            ]
        else:
            if state.json:
                _put(name, manifest, pinned.get(name.id), gone, now)
            row = _row(name, manifest, now)
        rows.append([*row, _note(pinned.get(name.id), gone)])
    if not state.json:
        last = "UNTIL (UTC)" if forgotten else "PINNED"
        is_wanted = forgotten or any(row[-1] for row in rows)
        headings = [*_HEADINGS, last] if is_wanted else _HEADINGS
        put_table(headings, [row[: len(headings)] for row in rows], right=_RIGHT)
    return EXIT_DAMAGE if damaged else 0


@snapshots_command.command("pin")
@click.argument("snap", metavar="SNAP")
@click.option("--reason", default="", help="Why, for those who wonder later.")
@common_options
@click.pass_obj
def pin_command(state: CommandContext, snap: str, reason: str) -> int:
    """Keep a snapshot from being forgotten. SNAP is an id, a prefix, a time, or latest."""
    vault = state.open_vault()
    name = snapshots.find(vault, snap)
    _told(state, name.id, "pinned" if pins.pin(vault, name.id, reason) else "was pinned already")
    return 0


@snapshots_command.command("unpin")
@click.argument("snap", metavar="SNAP")
@common_options
@click.pass_obj
def unpin_command(state: CommandContext, snap: str) -> int:
    """Take a snapshot's pin away."""
    vault = state.open_vault()
    wanted = SnapshotRef.parse(snap)
    # the snapshot of a pin may be damaged, forgotten or gone
    pinned = None
    if wanted.at is None and wanted.id != selection.LATEST:
        pinned = selection.pick(pins.load(vault), wanted.id, "pinned snapshot", selection.SNAPSHOT_DIGITS)
    snapshot_id = pinned or snapshots.find(vault, wanted).id
    _told(state, snapshot_id, "unpinned" if pins.unpin(vault, snapshot_id) else "was not pinned")
    return 0


def _told(state: CommandContext, snapshot_id: str, outcome: str) -> None:
    if state.json:
        put_json("summary", snapshot=snapshot_id, outcome=outcome)
    else:
        say(f"snapshot {snapshot_id[:12]} {outcome}")


def _put(
    name: SnapshotName, manifest: Manifest, pin: Pin | None, gone: Forgotten | None, now: datetime
) -> None:
    more: dict[str, object] = {}
    if gone is not None:
        more = {"forgotten_at": gone.forgotten_at, "until": gone.until}
    elif pin is not None:
        more = {"pin_reason": pin.reason}
    put_json(
        "snapshot",
        id=name.id,
        frozen_at=manifest.frozen_at,
        sealed_at=manifest.sealed_at,
        is_future=clock.is_future(name.frozen_at, now),
        partial=manifest.partial,
        problems=[problem.model_dump(exclude_none=True) for problem in manifest.problems],
        policy=manifest.policy,
        repos=len(manifest.repos),
        size_bytes=_size(manifest),
        totals=manifest.totals.model_dump(),
        pinned=pin is not None,
        **more,
    )


def _row(name: SnapshotName, manifest: Manifest, now: datetime) -> list[object]:
    state = "partial" if manifest.partial else "sealed"
    notes = sum(problem.is_note for problem in manifest.problems)
    if notes:
        state += f", {notes} note{'s' if notes > 1 else ''}"
    if clock.is_future(name.frozen_at, now):
        state += ", in the future"
    return [
        name.id[:12],
        f"{manifest.frozen_at:%Y-%m-%d %H:%M:%S}",
        state,
        manifest.policy,
        len(manifest.repos),
        human(_size(manifest)),
        human(manifest.totals.bytes_new),
        human(manifest.totals.bytes_stored),
    ]


def _note(pin: Pin | None, gone: Forgotten | None) -> str:
    """The last column: until when a forgotten snapshot can be brought back; why one is pinned."""
    if gone is not None:
        return f"{gone.until:%Y-%m-%d %H:%M}"
    return "" if pin is None else pin.reason or "yes"


def _size(manifest: Manifest) -> int:
    return sum(entry.size_bytes for entry in manifest.repos)

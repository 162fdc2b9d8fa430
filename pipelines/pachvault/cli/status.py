"""`status`: how the vault stands, in one look."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from pachvault import policy
from pachvault.cli.common import CommandContext, common_options, human, put, put_json, read_text
from pachvault.errors import EXIT_DAMAGE, EXIT_PARTIAL
from pachvault.maintenance.status import Status, status
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault


@click.command("status")
@click.option(
    "--policy", "policy_file", type=click.Path(path_type=Path), help="A policy file, whose promises count."
)
@common_options
@click.pass_obj
def status_command(state: CommandContext, policy_file: Path | None) -> int:
    """Show how the vault stands: snapshots, what was verified, what waits, what is amiss or overdue.

    Reads the vault alone. Exits with 13 where damage is known, with 3 where something is overdue.

    Example: pachvault --vault file:///mnt/backup/vault status --policy policy.yaml
    """
    chosen = policy.parse(read_text(policy_file), str(policy_file)) if policy_file else None
    url = state.vault or (chosen.target if chosen else None) or state.vault_url()
    found = status(open_vault(open_store(url)), chosen, datetime.now(UTC))
    if state.json:
        put_json("status", **_plain(asdict(found)))
    else:
        _show(found)
    if found.damaged:
        return EXIT_DAMAGE
    return EXIT_PARTIAL if found.due else 0


def _plain(value: Any) -> Any:
    """Times as ISO 8601 has them, durations in seconds."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else value


def _show(found: Status) -> None:
    verified = found.verified
    read = f"{human(verified.bytes)} of {human(verified.bytes_total)}"
    packs = f"{verified.packs} of {verified.packs_total} packs"
    rows = [
        ("snapshots", f"{found.snapshots}, {found.pinned} pinned, {found.forgotten} forgotten"),
        ("newest", _newest(found)),
        *(("IN THE FUTURE", line) for line in found.future),
        *(("noted", line) for line in found.notes),
        *(("unsealed", line) for line in found.running),
        ("verified", f"{read} in {packs} within {found.within.days} days"),
        ("drill passed", _at(found.drilled_at)),
        *([("drill FAILED", _at(found.drill_failed_at))] if found.drill_failed_at else []),
        ("maintenance", _at(found.kept_up_at)),
        *([("maintenance FAILED", _at(found.maintenance_failed_at))] if found.maintenance_failed_at else []),
        ("to be deleted", f"{found.marked} objects"),
        *(
            ("", f"{name}: damaged, and nothing of it is needed: waits to be deleted")
            for name in found.waiting
        ),
        *(("DAMAGED", line) for line in found.damaged),
        *(("DUE", line) for line in found.due),
    ]
    for name, value in rows:
        put(f"{name:<20}{value}")


def _newest(found: Status) -> str:
    if found.latest is None:
        return "none"
    partial = ", partial" if found.latest.partial else ""
    return (
        f"{found.latest.id[:12]}, frozen {_at(found.latest.frozen_at)}, policy {found.latest.policy}{partial}"
    )


def _at(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC" if time else "never"

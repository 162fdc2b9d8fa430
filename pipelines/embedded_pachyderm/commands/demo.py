"""`demo`: see it work, with nothing but this machine."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from pachvault.cli.common import CommandContext, common_options, flush, put, put_json
from pachvault.errors import UsageError


@click.command("demo")
@click.argument("folder", required=False, metavar="[FOLDER]", type=click.Path(path_type=Path))
@common_options
@click.pass_obj
def demo_command(state: CommandContext, folder: Path | None) -> int:
    """Run a whole backup and its recovery on the embedded Pachyderm, in FOLDER or a fresh temporary one.

    Makes data, deploys the pipelines from their specs, ticks twice, reads everything back without
    Pachyderm and compares it; then loses a repo, a branch and the cluster, and brings them back.
    Leaves the vault to be looked at.
    """
    from embedded_pachyderm.demo.demo import demo  # noqa: PLC0415

    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="pachvault-demo-"))
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("is not an empty folder", where=str(folder), hint="name another, or none")
    folder = folder.absolute()
    began = time.monotonic()

    def say(text: str) -> None:
        if state.json:
            put_json("progress", seconds=round(time.monotonic() - began, 1), message=text)
        else:
            put(f"[{time.monotonic() - began:5.1f} s] {text}")
        flush()

    measured = demo(folder, say)
    mean = sum(measured.backup_seconds) / len(measured.backup_seconds)
    rate = measured.restored_bytes / measured.restore_seconds
    runs, total = len(measured.backup_seconds), sum(measured.backup_seconds)
    say(f"T = n × t: {runs} backups × {mean:.1f} s = {total:.1f} s")
    size = measured.restored_bytes / 1e6
    say(f"R = D / B: {size:.1f} MB ÷ {rate / 1e6:.1f} MB/s = {measured.restore_seconds:.1f} s")
    vault = (folder / "vault").as_uri()
    if state.json:
        put_json(
            "summary", vault=vault, backup_seconds=measured.backup_seconds, restore_bytes_per_second=rate
        )
        return 0
    put()
    put(f"The vault is at {folder / 'vault'}. Look at it:")
    put()
    for command in ("snapshots", "show latest", "ls latest research/journal@master", "verify --level data"):
        put(f"  pachvault --vault {vault} {command}")
    return 0

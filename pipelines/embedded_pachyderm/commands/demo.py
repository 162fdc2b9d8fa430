"""`demo`: a whole backup and its recovery, on this machine alone."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from embedded_pachyderm.commands.results import DemoStepResult, DemoSummary
from pachvault.cli.common import CommandContext, common_options, flush
from pachvault.cli.render import show
from pachvault.errors import UsageError


@click.command("demo")
@click.argument("folder", required=False, metavar="[FOLDER]", type=click.Path(path_type=Path))
@common_options
@click.pass_obj
def demo_command(context: CommandContext, folder: Path | None) -> int:
    """Run a whole backup and recovery on the embedded Pachyderm.

    FOLDER must be empty or new; without it, a temporary folder is made. The demo makes data, deploys the
    pipelines from their specs, runs two backups, reads everything back without Pachyderm and compares it.
    Then it deletes a repo, a branch and the cluster, and restores them. The vault is kept, so that you can
    look at it.
    """
    from embedded_pachyderm.demo.demo import demo  # noqa: PLC0415

    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="pachvault-demo-"))
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("not an empty folder", where=str(folder), hint="name another folder, or none")
    folder = folder.absolute()
    began = time.monotonic()

    def show_step(message: str) -> None:
        elapsed = round(time.monotonic() - began, 1)
        show(context, DemoStepResult(elapsed_seconds=elapsed, message=message))
        flush()

    measured = demo(folder, show_step)
    mean = sum(measured.backup_seconds) / len(measured.backup_seconds)
    rate = measured.restored_bytes / measured.restore_seconds
    runs, total = len(measured.backup_seconds), sum(measured.backup_seconds)
    show_step(f"T = n × t: {runs} backups × {mean:.1f} s = {total:.1f} s")
    size = measured.restored_bytes / 1e6
    show_step(f"R = D / B: {size:.1f} MB ÷ {rate / 1e6:.1f} MB/s = {measured.restore_seconds:.1f} s")
    show(
        context,
        DemoSummary(
            vault=(folder / "vault").as_uri(),
            folder=str(folder / "vault"),
            backup_seconds=measured.backup_seconds,
            restore_bytes_per_second=rate,
        ),
    )
    return 0

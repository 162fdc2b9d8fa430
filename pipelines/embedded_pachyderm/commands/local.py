"""`local`: start and stop the embedded Pachyderm, a test double."""

from __future__ import annotations

from pathlib import Path

import click

from embedded_pachyderm import daemon
from embedded_pachyderm.commands.results import LocalStartSummary, LocalStatusResult, LocalStopSummary
from pachvault.cli.common import CommandContext, common_options
from pachvault.cli.render import show
from pachvault.errors import EXIT_FAILED

_STATE = click.option(
    "--state", "folder", type=click.Path(path_type=Path), default=Path(".pachvault-local"), show_default=True,
    help="The folder with its data.",
)  # fmt: skip


@click.group("local")
def local_command() -> None:
    """Start and stop the embedded Pachyderm.

    For developers, and to try pachvault out. It is a test double: enough of Pachyderm to run the pipelines
    on this machine. It listens on loopback only. Do not use it for data that matters.
    """


@local_command.command("start")
@_STATE
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="The port to listen on; 0 chooses a free one."
)
@click.option(
    "--costs",
    "has_costs",
    is_flag=True,
    help="Let calls take as long as on a real Pachyderm, for benchmarks.",
)
@common_options
@click.pass_obj
def _start(context: CommandContext, folder: Path, port: int, *, has_costs: bool) -> int:
    """Start the embedded Pachyderm and print its address.

    If it runs already, only the address is printed.
    """
    running = daemon.start(folder, port=port, has_costs=has_costs)
    show(context, LocalStartSummary(address=running.address, pid=running.pid, state=str(running.state)))
    return 0


@local_command.command("stop")
@_STATE
@common_options
@click.pass_obj
def _stop(context: CommandContext, folder: Path) -> int:
    """Stop the embedded Pachyderm. Its data is kept."""
    was_running = daemon.stop(folder)
    show(context, LocalStopSummary(stopped=was_running))
    return 0


@local_command.command("status")
@_STATE
@common_options
@click.pass_obj
def _status(context: CommandContext, folder: Path) -> int:
    """Show whether the embedded Pachyderm runs.

    The exit code is 1 if it does not run.
    """
    running = daemon.status(folder)
    show(
        context,
        LocalStatusResult(
            running=running is not None,
            address=running.address if running else None,
            pid=running.pid if running else None,
        ),
    )
    return 0 if running else EXIT_FAILED

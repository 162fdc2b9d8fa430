"""`local`: the embedded Pachyderm, a double for trying things out and for tests."""

from __future__ import annotations

from pathlib import Path

import click

from embedded_pachyderm import daemon
from pachvault.cli.common import CommandContext, common_options, put, put_json, say
from pachvault.errors import EXIT_FAILED

_STATE = click.option(
    "--state", "folder", type=click.Path(path_type=Path), default=Path(".pachvault-local"), show_default=True,
    help="The folder that holds its data.",
)  # fmt: skip


@click.group("local")
def local_command() -> None:
    """The embedded Pachyderm: enough of it to run the pipelines on this machine, on loopback only.

    It is a double, for trying things out and for tests; it is not for data that matters.
    """


@local_command.command("start")
@_STATE
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 chooses a free one.")
@common_options
@click.pass_obj
def _start(state: CommandContext, folder: Path, port: int) -> int:
    """Start it, unless it runs already; print its address."""
    running = daemon.start(folder, port=port)
    if state.json:
        put_json("summary", address=running.address, pid=running.pid, state=str(running.state))
    else:
        put(running.address)
    return 0


@local_command.command("stop")
@_STATE
@common_options
@click.pass_obj
def _stop(state: CommandContext, folder: Path) -> int:
    """Stop it; its data stays."""
    was_running = daemon.stop(folder)
    if state.json:
        put_json("summary", stopped=was_running)
    else:
        say("stopped" if was_running else "was not running")
    return 0


@local_command.command("status")
@_STATE
@common_options
@click.pass_obj
def _status(state: CommandContext, folder: Path) -> int:
    """Say whether it runs, and where. Exits with 1 where it does not."""
    running = daemon.status(folder)
    if state.json:
        put_json("summary", running=running is not None, address=running.address if running else None)
    else:
        put(f"running at {running.address}, process {running.pid}" if running else "not running")
    return 0 if running else EXIT_FAILED

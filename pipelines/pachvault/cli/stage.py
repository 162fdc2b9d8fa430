"""`stage`: what the pipelines' specs call inside a worker."""

from __future__ import annotations

from importlib import import_module

import click

from pachvault.bundled_files import ALL_STAGES
from pachvault.cli.common import CommandContext, common_options, say
from pachvault.worker import Worker


@click.command("stage")
@click.argument("name", type=click.Choice(ALL_STAGES))
@common_options
@click.pass_obj
def stage_command(state: CommandContext, name: str) -> int:
    """Run a pipeline's stage inside its worker. Not for a shell: `pachvault backup` is."""
    state.quiet = True
    say(import_module(f"pachvault.stages.{name}").run(Worker.from_environment()))
    return 0

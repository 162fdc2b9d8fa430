"""`stage`: the command that the pipelines run in their workers."""

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
def stage_command(context: CommandContext, name: str) -> int:
    """Run the stage of a pipeline in its worker. In a shell, use `pachvault backup`."""
    context.quiet = True
    say(import_module(f"pachvault.stages.{name}").run(Worker.from_environment()))
    return 0

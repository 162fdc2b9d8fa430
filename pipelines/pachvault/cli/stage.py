"""`stage`: the command that the pipelines run in their workers."""

from __future__ import annotations

import logging
from importlib import import_module

import click

from pachvault.bundled_files import ALL_STAGES
from pachvault.cli.common import CommandContext, common_options
from pachvault.worker import Worker

_log = logging.getLogger(__name__)


@click.command("stage")
@click.argument("name", type=click.Choice(ALL_STAGES))
@common_options
@click.pass_obj
def stage_command(context: CommandContext, name: str) -> int:
    """Run the stage of a pipeline in its worker. The pipelines call it; users do not.

    In a shell use `pachvault backup`, `pachvault restore` or `pachvault maintenance` instead.
    """
    worker = Worker.from_environment()
    context.quiet = True
    if context.log is not None:
        context.log.use_json(run=worker.job_id, stage=name)
        context.is_in_worker = True
    # imported by name: a stage does not load what the other stages need
    _log.info("%s", import_module(f"pachvault.stages.{name}").run(worker))
    return 0

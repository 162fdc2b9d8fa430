"""`deploy` creates the pipelines in a cluster; `specs` writes their specs to a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from pachvault import bundled_files, policy
from pachvault.cli.common import CommandContext, common_options, flush, read_text
from pachvault.cli.render import show
from pachvault.cli.results.backup import DeployStepResult, DeploySummary, SpecsSummary
from pachvault.cli.results.error import WarningResult
from pachvault.deploy import DeployStep, deploy
from pachvault.errors import UsageError
from pachvault.pach.connection import connect


@click.command("deploy")
@click.option(
    "--restore",
    type=click.Choice(["on", "off"]),
    default=None,
    help="on: create the three restore pipelines, too. off: delete them.  [default: leave them as they are]",
)
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    help="A policy file to commit to repo pachvault/policy.",
)
@click.option(
    "--specs",
    "folder",
    type=click.Path(path_type=Path),
    help="A folder with your own specs, as `pachvault specs` writes them.  [default: those of this version]",
)
@common_options
@click.pass_obj
def deploy_command(
    context: CommandContext, restore: str | None, policy_file: Path | None, folder: Path | None
) -> int:
    """Create the pipelines in the cluster, or update them. Data and other pipelines are left as they are.

    The policy's schedules become the cron schedules of pipelines freeze and maintenance. This command does
    not create the vault: `pachvault init` does.

    Example: pachvault deploy --policy policy.yaml --restore on
    """
    text = (str(policy_file), read_text(policy_file)) if policy_file else None
    durations = policy.parse(text[1], text[0]).durations if text else []

    def show_step(step: DeployStep) -> None:
        show(context, DeployStepResult(kind=step.kind, name=step.name, action=step.action))
        # steps may take minutes, and a pipe is buffered: each is seen when it is done
        flush()

    with connect(context.pachd, context.token) as connection:
        deployed = deploy(
            connection,
            policy_text=text,
            restore=None if restore is None else restore == "on",
            spec=_specs(folder),
            say=show_step,
        )
    for line in deployed.missing:
        show(context, WarningResult(kind="missing", message=line))
    changed = sum(step.action not in ("unchanged", "absent") for step in deployed.steps)
    show(context, DeploySummary(changed=changed, missing=len(deployed.missing), durations=durations))
    return 0


@click.command("specs")
@click.argument("folder", required=False, default="specs", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace existing files that differ.")
@common_options
@click.pass_obj
def specs_command(context: CommandContext, folder: Path, overwrite: bool) -> int:
    """Write the pipelines' specs to a folder.

    FOLDER is `specs` unless it is named. An example policy and an example request are written, too. Use them
    with `pachctl create pipeline`. Or change them, such as an image name or a mount, and run `pachvault
    deploy --specs FOLDER`.
    """
    texts = {folder / name: bundled_files.text(name) for name in bundled_files.names()}
    for path, text in texts.items():
        # all files are compared before the first is written: a refusal leaves the folder as it was
        if not overwrite and path.exists() and read_text(path) != text:
            raise UsageError("exists and differs", where=str(path), hint="--overwrite, or another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=str(folder)) from error
    show(context, SpecsSummary(folder=str(folder), files=[path.name for path in texts]))
    return 0


def _specs(folder: Path | None) -> Callable[[str], str]:
    if folder is None:
        return bundled_files.spec
    return lambda stage: read_text(folder / f"{stage}.json")

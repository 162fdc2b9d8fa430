"""`deploy` and `specs`: the pipelines into a cluster, their specs into a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from pachvault import bundled_files, policy
from pachvault.cli.common import CommandContext, common_options, flush, put, put_json, read_text, say
from pachvault.deploy import DeployStep, deploy
from pachvault.errors import UsageError
from pachvault.pach.connection import connect


@click.command("deploy")
@click.option(
    "--restore",
    type=click.Choice(["on", "off"]),
    default=None,
    help="on: the three restore pipelines too. off: delete them.  [default: as it is]",
)
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="A policy file to commit.")
@click.option(
    "--specs",
    "folder",
    type=click.Path(path_type=Path),
    help="Specs of your own, as `pachvault specs` wrote them.  [default: those of this version]",
)
@common_options
@click.pass_obj
def deploy_command(
    state: CommandContext, restore: str | None, policy_file: Path | None, folder: Path | None
) -> int:
    """Make the pipelines in the cluster, or bring them up to date; what is there already stays.

    The policy's schedules become the ticks of pipelines freeze and maintenance. It makes no vault:
    `pachvault init` does.

    Example: pachvault deploy --policy policy.yaml --restore on
    """
    text = (str(policy_file), read_text(policy_file)) if policy_file else None
    durations = policy.parse(text[1], text[0]).durations if text else []

    def show(step: DeployStep) -> None:
        if state.json:
            put_json("progress", kind=step.kind, name=step.name, action=step.action)
        elif not state.quiet:
            put(f"{step.kind} {step.name}: {step.action}")
        flush()

    with connect(state.pachd, state.token) as connection:
        done = deploy(
            connection,
            policy_text=text,
            restore=None if restore is None else restore == "on",
            spec=_specs(folder),
            say=show,
        )
    if durations and not state.json and not state.quiet:  # 7m is minutes here, and months elsewhere
        say(f"policy: {', '.join(durations)}")
    for line in done.missing:
        if state.json:
            put_json("finding", kind="missing", message=line)
        else:
            say(f"missing: {line}")
    if state.json:
        changed = sum(step.action not in ("unchanged", "absent") for step in done.steps)
        put_json("summary", changed=changed, missing=len(done.missing))
    return 0


@click.command("specs")
@click.argument("folder", required=False, default="specs", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace files that differ.")
@common_options
@click.pass_obj
def specs_command(state: CommandContext, folder: Path, overwrite: bool) -> int:
    """Write the specs of the pipelines, and an example policy and request, to FOLDER (specs, unless named).

    For `pachctl create pipeline`, or to change them (an image's name, a mount) and `deploy --specs` them.
    """
    wanted = {folder / name: bundled_files.text(name) for name in bundled_files.names()}
    for path, text in wanted.items():
        if not overwrite and path.exists() and read_text(path) != text:
            raise UsageError("is there and differs", where=str(path), hint="--overwrite, or another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in wanted.items():
            path.write_text(text)
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=str(folder)) from error
    if state.json:
        put_json("summary", folder=str(folder), files=[path.name for path in wanted])
    else:
        say(f"wrote {len(wanted)} files to {folder}")
    return 0


def _specs(folder: Path | None) -> Callable[[str], str]:
    if folder is None:
        return bundled_files.spec
    return lambda stage: read_text(folder / f"{stage}.json")

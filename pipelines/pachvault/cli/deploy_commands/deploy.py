"""`deploy` puts the pipelines into a cluster, `undeploy` takes them out; `specs` writes their specs."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from pachvault import bundled_files, policy
from pachvault.cli.common import CommandContext, common_options, flush, put_bytes, read_text
from pachvault.cli.deploy_commands.deploy_results import (
    START_NOW,
    DeployStepResult,
    DeploySummary,
    SpecsSummary,
    UndeploySummary,
    additions_of,
    changes_of,
)
from pachvault.cli.render import show
from pachvault.cli.results.error import WarningResult
from pachvault.deploy.deploy import DeployPlan, DeployStep, carry_out, plan
from pachvault.deploy.undeploy import undeploy
from pachvault.deploy.wanted import Wanted, rendered
from pachvault.errors import UsageError
from pachvault.pach.connection import connect
from pachvault.policy import Policy

_OPTIONS = (
    click.option("--image", metavar="NAME", help="The image's registry and name; the tag is this version's."),
    click.option(
        "--volume",
        metavar="VOLUME",
        help="Mount what holds the vault: pvc:CLAIM, nfs:SERVER:/PATH or host:/PATH. It is mounted at the "
        "target's path, or at the path after an @.",
    ),
    click.option("--pull-secret", metavar="NAME", help="The secret with which the image is pulled."),
    click.option("--service-account", metavar="NAME", help="The Kubernetes service account of the workers."),
    click.option(
        "--secret",
        "secrets",
        multiple=True,
        metavar="NAME",
        help="A Kubernetes secret, such as the target's credentials. Its keys become environment variables, "
        "and files in /var/run/secrets/pachvault/NAME. Repeatable.",
    ),
)


def _operator_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that change all specs; the command gets a Wanted."""
    for option in reversed(_OPTIONS):
        command = option(command)

    @functools.wraps(command)
    def wrapped(*arguments: Any, **given: Any) -> Any:
        names = ("image", "volume", "pull_secret", "service_account", "secrets")
        chosen = {name: given.pop(name) for name in names}
        return command(*arguments, wanted=Wanted(**chosen), **given)

    return wrapped


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
    help="A folder with your own specs, as `pachvault specs` writes them: what differs in them is added.",
)
@_operator_options
@click.option("--reset", is_flag=True, help="Drop options and additions of earlier deployments.")
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
@common_options
@click.pass_obj
def deploy_command(
    context: CommandContext,
    restore: str | None,
    policy_file: Path | None,
    folder: Path | None,
    wanted: Wanted,
    *,
    reset: bool,
    dry_run: bool,
) -> int:
    """Create the pipelines in the cluster, or update them. Data and other pipelines are left as they are.

    The policy's schedules become the cron schedules of pipelines freeze and maintenance. Everything is
    checked before the first change. What was changed in a pipeline by other means (`pachctl edit pipeline`),
    by --specs or by an option is kept by later deployments, until --reset. This command does not create the
    vault: `pachvault init` does.

    Example: pachvault deploy --policy policy.yaml --volume pvc:vault --restore on
    """
    text = (str(policy_file), read_text(policy_file)) if policy_file else None
    durations = policy.parse(text[1], text[0]).durations if text else []
    own_specs = _own_specs(folder) if folder else {}
    wanted = replace(wanted, own_specs=own_specs, is_reset=reset)

    def show_step(step: DeployStep) -> None:
        result = DeployStepResult(kind=step.kind, name=step.name, action=step.action, dry_run=dry_run)
        show(context, result)
        # steps may take minutes, and a pipe is buffered: each is seen when it is done
        flush()

    with connect(context.pachd, context.token) as connection:
        is_restore = None if restore is None else restore == "on"
        deploy_plan = plan(connection, wanted, policy_text=text, restore=is_restore)
        _show_plan(context, deploy_plan)
        if dry_run:
            steps = list(deploy_plan.steps)
            for step in steps:
                show_step(step)
        else:
            steps = carry_out(connection, deploy_plan, show_step).steps
    summary = DeploySummary(
        changed=sum(step.action not in ("unchanged", "absent") for step in steps),
        missing=len(deploy_plan.missing),
        durations=durations,
        next_backup_at=deploy_plan.next_backup_at,
        start_now=START_NOW,
        dry_run=dry_run,
    )
    for line in deploy_plan.missing:
        show(context, WarningResult(kind="missing", message=line))
    show(context, summary)
    return 0


def _show_plan(context: CommandContext, deploy_plan: DeployPlan) -> None:
    for line in deploy_plan.notes:
        show(context, WarningResult(kind="specs-not-kept", message=line))
    for addition in additions_of(deploy_plan):
        show(context, addition)
    for change in changes_of(deploy_plan):
        show(context, change)


@click.command("undeploy")
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
@common_options
@click.pass_obj
def undeploy_command(context: CommandContext, *, dry_run: bool) -> int:
    """Delete the pipelines from the cluster, with their own output. No backup is deleted.

    The policy, the requests, the backup repo and the vault are left as they are, and listed.

    Example: pachvault undeploy --dry-run
    """

    def show_step(step: DeployStep) -> None:
        result = DeployStepResult(kind=step.kind, name=step.name, action=step.action, dry_run=dry_run)
        show(context, result)
        flush()

    with connect(context.pachd, context.token) as connection:
        undeployed = undeploy(connection, show_step, is_dry_run=dry_run)
    show(context, UndeploySummary(deleted=undeployed.deleted, left=undeployed.left, dry_run=dry_run))
    return 0


@click.command("specs")
@click.argument("folder", required=False, default="specs", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace existing files that differ.")
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path),
    help="A policy file: the specs get its schedules, and --volume is mounted at its target's path.",
)
@_operator_options
@common_options
@click.pass_obj
def specs_command(
    context: CommandContext, folder: Path, policy_file: Path | None, wanted: Wanted, *, overwrite: bool
) -> int:
    """Write the pipelines' specs to a folder.

    FOLDER is `specs` unless it is named; with `-` the specs are written to standard output. They are as
    `pachvault deploy` with the same options writes them into a cluster. A folder gets a policy and an example
    request, too. Use them with `pachctl create pipeline`, in the order of the README, or change them and
    run `pachvault deploy --specs FOLDER`.

    Example: pachvault specs --policy policy.yaml --volume pvc:vault
    """
    policy_text = read_text(policy_file) if policy_file else None
    parsed = policy.parse(policy_text, str(policy_file)) if policy_text is not None else None
    specs = _spec_texts(wanted, parsed)
    if str(folder) == "-":
        put_bytes(text.encode() for text in specs.values())
        return 0
    texts = {folder / name: specs.get(name) or bundled_files.text(name) for name in bundled_files.names()}
    if policy_text is not None:
        texts[folder / "policy.yaml"] = policy_text
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


def _spec_texts(wanted: Wanted, parsed: Policy | None) -> dict[str, str]:
    """The text of each spec, by file name: as it is bundled, where nothing changes it."""
    if wanted == Wanted() and parsed is None:
        return {f"{stage}.json": bundled_files.spec(stage) for stage in bundled_files.ALL_STAGES}
    specs = rendered(wanted, parsed)
    return {f"{stage}.json": json.dumps(spec, indent=2) + "\n" for stage, spec in specs.items()}


def _own_specs(folder: Path) -> dict[str, str]:
    return {stage: read_text(folder / f"{stage}.json") for stage in bundled_files.ALL_STAGES}

"""`erase`: delete files from the vault that must not be kept."""

from __future__ import annotations

import sys

import click

from pachvault.cli.common import CommandContext, common_options, say
from pachvault.cli.render import show
from pachvault.cli.results.erase import ErasePlanResult, EraseSummary
from pachvault.errors import UsageError
from pachvault.maintenance.erase import erase, erase_plan
from pachvault.maintenance.erase.erase_selection import EraseSelection
from pachvault.syntax.selection import quoted


@click.command("erase")
@click.option(
    "--repo",
    "repos",
    multiple=True,
    metavar="PATTERN",
    help="project/repo, with wildcards * ? []. Repeatable.",
)
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="GLOB",
    help="Only files and folders that match, such as '/people/42'. Repeatable.  [default: all]",
)
@click.option("--dry-run", is_flag=True, help="Show what would be erased; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@common_options
@click.pass_obj
def erase_command(
    context: CommandContext, repos: tuple[str, ...], paths: tuple[str, ...], dry_run: bool, yes: bool
) -> int:
    """Erase files from all snapshots. Cannot be undone.

    Erase also changes forgotten snapshots, and deletes the bytes of the files from the vault. Every snapshot
    that has the files is rewritten and gets a new id; `show` lists what was erased. If the cluster still has
    the files, the next backup of a new commit saves them again: delete them there first. The command detects
    a backup in progress. It does not detect a prune or a repair of the same vault: make sure that none runs
    at the same time, on any machine.

    A folder selects everything below it; * matches any characters, also /. If a pattern matches nothing, the
    command names it, erases nothing and exits with 2.

    Example: pachvault erase --repo 'crm/*' --path '/people/42/**' --dry-run
    """
    selection = EraseSelection.of(repos, paths)
    vault = context.open_vault()
    with context.progress() as progress:
        plan = erase_plan.plan(vault, selection, progress)
    if plan.unmatched:
        raise UsageError(f"nothing in the vault matches {quoted(plan.unmatched)}: nothing was erased")
    show(context, ErasePlanResult.of(plan))
    if dry_run or plan.is_empty:
        return 0
    # asked after the plan was shown, which names what goes
    if not yes and not _confirmed(selection):
        say("nothing was erased")
        return 0
    with context.progress() as progress:
        erasure = erase.execute(plan, progress)
    show(context, EraseSummary.of(erasure))
    return 0


def _confirmed(selection: EraseSelection) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(
            "erasing cannot be undone, no prune or repair may run meanwhile, and there is no terminal to ask",
            hint="--dry-run first, then --yes",
        )
    return click.confirm(
        f"Erase {selection}? This cannot be undone. No prune and no repair of this vault may run meanwhile.",
        err=True,
    )

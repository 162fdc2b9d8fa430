"""`erase`: take out of the vault what must not be kept."""

from __future__ import annotations

import sys

import click

from pachvault.cli.common import CommandContext, common_options, human, put, put_json, say
from pachvault.errors import UsageError
from pachvault.maintenance.erase import erase, erase_plan
from pachvault.maintenance.erase.erase import Erasure
from pachvault.maintenance.erase.erase_plan import ErasePlan
from pachvault.maintenance.erase.erase_selection import EraseSelection
from pachvault.syntax.selection import quoted


@click.command("erase")
@click.option(
    "--repo", "repos", multiple=True, metavar="PATTERN", help="project/repo, with * ? []. Repeatable."
)
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="GLOB",
    help="Only files and folders like this: '/people/42'.  [default: all] Repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Print what would go, change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_options
@click.pass_obj
def erase_command(
    state: CommandContext, repos: tuple[str, ...], paths: tuple[str, ...], dry_run: bool, yes: bool
) -> int:
    """Erase files from all snapshots, forgotten ones too, and their bytes from the vault. For good.

    Every snapshot that has them is written anew and gets a new id; `show` says what was erased. What the
    sources still have is backed up again with their next commits: delete it there first. A backup under way
    is found out; a prune or a repair of the vault is not: see that none runs meanwhile, here or elsewhere.

    A folder means all below it; * is any characters, / too. A pattern that matches nothing is refused with 2
    and named, and nothing is erased.

    Example: pachvault erase --repo 'crm/*' --path '/people/42/**' --dry-run
    """
    selection = EraseSelection.of(repos, paths)
    vault = state.open_vault()
    with state.progress() as progress:
        plan = erase_plan.plan(vault, selection, progress)
    if plan.unmatched:
        raise UsageError(f"nothing in the vault matches {quoted(plan.unmatched)}: nothing was erased")
    _show_plan(state, plan)
    if dry_run or plan.is_empty:
        return 0
    if not yes and not _confirmed(selection):
        say("nothing was erased")
        return 0
    with state.progress() as progress:
        done = erase.execute(plan, progress)
    _show_done(state, done)
    return 0


def _confirmed(selection: EraseSelection) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(
            "erasing cannot be undone, no prune or repair may run meanwhile, and nobody can be asked here",
            hint="--dry-run, then --yes",
        )
    return click.confirm(
        f"Erase {selection}? This cannot be undone. No prune and no repair of this vault may run meanwhile.",
        err=True,
    )


def _show_plan(state: CommandContext, plan: ErasePlan) -> None:
    if state.json:
        put_json(
            "plan",
            what=str(plan.selection),
            snapshots=[
                {"id": hit.name.id, "files": hit.files, "bytes": hit.size, "path": hit.name.path}
                for hit in plan.snapshots
            ],
            unfinished=[old.id for old, _ in plan.superseded],
            commits=plan.commits,
            files=plan.files,
            bytes=plan.size,
            blobs=len(plan.gone),
            packs=plan.packs,
            kept_blobs=plan.kept,
            kept_for=plan.keepers,
            skipped=plan.skipped,
            unreadable=plan.unreadable,
        )
        return
    if plan.is_empty:
        say(f"nothing to erase: {plan.selection} was erased before")
        return
    lines = [
        f"erase {plan.selection}: {plan.files:,} files in {plan.commits:,} commits, {human(plan.size)}",
        *(
            f"  snapshot {hit.name.id[:12]} of {hit.name.frozen_at:%Y-%m-%d %H:%M:%S}: {hit.files:,} files"
            for hit in plan.snapshots
        ),
        f"  {len(plan.gone):,} blobs go, {len(plan.packs)} packs ({human(plan.pack_bytes)}) are written anew",
    ]
    if plan.superseded or (plan.tables and not plan.snapshots):
        lines.append("  and what an earlier erasure or a run that died has left")
    if plan.kept:
        lines.append(f"  {plan.kept:,} blobs stay, for other files have the same content:")
        lines += [f"    {file}" for file in plan.keepers]
    lines += [f"  {name} is damaged, so nobody can bring it back: it is passed over" for name in plan.skipped]
    lines += [f"  nobody can say what {name} holds: it is damaged" for name in plan.unreadable]
    for line in lines:
        put(line)


def _show_done(state: CommandContext, done: Erasure) -> None:
    if state.json:
        put_json(
            "summary",
            snapshots=done.renamed,
            blobs=done.blobs,
            packs=len(done.packs),
            bytes=done.bytes,
            unreadable=done.unreadable,
        )
        return
    for old, new in done.renamed.items():
        put(f"snapshot {old[:12]} is now {new[:12]}")
    say(
        f"erased and verified: {done.blobs:,} blobs are gone, "
        f"{len(done.packs)} packs were written anew, {human(done.bytes)} smaller"
    )

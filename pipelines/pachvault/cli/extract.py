"""`extract`: a snapshot into a plain folder."""

from __future__ import annotations

from pathlib import Path

import click

from pachvault.cli.common import CommandContext, common_options, human, put_json, say, workers_option
from pachvault.errors import EXIT_DAMAGE, EXIT_PARTIAL, UsageError
from pachvault.extract import extract as extraction
from pachvault.extract.folder import opened
from pachvault.vault import blob_index, snapshots
from pachvault.vault.blob_reader import BlobReader


@click.command("extract")
@click.argument("snap", metavar="SNAP")
@click.argument("destination", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="PATTERN",
    help="project/repo or project/repo@branch, * ? [] are wildcards; BRANCH may be a commit.  [default: all] "
    "Repeatable.",
)
@click.option(
    "--include",
    "includes",
    multiple=True,
    metavar="GLOB",
    help="Only paths like this: '/2026/*'. Repeatable.",
)
@click.option("--exclude", "excludes", multiple=True, metavar="GLOB", help="No paths like this. Repeatable.")
@click.option("--overwrite", is_flag=True, help="Replace files in a folder that is not empty.")
@click.option("--shared", is_flag=True, help="Files as the umask has them.  [default: the owner's alone]")
@workers_option("Threads.")
@common_options
@click.pass_obj
def extract_command(
    state: CommandContext,
    snap: str,
    destination: Path,
    sources: tuple[str, ...],
    includes: tuple[str, ...],
    excludes: tuple[str, ...],
    overwrite: bool,
    shared: bool,
    workers: int,
) -> int:
    """Write a snapshot's files to FOLDER/project/repo/branch, every byte checked, with no Pachyderm.

    A path pattern means the files it matches and all below the folders it matches; * is any characters,
    / too. A source or a pattern that matches nothing is refused with 2 and named.

    What is damaged in the vault, a file, a branch or a repo, is not written but named, and the exit code is
    13; all else is written. After an interruption or a full disk the same command goes on: files that
    are there already, equal in size and digest, are kept. Nothing is written through a link in FOLDER.

    Example: pachvault extract latest /tmp/out --source 'images/raw@master' --include '/2026/*'
    """
    vault = state.open_vault()
    snapshot = snapshots.resolve(vault, snap)
    chosen = extraction.choose(snapshot, sources, includes, excludes)
    if (includes or excludes) and not any(each.files or each.damage for each in chosen):
        raise UsageError("no file is left by --include and --exclude", hint="`pachvault ls` lists paths")
    total = extraction.Extracted()
    with opened(destination, snapshot.name.id, overwrite=overwrite, is_shared=shared) as folder:
        reader = BlobReader(vault, blob_index.load(vault))
        with state.progress() as progress:
            progress.start("extract", sum(row["size"] for each in chosen for row in each.files))
            for each in chosen:
                if each.damage:
                    total.failed.append(f"{each.repo}@{each.branch}: {each.damage}")
                    total.is_damaged = True
                    continue
                total.add(extraction.extract(reader, each, folder, progress, workers))
    for line in total.failed:
        if state.json:
            put_json("finding", kind="file-not-extracted", message=line)
        else:
            say(line)
    if state.json:
        put_json(
            "summary",
            files=total.files,
            bytes=total.bytes,
            kept=total.kept,
            failed=len(total.failed),
            folder=str(destination),
        )
    else:
        kept = f", {total.kept:,} of them there before" if total.kept else ""
        failed = f"; {len(total.failed)} failed" if total.failed else ""
        say(f"extracted {total.files:,} files, {human(total.bytes)}, to {destination}{kept}{failed}")
    if total.is_damaged:
        return EXIT_DAMAGE
    return EXIT_PARTIAL if total.failed else 0

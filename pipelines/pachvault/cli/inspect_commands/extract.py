"""`extract`: write a snapshot's files to a plain folder."""

from __future__ import annotations

from pathlib import Path

import click

from pachvault.cli.common import CommandContext, common_options, workers_option
from pachvault.cli.render import show
from pachvault.cli.results.browse import ExtractSummary
from pachvault.cli.results.error import WarningResult
from pachvault.errors import EXIT_DAMAGE, EXIT_PARTIAL, UsageError
from pachvault.extract import extract as extraction
from pachvault.extract.folder import opened
from pachvault.vault import snapshots
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index


@click.command("extract")
@click.argument("snap", metavar="SNAP")
@click.argument("destination", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="PATTERN",
    help="project/repo or project/repo@branch, with wildcards * ? []. BRANCH may be a commit id. "
    "Repeatable.  [default: all]",
)
@click.option(
    "--include",
    "includes",
    multiple=True,
    metavar="GLOB",
    help="Only paths that match, such as '/2026/*'. Repeatable.",
)
@click.option("--exclude", "excludes", multiple=True, metavar="GLOB", help="No paths that match. Repeatable.")
@click.option(
    "--overwrite", is_flag=True, help="Write to a folder that is not empty, and replace files in it."
)
@click.option(
    "--shared", is_flag=True, help="Use the umask for new files.  [default: only the owner has access]"
)
@workers_option("Number of threads.")
@common_options
@click.pass_obj
def extract_command(
    context: CommandContext,
    snap: str,
    destination: Path,
    sources: tuple[str, ...],
    includes: tuple[str, ...],
    excludes: tuple[str, ...],
    overwrite: bool,
    shared: bool,
    workers: int,
) -> int:
    """Write a snapshot's files to a folder. Needs no Pachyderm.

    Files go to FOLDER/project/repo/branch; every byte is verified. A path pattern selects the files that
    match it, and everything below the folders that match it; * matches any characters, also /. If a source or
    a pattern matches nothing, the command names it and exits with 2.

    A file, branch or repo that is damaged in the vault is named and not written; everything else is written,
    and the exit code is 13. After an interruption or on a full disk, run the same command again: files that
    exist with the same size and digest are kept. The command never writes through a link in FOLDER.

    Example: pachvault extract latest /tmp/out --source 'images/raw@master' --include '/2026/*'
    """
    vault = context.open_vault()
    snapshot = snapshots.resolve(vault, snap)
    chosen = extraction.choose(snapshot, sources, includes, excludes)
    # before the folder is made: a mistake leaves nothing behind
    if (includes or excludes) and not any(branch.files or branch.damage for branch in chosen):
        raise UsageError("--include and --exclude leave no file", hint="`pachvault ls` lists paths")
    total = extraction.Extracted()
    with opened(destination, snapshot.name.id, overwrite=overwrite, is_shared=shared) as folder:
        reader = BlobReader(vault, blob_index.load_places(vault))
        with context.progress() as progress:
            progress.start("extract", sum(row["size"] for branch in chosen for row in branch.files))
            for branch in chosen:
                if branch.damage:
                    total.failed.append(f"{branch.repo}@{branch.branch}: {branch.damage}")
                    total.is_damaged = True
                    continue
                total.add(extraction.extract(reader, branch, folder, progress, workers))
    for line in total.failed:
        show(context, WarningResult(kind="file-not-extracted", message=line))
    show(
        context,
        ExtractSummary(
            files=total.files,
            size_bytes=total.bytes,
            kept=total.kept,
            failed=len(total.failed),
            folder=str(destination),
        ),
    )
    if total.is_damaged:
        return EXIT_DAMAGE
    return EXIT_PARTIAL if total.failed else 0

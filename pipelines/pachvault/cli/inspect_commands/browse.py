"""`show`, `ls`, `cat`: looking into a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import click
import pyarrow as pa
import pyarrow.compute as pc

from pachvault.cli.common import CommandContext, common_options, put_bytes
from pachvault.cli.file_reference import FileReference
from pachvault.cli.render import show, show_all
from pachvault.cli.results.browse import BranchHead, CommitResult, FileResult, ManifestResult
from pachvault.errors import EXIT_DAMAGE, EXIT_OK, DamageError, UsageError
from pachvault.format.ids import RepoName
from pachvault.vault import clock, snapshots, suggestions
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.snapshots import Snapshot


@click.command("show")
@click.argument("snap", metavar="SNAP")
@click.argument("repo", required=False, metavar="[PROJECT/REPO]")
@common_options
@click.pass_obj
def show_command(context: CommandContext, snap: str, repo: str | None) -> int:
    """Show a snapshot and its branches, or the commits of a repo.

    SNAP is an id, the start of an id, a time, or latest. The exit code is 13 if a record is damaged.
    """
    snapshot = snapshots.resolve(context.open_vault(), snap)
    if repo:
        show_all(context, CommitResult, _commits(snapshot, repo))
        return EXIT_OK
    manifest = _manifest(snapshot)
    show(context, manifest)
    return EXIT_DAMAGE if manifest.damaged else EXIT_OK


@click.command("ls")
@click.argument("snap", metavar="SNAP")
@click.argument("place", metavar="PROJECT/REPO@BRANCH[:PATH]")
@common_options
@click.pass_obj
def ls_command(context: CommandContext, snap: str, place: str) -> int:
    """List files: size in bytes, and path.

    BRANCH may be a commit id. PATH is a file, a folder or a pattern. A pattern selects the files that match
    it, and everything below the folders that match it; * matches any characters, also /.
    """
    reference = FileReference.parse(place)
    snapshot = snapshots.resolve(context.open_vault(), snap)
    tree = reference.files_of(reference.tree_in(snapshot))
    if not tree.num_rows and reference.path != "/":
        raise reference.absent_in([snapshot])
    show_all(context, FileResult, _FileListing(tree))
    return 0


@click.command("cat")
@click.argument("snap", metavar="SNAP")
@click.argument("place", metavar="PROJECT/REPO@BRANCH:PATH")
@common_options
@click.pass_obj
def cat_command(context: CommandContext, snap: str, place: str) -> int:
    """Write a file to standard output, and verify every byte.

    --json does not change the output.
    """
    reference = FileReference.parse(place)
    vault = context.open_vault()
    snapshot = snapshots.resolve(vault, snap)
    tree = reference.tree_in(snapshot)
    rows = tree.filter(pc.equal(tree["path"], reference.path)).to_pylist()
    if not rows:
        if reference.files_of(tree).num_rows:
            raise UsageError(
                f"{reference.path} is a folder or a pattern",
                where=str(reference.source),
                hint="`pachvault ls` lists its files",
            )
        raise reference.absent_in([snapshot])
    row = rows[0]
    reader = BlobReader(vault, blob_index.load_places(vault))
    try:
        put_bytes(reader.file(row["size"], row["digest"], row["blobs"] or []))
    except DamageError as error:
        # the type decides the exit code. What was written cannot be taken back, so the message says what it
        # is worth
        raise type(error)(
            f"{reference.path}: {error.what}: the output is wrong or incomplete",
            where=error.where or str(reference.source),
            hint=error.hint,
        ) from error
    return 0


@dataclass(frozen=True, slots=True)
class _FileListing:
    """The files of a tree. They are made when they are needed: a tree may have millions."""

    tree: pa.Table

    def __iter__(self) -> Iterator[FileResult]:
        for batch in self.tree.select(["path", "size", "digest"]).to_batches():
            columns = (column.to_pylist() for column in batch.columns)
            for path, size, digest in zip(*columns, strict=True):
                yield FileResult(path=path, size_bytes=size, digest=digest)


def _manifest(snapshot: Snapshot) -> ManifestResult:
    branches, damaged = _branches(snapshot)
    try:
        pipelines = snapshot.vault.pipelines_record(snapshot.manifest.pipelines).pipelines
        pipelines_count: int | None = len(pipelines)
    except DamageError as error:
        damaged.append(f"pipelines: {error}")
        pipelines_count = None
    return ManifestResult.of(
        snapshot,
        branches=branches,
        pipelines_count=pipelines_count,
        damaged=damaged,
        is_future=clock.is_future(snapshot.manifest.frozen_at, datetime.now(UTC)),
    )


def _branches(snapshot: Snapshot) -> tuple[list[BranchHead], list[str]]:
    """The branches, and a line for each repo that is damaged."""
    branches: list[BranchHead] = []
    damaged = []
    for entry in snapshot.manifest.repos:
        repo = RepoName(entry.project, entry.repo)
        try:
            history = snapshot.repo(repo)
            for branch in history.record.branches:
                size = history.size_of(branch.head) if branch.head else 0
                branches.append(
                    BranchHead(
                        branch=f"{repo}@{branch.name}",
                        head=branch.head,
                        commits=entry.commits,
                        size_bytes=size,
                    )
                )
        except DamageError as error:
            damaged.append(f"{repo}: {error}")
            branches.append(BranchHead(branch=str(repo), head=None, commits=entry.commits, size_bytes=None))
    return branches, damaged


def _commits(snapshot: Snapshot, repo: str) -> list[CommitResult]:
    """The commits of a repo that Pachyderm listed, oldest first."""
    history = suggestions.repo(snapshot, FileReference.parse_repo(repo))
    branches_by_head: dict[str, list[str]] = {}
    for branch in history.record.branches:
        if branch.head:
            branches_by_head.setdefault(branch.head, []).append(branch.name)
    rows = [row for row in history.commits.to_pylist() if row["listed"]]
    # a commit list is in the order of the bases (format 8.2.2), not of time
    rows.sort(key=lambda row: row["started"] or datetime.min.replace(tzinfo=UTC))
    return [CommitResult.of(row, branches_by_head.get(row["commit"], [])) for row in rows]

"""`diff`: what changed between two snapshots."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pyarrow as pa

from pachvault.cli.common import CommandContext, common_options
from pachvault.cli.file_reference import FileReference
from pachvault.cli.render import show
from pachvault.cli.results.browse import DifferenceResult
from pachvault.errors import UsageError
from pachvault.format.ids import RepoName
from pachvault.vault import snapshots, suggestions
from pachvault.vault.snapshots import Snapshot

_Files = dict[str, tuple[int, bytes]]
"""The files of a tree: path to size and digest."""


@click.command("diff")
@click.argument("old", metavar="SNAP")
@click.argument("new", metavar="SNAP")
@click.argument("place", required=False, metavar="[PROJECT/REPO@BRANCH[:PATH]]")
@common_options
@click.pass_obj
def diff_command(context: CommandContext, old: str, new: str, place: str | None) -> int:
    """List the files that differ between two snapshots.

    + is an added file, - a removed one, M a changed one. Without a third argument, all branches of all repos
    are compared. BRANCH may be a commit id. PATH is a file, a folder or a pattern, as in `ls`.
    """
    vault = context.open_vault()
    before, after = snapshots.resolve(vault, old), snapshots.resolve(vault, new)
    references = [FileReference.parse(place)] if place else _branches(before, after)
    for reference in references:
        trees = [_tree(snapshot, reference) for snapshot in (before, after)]
        if all(tree is None for tree in trees) and place:
            raise UsageError(f"neither snapshot has it: {suggestions.no_source(after, [reference.source])}")
        old_files, new_files = (_files(tree, reference) for tree in trees)
        if not old_files and not new_files and reference.path != "/":
            raise reference.absent_in([before, after])
        for difference in _differences(reference, old_files, new_files):
            show(context, difference)
    return 0


def _branches(*both: Snapshot) -> list[FileReference]:
    """All branches of either snapshot."""
    references = {
        FileReference(history.name, branch.name, "/")
        for snapshot in both
        for _, history in snapshot.repos()
        for branch in history.record.branches
    }
    return sorted(references, key=lambda reference: (reference.repo, reference.reference))


def _tree(snapshot: Snapshot, reference: FileReference) -> pa.Table | None:
    repos = {RepoName(entry.project, entry.repo) for entry in snapshot.manifest.repos}
    if reference.repo not in repos:
        return None
    # this snapshot may lack the branch, or it has no readable commit
    has_commit = any(branch.head for branch in snapshot.repo(reference.repo).branches(reference.source))
    return reference.tree_in(snapshot) if has_commit else None


def _files(tree: pa.Table | None, reference: FileReference) -> _Files:
    if tree is None:
        return {}
    chosen = reference.files_of(tree)
    columns = (chosen[name].to_pylist() for name in ("path", "size", "digest"))
    return {path: (size, digest) for path, size, digest in zip(*columns, strict=True)}


def _differences(reference: FileReference, old: _Files, new: _Files) -> Iterator[DifferenceResult]:
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            yield DifferenceResult(
                repo=str(reference.repo),
                branch=reference.reference,
                path=path,
                change="+" if path not in old else "-" if path not in new else "M",
                old_bytes=old[path][0] if path in old else None,
                new_bytes=new[path][0] if path in new else None,
            )

"""`diff`: what changed between two states of a repo."""

from __future__ import annotations

import click
import pyarrow as pa

from pachvault.cli.common import CommandContext, common_options, put, put_json
from pachvault.cli.file_reference import FileReference
from pachvault.errors import UsageError
from pachvault.format.ids import RepoName
from pachvault.vault import snapshots, suggestions
from pachvault.vault.snapshots import Snapshot


@click.command("diff")
@click.argument("old", metavar="SNAP")
@click.argument("new", metavar="SNAP")
@click.argument("place", required=False, metavar="[PROJECT/REPO@BRANCH[:PATH]]")
@common_options
@click.pass_obj
def diff_command(state: CommandContext, old: str, new: str, place: str | None) -> int:
    """Files that differ from one snapshot to another: + added, - removed, M changed.

    Without a place, all branches of all repos. BRANCH may be a commit id; PATH is as in `ls`.
    """
    vault = state.open_vault()
    before, after = snapshots.resolve(vault, old), snapshots.resolve(vault, new)
    places = [FileReference.parse(place)] if place else _branches(before, after)
    for where in places:
        trees = [_tree(snapshot, where) for snapshot in (before, after)]
        if all(tree is None for tree in trees) and place:
            raise UsageError(f"neither snapshot has it: {suggestions.no_source(after, [where.source])}")
        old_files, new_files = (_files(tree, where) for tree in trees)
        if not old_files and not new_files and where.path != "/":
            raise where.absent_in([before, after])
        _show(state, where, old_files, new_files)
    return 0


def _branches(*both: Snapshot) -> list[FileReference]:
    found = {
        FileReference(history.name, branch.name, "/")
        for snapshot in both
        for _, history in snapshot.repos()
        for branch in history.record.branches
    }
    return sorted(found, key=lambda place: (place.repo, place.reference))


def _tree(snapshot: Snapshot, where: FileReference) -> pa.Table | None:
    repos = {RepoName(entry.project, entry.repo) for entry in snapshot.manifest.repos}
    if where.repo not in repos:
        return None
    # this snapshot may lack the branch, or it has no readable commit
    has_commit = any(branch.head for branch in snapshot.repo(where.repo).branches(where.source))
    return where.tree_in(snapshot) if has_commit else None


def _files(tree: pa.Table | None, where: FileReference) -> dict[str, tuple[int, bytes]]:
    if tree is None:
        return {}
    chosen = where.files_of(tree)
    columns = (chosen[name].to_pylist() for name in ("path", "size", "digest"))
    return {path: (size, digest) for path, size, digest in zip(*columns, strict=True)}


def _show(
    state: CommandContext,
    where: FileReference,
    old: dict[str, tuple[int, bytes]],
    new: dict[str, tuple[int, bytes]],
) -> None:
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) == new.get(path):
            continue
        sign = "+" if path not in old else "-" if path not in new else "M"
        if state.json:
            sizes = {"old_bytes": old.get(path, (None,))[0], "new_bytes": new.get(path, (None,))[0]}
            put_json(
                "difference", repo=str(where.repo), branch=where.reference, path=path, change=sign, **sizes
            )
        else:
            put(f"{sign} {where.repo}@{where.reference}:{path}")

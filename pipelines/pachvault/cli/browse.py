"""`show`, `ls`, `cat`: looking into a snapshot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pyarrow.compute as pc

from pachvault.cli.common import CommandContext, common_options, human, put, put_bytes, put_json, put_table
from pachvault.cli.file_reference import FileReference
from pachvault.errors import EXIT_DAMAGE, EXIT_OK, DamageError, UsageError
from pachvault.format import table
from pachvault.format.ids import RepoName
from pachvault.vault import blob_index, clock, snapshots, suggestions
from pachvault.vault.blob_reader import BlobReader


@click.command("show")
@click.argument("snap", metavar="SNAP")
@click.argument("repo", required=False, metavar="[PROJECT/REPO]")
@common_options
@click.pass_obj
def show_command(state: CommandContext, snap: str, repo: str | None) -> int:
    """Show a snapshot's branches, or a repo's commits. SNAP is an id, a prefix, a time, or latest."""
    snapshot = snapshots.resolve(state.open_vault(), snap)
    if repo:
        _show_commits(state, snapshot, repo)
        return 0
    return _show_branches(state, snapshot)


@click.command("ls")
@click.argument("snap", metavar="SNAP")
@click.argument("place", metavar="PROJECT/REPO@BRANCH[:PATH]")
@common_options
@click.pass_obj
def ls_command(state: CommandContext, snap: str, place: str) -> int:
    """List files: size and path. BRANCH may be a commit id; PATH a file, a folder or a pattern.

    A pattern means the files it matches and all below the folders it matches; * is any characters, / too.
    """
    where = FileReference.parse(place)
    snapshot = snapshots.resolve(state.open_vault(), snap)
    tree = where.files_of(where.tree_in(snapshot))
    if not tree.num_rows and where.path != "/":
        raise where.absent_in([snapshot])
    if state.json:
        for row in tree.select(["path", "size", "digest"]).to_pylist():
            put_json("file", path=row["path"], size_bytes=row["size"], digest=row["digest"].hex())
        return 0
    width = len(str(pc.max(tree["size"]).as_py() or 0))
    for path, size in zip(tree["path"].to_pylist(), tree["size"].to_pylist(), strict=True):
        put(f"{size:>{width}}  {path}")
    return 0


@click.command("cat")
@click.argument("snap", metavar="SNAP")
@click.argument("place", metavar="PROJECT/REPO@BRANCH:PATH")
@common_options
@click.pass_obj
def cat_command(state: CommandContext, snap: str, place: str) -> int:
    """Write a file to standard output, every byte checked on the way."""
    where = FileReference.parse(place)
    vault = state.open_vault()
    snapshot = snapshots.resolve(vault, snap)
    tree = where.tree_in(snapshot)
    rows = tree.filter(pc.equal(tree["path"], where.path)).to_pylist()
    if not rows:
        if where.files_of(tree).num_rows:
            raise UsageError(
                f"{where.path} is a folder or a pattern",
                where=str(where.source),
                hint="`pachvault ls` lists its files",
            )
        raise where.absent_in([snapshot])
    row = rows[0]
    reader = BlobReader(vault, blob_index.load(vault))
    put_bytes(reader.stream(row["blobs"] or ([row["digest"]] if row["size"] else [])))
    return 0


def _branches(snapshot: snapshots.Snapshot) -> tuple[list[list[object]], list[str]]:
    """A row for each branch, and a line for each repo that is damaged."""
    rows: list[list[object]] = []
    damaged = []
    for entry in snapshot.manifest.repos:
        repo = RepoName(entry.project, entry.repo)
        try:
            history = snapshot.repo(repo)
            for branch in history.record.branches:
                size = history.size_of(branch.head) if branch.head else 0
                head = (branch.head or "none")[:12]
                rows.append([f"{repo}@{branch.name}", head, entry.commits, human(size)])
        except DamageError as error:
            damaged.append(f"{repo}: {error}")
            rows.append([str(repo), "damaged", entry.commits, ""])
    return rows, damaged


def _pipelines(snapshot: snapshots.Snapshot, damaged: list[str]) -> int | str:
    try:
        return len(snapshot.vault.pipelines_record(snapshot.manifest.pipelines).pipelines)
    except DamageError as error:
        damaged.append(f"pipelines: {error}")
        return "damaged"


def _show_branches(state: CommandContext, snapshot: snapshots.Snapshot) -> int:
    manifest = snapshot.manifest
    rows, damaged = _branches(snapshot)
    pipelines = _pipelines(snapshot, damaged)
    if state.json:
        said = manifest.model_dump(mode="json", exclude={"type"})
        put_json("snapshot", id=snapshot.name.id, **said, damaged=damaged)
        return EXIT_DAMAGE if damaged else EXIT_OK
    window = manifest.frozen_at - manifest.freeze_began_at
    lines = {
        "snapshot": snapshot.name.id,
        "state": "partial" if manifest.partial else "sealed",
        "policy": manifest.policy,
        "cluster": f"{manifest.cluster.id} (Pachyderm {manifest.cluster.version})",
        "frozen": f"{manifest.frozen_at:%Y-%m-%d %H:%M:%S} UTC, within {window / timedelta(seconds=1):.1f} s"
        + (", in the future" if clock.is_future(manifest.frozen_at, datetime.now(UTC)) else ""),
        "sealed": f"{manifest.sealed_at:%Y-%m-%d %H:%M:%S} UTC",
        "run": manifest.run_id,
        "pipelines": pipelines,
        "read": f"{manifest.totals.files_read:,} files, {human(manifest.totals.bytes_read)}",
        "new": f"{human(manifest.totals.bytes_new)} in {manifest.totals.blobs_new:,} blobs, "
        f"{human(manifest.totals.bytes_stored)} stored in {manifest.totals.packs_new} packs",
    }
    for name, value in lines.items():
        put(f"{name:<10} {value}")
    for problem in manifest.problems:
        label = "note" if problem.is_note else "problem"
        put(f"{label:<10} {problem.kind}: {problem.where}: {problem.message}")
    for erased in manifest.erased:
        put(f"{'erased':<10} {erased.at:%Y-%m-%d %H:%M} UTC: {erased.what}: {erased.files:,} files")
    for line in damaged:
        put(f"{'damaged':<10} {line}")
    put()
    put_table(["BRANCH", "HEAD", "COMMITS", "SIZE"], rows, right=(2, 3))
    return EXIT_DAMAGE if damaged else EXIT_OK


def _show_commits(state: CommandContext, snapshot: snapshots.Snapshot, repo: str) -> None:
    history = suggestions.repo(snapshot, FileReference.parse_repo(repo))
    heads: dict[str, list[str]] = {}
    for branch in history.record.branches:
        if branch.head:
            heads.setdefault(branch.head, []).append(branch.name)
    rows = [row for row in history.commits.to_pylist() if row["listed"]]
    rows.sort(key=lambda row: row["started"] or datetime.min.replace(tzinfo=UTC))
    if state.json:
        for row in rows:
            names = (
                *("commit", "parent", "started", "finished", "description", "error", "created_by"),
                "origin",
            )
            put_json(
                "commit",
                **{name: row[name] for name in names},
                size_bytes=row["size"],
                branches=heads.get(row["commit"], []),
                metadata=table.decode_metadata(row["metadata"]),
            )
        return
    put_table(
        ["COMMIT", "PARENT", "STARTED (UTC)", "SIZE", "BRANCHES", "STATE", "DESCRIPTION"],
        [
            [
                row["commit"],
                (row["parent"] or "")[:12],
                f"{row['started']:%Y-%m-%d %H:%M:%S}" if row["started"] else "",
                human(row["size"]),
                ",".join(heads.get(row["commit"], [])),
                "failed" if row["error"] else "ok",
                row["description"][:60],
            ]
            for row in rows
        ],
        right=(3,),
    )

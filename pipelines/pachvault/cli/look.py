"""`show`, `ls`, `cat`: looking into a snapshot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pyarrow.compute as pc

from pachvault.cli.common import State, common_options, human, put, put_bytes, put_json, put_table
from pachvault.cli.place import Place
from pachvault.errors import UsageError
from pachvault.vault import blobs, snapshots
from pachvault.vault.reader import BlobReader


@click.command("show")
@click.argument("snap", metavar="SNAP")
@click.argument("repo", required=False, metavar="[PROJECT/REPO]")
@common_options
@click.pass_obj
def show_command(state: State, snap: str, repo: str | None) -> int:
    """Show a snapshot's branches, or a repo's commits. SNAP is an id, a prefix of one, or latest."""
    snapshot = snapshots.resolve(state.open_vault(), snap)
    if repo:
        _show_commits(state, snapshot, repo)
    else:
        _show_branches(state, snapshot)
    return 0


@click.command("ls")
@click.argument("snap", metavar="SNAP")
@click.argument("place", metavar="PROJECT/REPO@BRANCH[:PATH]")
@common_options
@click.pass_obj
def ls_command(state: State, snap: str, place: str) -> int:
    """List files: size and path. BRANCH may be a commit id; PATH a file, a folder or a pattern."""
    where = Place.parse(place)
    snapshot = snapshots.resolve(state.open_vault(), snap)
    history = snapshot.repo(where.repo)
    tree = where.files_of(where.tree_in(history))
    if not tree.num_rows and where.path != "/":
        raise UsageError(f"no file matches {where.path!r}", where=f"{where.repo}@{where.reference}")
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
def cat_command(state: State, snap: str, place: str) -> int:
    """Write a file to standard output, every byte checked on the way."""
    where = Place.parse(place)
    vault = state.open_vault()
    history = snapshots.resolve(vault, snap).repo(where.repo)
    tree = where.tree_in(history)
    rows = tree.filter(pc.equal(tree["path"], where.path)).to_pylist()
    if not rows:
        raise UsageError(
            f"no file {where.path!r}", where=f"{where.repo}@{where.reference}", hint="`pachvault ls`"
        )
    row = rows[0]
    reader = BlobReader(vault, blobs.load(vault))
    put_bytes(reader.stream(row["blobs"] or ([row["digest"]] if row["size"] else [])))
    return 0


def _show_branches(state: State, snapshot: snapshots.Snapshot) -> None:
    manifest = snapshot.manifest
    rows: list[tuple[str, str, int, float]] = []
    for entry, history in snapshot.repos():
        for branch in history.record.branches:
            size = history.size_of(branch.head) if branch.head else 0
            name = f"{entry.project}/{entry.repo}@{branch.name}"
            rows.append((name, (branch.head or "none")[:12], entry.commits, size))
    if state.json:
        put_json("snapshot", id=snapshot.name.id, **manifest.model_dump(mode="json", exclude={"type"}))
        return
    window = manifest.frozen_at - manifest.freeze_began_at
    lines = {
        "snapshot": snapshot.name.id,
        "state": "partial" if manifest.partial else "sealed",
        "policy": manifest.policy,
        "cluster": f"{manifest.cluster.id} (Pachyderm {manifest.cluster.version})",
        "frozen": f"{manifest.frozen_at:%Y-%m-%d %H:%M:%S} UTC, within {window / timedelta(seconds=1):.1f} s",
        "sealed": f"{manifest.sealed_at:%Y-%m-%d %H:%M:%S} UTC",
        "run": manifest.run_id,
        "pipelines": len(snapshot.vault.pipelines_record(manifest.pipelines).pipelines),
        "read": f"{manifest.totals.files_read:,} files, {human(manifest.totals.bytes_read)}",
        "new": f"{human(manifest.totals.bytes_new)} in {manifest.totals.blobs_new:,} blobs, "
        f"{human(manifest.totals.bytes_stored)} stored in {manifest.totals.packs_new} packs",
    }
    for name, value in lines.items():
        put(f"{name:<10} {value}")
    for problem in manifest.problems:
        put(f"{'problem':<10} {problem.kind}: {problem.repo}: {problem.message}")
    for erased in manifest.erased:
        put(f"{'erased':<10} {erased.at:%Y-%m-%d %H:%M} UTC: {erased.what}: {erased.files:,} files")
    put()
    put_table(
        ["BRANCH", "HEAD", "COMMITS", "SIZE"], [[*row[:3], human(row[3])] for row in rows], right=(2, 3)
    )


def _show_commits(state: State, snapshot: snapshots.Snapshot, repo: str) -> None:
    history = snapshot.repo(Place.parse_repo(repo))
    heads: dict[str, list[str]] = {}
    for branch in history.record.branches:
        if branch.head:
            heads.setdefault(branch.head, []).append(branch.name)
    rows = [row for row in history.commits.to_pylist() if row["listed"]]
    rows.sort(key=lambda row: row["started"] or datetime.min.replace(tzinfo=UTC))
    if state.json:
        for row in rows:
            shown = {
                key: row[key] for key in ("commit", "parent", "started", "finished", "description", "error")
            }
            put_json("commit", **shown, size_bytes=row["size"], branches=heads.get(row["commit"], []))
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

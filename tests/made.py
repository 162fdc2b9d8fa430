"""Vaults made without Pachyderm: repos given as Python values, backed up by the product's own planning,
cutting and sealing into a real folder."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from pyfastcdc import FastCDC

from pachvault.backup import base_lookup, run_records
from pachvault.backup.backup_messages import ItemReceipt, Plan, PlannedRepo, Receipt
from pachvault.backup.export.chunker import Chunker
from pachvault.backup.export.export import objects
from pachvault.backup.export.row_builder import RowBuilder
from pachvault.backup.export.table_writer import TableWriter
from pachvault.backup.freeze.backup_plan import plan_repo
from pachvault.backup.freeze.survey import SurveyedRepo
from pachvault.backup.seal.seal import seal
from pachvault.format.config import Cutting
from pachvault.format.ids import RepoName, digest
from pachvault.format.manifest import Cluster, Problem, Project
from pachvault.format.records import Pipeline
from pachvault.pach.records import BranchInfo, CommitInfo, RepoInfo
from pachvault.pach.tar import FilePiece
from pachvault.policy import History
from pachvault.store.folder_store import FolderStore
from pachvault.vault import pending_deletes, snapshots, vault
from pachvault.vault.index import blob_index
from pachvault.vault.pack_writer import PACK_BYTES, PackWriter
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
CLUSTER = Cluster(id="cluster", version="2.11.6")
TREE = dict[str, bytes]


def cut_points(data: bytes, cutting: Cutting) -> Iterator[tuple[int, int]]:
    """Offset and length of each blob of a whole file: the definition that the product keeps to."""
    cdc = FastCDC(cutting.avg_bytes, min_size=cutting.min_bytes, max_size=cutting.max_bytes)
    for chunk in cdc.cut_buf(data):
        yield chunk.offset, chunk.length


def new_vault(folder: Path) -> Vault:
    return vault.create(FolderStore(folder / "vault"))


def age(vault: Vault, name: str, by: timedelta) -> None:
    """Make an object older by the store's clock; younger where `by` is negative."""
    path = Path(urlsplit(vault.store.url).path) / name
    now = path.stat().st_mtime_ns - int(by.total_seconds() * 1e9)
    os.utime(path, ns=(now, now))


def age_all(vault: Vault, by: timedelta) -> None:
    """Let time pass: every object becomes older."""
    for info in vault.store.list(""):
        age(vault, info.name, by)


@dataclass
class Repo:
    """A repo with its commits, and the tree of each."""

    name: RepoName
    created_at: datetime = BEGAN
    description: str = ""
    commits: dict[str, CommitInfo] = field(default_factory=dict)
    trees: dict[str, TREE] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(
        self, tree: TREE, *, branch: str = "master", parent: str | None = None, error: str = ""
    ) -> str:
        number = len(self.commits)
        commit = f"{number:04x}{zlib.crc32(str(self.name).encode()) & 0xFFFF:04x}".ljust(32, "0")
        started_at = self.created_at + timedelta(seconds=number)
        self.commits[commit] = CommitInfo(
            id=commit,
            parent=parent or self.branches.get(branch),
            origin="user",
            started_at=started_at,
            finished_at=started_at,
            description=f"commit {number}",
            error=error,
            size_bytes=sum(map(len, tree.values())),
        )
        self.trees[commit] = dict(tree)
        self.branches[branch] = commit
        return commit

    @property
    def surveyed(self) -> SurveyedRepo:
        branches = tuple(BranchInfo(name, head, (), None) for name, head in sorted(self.branches.items()))
        return SurveyedRepo(
            RepoInfo(self.name, self.created_at, self.description), None, branches, dict(self.commits)
        )


def back_up(
    into: Vault,
    *repos: Repo,
    history: History | None = None,
    pack_bytes: int = PACK_BYTES,
    unreadable: frozenset[str] = frozenset(),
    pipelines: tuple[Pipeline, ...] = (),
    problems: tuple[Problem, ...] = (),
    number: int | None = None,
    frozen_at: datetime | None = None,
) -> Snapshot:
    """Seal a snapshot of the repos; commits in `unreadable` could not be read."""
    number = len(snapshots.names(into)) if number is None else number
    now = frozen_at or BEGAN + timedelta(hours=1 + number)
    run_id = f"run-{number}"
    run_records.announce(into, run_id, "default", CLUSTER.id, now)
    newest = base_lookup.newest_records(into, CLUSTER.id, [repo.name for repo in repos])
    planned = [
        plan_repo(
            repo.surveyed,
            history or History(),
            newest.records.get(repo.name),
            now,
        )
        for repo in repos
    ]
    plan = Plan(
        status="work",
        summary="by hand",
        run_id=run_id,
        policy="default",
        cluster=CLUSTER,
        freeze_began_at=now - timedelta(seconds=1),
        frozen_at=now,
        projects=[Project(name=name) for name in sorted({repo.name.project for repo in repos})],
        repos=planned,
        pipelines=list(pipelines),
        problems=[*problems, *newest.notes],
        shares=1,
    )
    return seal(
        into, plan, [_export(into, run_id, list(zip(repos, planned, strict=True)), pack_bytes, unreadable)]
    )


def _export(
    into: Vault,
    run_id: str,
    work: list[tuple[Repo, PlannedRepo]],
    pack_bytes: int,
    unreadable: frozenset[str],
) -> Receipt:
    into = pending_deletes.for_writing(into)
    done: list[tuple[ItemReceipt, RowBuilder]] = []
    tables = TableWriter(into)
    with PackWriter(into, pack_bytes) as writer:
        with Chunker(writer, blob_index.load_places(into), into.config.cutting) as chunker:
            for repo, planned in work:
                for commit in planned.new:
                    receipt = ItemReceipt(
                        project=planned.project, repo=planned.repo, commit=commit.id, lower=""
                    )
                    if commit.id in unreadable:
                        done.append(
                            (
                                receipt.model_copy(update={"problem": "no rights"}),
                                RowBuilder(repo.name, commit.id),
                            )
                        )
                        continue
                    if commit.error:
                        continue
                    rows = RowBuilder(repo.name, commit.id)
                    base = planned.bases.get(commit.id)
                    size = _changes(repo.trees[commit.id], repo.trees[base] if base else {}, chunker, rows)
                    tables.add(rows)
                    done.append((receipt.model_copy(update={"rows": rows.count, "bytes": size}), rows))
        writer.finish()
    tables.close()
    return Receipt(
        run_id=run_id,
        number=0,
        key=digest(b"by hand").hex(),
        items=[receipt.model_copy(update={"tables": rows.tables}) for receipt, rows in done],
        tables=objects(tables.written),
        index=objects(writer.indexes),
        packs=objects(writer.packs),
        blobs_new=writer.blobs,
        bytes_new=writer.raw_bytes,
    )


def _changes(tree: TREE, base: TREE, chunker: Chunker, rows: RowBuilder) -> int:
    for path in sorted(base.keys() - tree.keys()):
        rows.deleted(path)
    changed = {path: data for path, data in tree.items() if base.get(path) != data}
    for files in chunker.store(file_pieces(changed)):
        rows.files(*files)
    return sum(map(len, tree.values())) - sum(map(len, base.values()))


def file_pieces(files: Mapping[str, bytes]) -> Iterator[FilePiece]:
    """Files as a stream has them, each in one piece."""
    for path, data in files.items():
        yield FilePiece(path, len(data), 0, memoryview(data))


def tree_of(snapshot: Snapshot, repo: RepoName, commit: str) -> dict[str, tuple[int, bytes]]:
    """Path to size and digest, as the vault has it."""
    tree = snapshot.repo(repo).tree(commit)
    columns = (tree[name].to_pylist() for name in ("path", "size", "digest"))
    return {path: (size, content) for path, size, content in zip(*columns, strict=True)}


def flip(path: Path, at: int, bit: int = 0) -> None:
    """Change one bit of a file; `at` may count from its end."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)

"""A vault of many snapshots, each with small files of its own, sealed one after the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from pachvault.format import documents, layout, pack, table
from pachvault.format.ids import digest
from pachvault.format.manifest import Cluster, Manifest, Project, RepoEntry, Totals
from pachvault.format.records import Branch, PipelinesRecord, RepoRecord, Segment
from pachvault.store.open_store import open_store
from pachvault.vault import vault
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.vault import Vault

_FRAME_BLOBS = 1000
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def content(number: int) -> bytes:
    """The content of a file, by its number among those of all snapshots: 200 bytes unlike any other's."""
    return digest(b"%d" % number) * 6 + b"%08d" % (number % 10**8)


def make(folder: Path, snapshots: int, files: int) -> Vault:
    """The vault: one repo, a new root commit in each snapshot."""
    made = vault.create(open_store(folder.as_uri()))
    for number in range(snapshots):
        _seal(made, number, files, made.put_record(PipelinesRecord(pipelines=[])))
    return made


def _seal(made: Vault, number: int, files: int, pipelines: bytes) -> None:
    at = _BEGAN + timedelta(hours=number)
    commit = digest(b"commit %d" % number).hex()[:32]
    contents = [content(number * files + each) for each in range(files)]
    names = [digest(each) for each in contents]
    with PackWriter(made) as writer:
        compressor = pack.new_compressor()
        for first in range(0, files, _FRAME_BLOBS):
            some = contents[first : first + _FRAME_BLOBS]
            sizes = [len(each) for each in some]
            writer.add(pack.make_frame(b"".join(some), names[first : first + len(some)], sizes, compressor))
        writer.finish()
    rows = {
        "repo": ["bench/many"] * files,
        "commit": [commit] * files,
        "path": [f"/{each:08d}" for each in range(files)],
        "kind": [table.FILE] * files,
        "size": [len(each) for each in contents],
        "digest": names,
        "blobs": [None] * files,
        "pfs_hash": [None] * files,
    }
    written = made.put_table(table.encode_files(pa.table(rows, schema=table.FILES)))
    size = sum(map(len, contents))
    listed = {
        "commit": commit,
        "parent": None,
        "listed": True,
        "origin": "user",
        "started": at,
        "finished": at,
        "description": "",
        "error": "",
        "size": size,
        "base": None,
        "depth": 0,
        "rows": files,
        "tables": [written.digest],
    }
    commits = made.put_table(table.encode_commits(pa.Table.from_pylist([listed], schema=table.COMMITS)))
    record = RepoRecord(
        project="bench",
        repo="many",
        created_at=_BEGAN,
        branches=[Branch(name="master", head=commit)],
        segments=[Segment(table=commits.digest, commits=1)],
    )
    entry = RepoEntry(
        project="bench", repo="many", record=made.put_record(record), branches=1, commits=1, size_bytes=size
    )
    manifest = Manifest(
        vault_id=made.config.vault_id,
        run_id=f"run-{number}",
        policy="bench",
        cluster=Cluster(id="bench", version="0"),
        freeze_began_at=at,
        frozen_at=at,
        sealed_at=at,
        partial=False,
        projects=[Project(name="bench")],
        repos=[entry],
        pipelines=pipelines,
        totals=Totals(),
    )
    data = documents.encode(manifest)
    made.store.put(layout.snapshot_path(at, manifest.sequence, digest(data)), [data], len(data))

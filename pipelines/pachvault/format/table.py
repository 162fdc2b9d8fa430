"""File tables and commit lists (docs/format.md, section 7).

A **file table** says what commits changed: a row a path. A commit is *full* (its rows are its whole
tree) or a *delta* on a base commit (its rows are what differs, deletions included).
A **commit list** has a row a commit: its place in the history, and which file tables hold its rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pachvault.format import parquet

DIGEST = pa.binary(32)
TIME = pa.timestamp("us", "UTC")

DELETED = 0
FILE = 1

FILES = pa.schema(
    [
        ("repo", pa.string()),
        ("commit", pa.string()),
        ("path", pa.string()),
        ("kind", pa.int8()),
        ("size", pa.int64()),
        ("digest", DIGEST),
        ("blobs", pa.list_(DIGEST)),
        ("pfs_hash", pa.binary()),
    ]
)

COMMITS = pa.schema(
    [
        ("commit", pa.string()),
        ("parent", pa.string()),
        ("listed", pa.bool_()),
        ("origin", pa.string()),
        ("started", TIME),
        ("finished", TIME),
        ("description", pa.string()),
        ("error", pa.string()),
        ("size", pa.int64()),
        ("base", pa.string()),
        ("depth", pa.int64()),
        ("rows", pa.int64()),
        ("tables", pa.list_(DIGEST)),
    ]
)


def encode_files(table: pa.Table) -> bytes:
    """Parquet bytes of a file table."""
    return parquet.encode(table, plain_columns=frozenset({"digest"}))


def decode_files(data: bytes) -> pa.Table:
    """The file table in `data`, or DamageError."""
    return parquet.decode(data, FILES)


def decode_contents(data: bytes) -> pa.Table:
    """Size, digest and blobs of a file table's rows, without the rest, or DamageError."""
    return parquet.decode(data, pa.schema([FILES.field(name) for name in ("size", "digest", "blobs")]))


def encode_commits(table: pa.Table) -> bytes:
    """Parquet bytes of a commit list."""
    return parquet.encode(table)


def decode_commits(data: bytes) -> pa.Table:
    """The commit list in `data`, or DamageError."""
    return parquet.decode(data, COMMITS)


def fold(layers: list[pa.Table]) -> pa.Table:
    """The tree that `layers` of one commit chain give: first the full one, then each delta in order.

    Each layer has schema FILES; so has the result: kind FILE only, sorted by path. Where a path is
    in several layers the last one counts.
    """
    if not layers:
        return FILES.empty_table()
    rank = np.repeat(np.arange(len(layers)), [layer.num_rows for layer in layers])
    merged = pa.concat_tables(layers).append_column("rank", pa.array(rank))
    merged = merged.take(pc.sort_indices(merged, [("path", "ascending"), ("rank", "ascending")]))
    paths = merged["path"]
    if len(paths) > 1:
        last_of_path = pc.not_equal(paths[:-1], paths[1:]).combine_chunks()
        keep = np.append(np.asarray(last_of_path.to_numpy(zero_copy_only=False), bool), True)
        merged = merged.filter(pa.array(keep))
    merged = merged.filter(pc.equal(merged["kind"], FILE))
    return merged.drop_columns(["rank"])


def blobs_of(files: pa.Table) -> list[bytes]:
    """Every blob that rows of a file table name; one that several name, several times."""
    single = files.filter(pc.and_(pc.is_null(files["blobs"]), pc.greater(files["size"], 0)))
    found: list[bytes] = single["digest"].to_pylist() + pc.list_flatten(files["blobs"]).to_pylist()
    return found


def digests_of(files: pa.Table) -> NDArray[np.void]:
    """Every blob that rows of a file table name, each once, as 32-byte items."""
    single = files.filter(pc.and_(pc.is_null(files["blobs"]), pc.greater(files["size"], 0)))["digest"]
    pieces = pc.list_flatten(files["blobs"])
    return np.unique(np.concatenate([as_array(single), as_array(pieces)]))


def as_array(column: pa.ChunkedArray | pa.Array) -> NDArray[np.void]:
    """A column of digests without nulls as a numpy array of 32-byte items, a copy."""
    chunks = [
        np.frombuffer(chunk.buffers()[1], "V32", len(chunk), chunk.offset * 32)
        for chunk in (column.chunks if isinstance(column, pa.ChunkedArray) else [column])
        if len(chunk)
    ]
    return np.concatenate(chunks) if chunks else np.empty(0, "V32")


def rows_with(files: pa.Table, blobs: Iterable[bytes]) -> NDArray[np.int64]:
    """The numbers of the rows that name any of the blobs."""
    wanted = pa.array(list(blobs), DIGEST)
    pieces = pc.list_flatten(files["blobs"])
    rows = pc.list_parent_indices(files["blobs"]).filter(pc.is_in(pieces, wanted))
    whole = pc.and_(pc.is_null(files["blobs"]), pc.is_in(files["digest"], wanted))
    return np.union1d(rows.to_numpy(), np.flatnonzero(whole.to_numpy())).astype(np.int64)


def files_with(files: pa.Table, blobs: Iterable[bytes]) -> list[str]:
    """The files, as project/repo@commit:/path, that have any of the blobs."""
    hit = files.select(["repo", "commit", "path"]).take(rows_with(files, blobs))
    return [f"{row['repo']}@{row['commit']}:{row['path']}" for row in hit.to_pylist()]

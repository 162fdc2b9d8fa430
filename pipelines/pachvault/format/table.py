"""File tables and commit lists (docs/format.md, section 7).

A **file table** says what commits changed: a row a path. A commit is *full* (its rows are its whole
tree) or a *delta* on a base commit (its rows are what differs, deletions included).
A **commit list** has a row a commit: its place in the history, and which file tables hold its rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from pachvault.errors import CorruptError
from pachvault.format import digests, parquet
from pachvault.format.digests import Digests
from pachvault.format.parquet import Form

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
        ("metadata", pa.string()),
        ("created_by", pa.string()),
    ]
)
_LATER_COLUMNS = ("metadata", "created_by")
"""Of COMMITS: a list without them is read as if they were null."""
_METADATA = TypeAdapter(dict[str, str])

_MOST_ROWS = 2**24
_EARLIEST, _LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _wrong_files(rows: pa.Table) -> str:
    """What is wrong with rows of a file table as such; their paths are for who uses them to judge."""
    there = set(rows.column_names)
    if "kind" in there and not _all(pc.is_in(rows["kind"], pa.array([DELETED, FILE], pa.int8()))):
        return "a row is neither of a file nor of a deleted one"
    if "size" in there and not _all(pc.greater_equal(rows["size"], 0)):
        return "a file has a size below zero"
    if {"size", "digest"} <= there and not _all(
        pc.or_(pc.equal(rows["size"], 0), pc.is_valid(rows["digest"]))
    ):
        return "a file has no digest"
    if {"kind", "digest"} <= there and not _all(
        pc.or_(pc.equal(rows["kind"], DELETED), pc.is_valid(rows["digest"]))
    ):
        return "a file has no digest"
    return ""


def _wrong_commits(rows: pa.Table) -> str:
    there = set(rows.column_names)
    for name in {"size", "depth", "rows"} & there:
        if not _all(pc.greater_equal(rows[name], 0)):
            return f"a commit has a {name} below zero"
    for name in {"started", "finished"} & there:
        times = rows[name].drop_null()
        if not _all(pc.and_(pc.greater_equal(times, _EARLIEST), pc.less(times, _LATEST))):
            return f"a commit has {name} at a time that no calendar has"
    if "metadata" in there:
        for text in pc.unique(rows["metadata"]).to_pylist():
            try:
                decode_metadata(text)
            except CorruptError as error:
                return error.what
    return ""


def _all(flags: pa.ChunkedArray) -> bool:
    return bool(pc.all(flags, min_count=0).as_py())


FILES_FORM = Form(FILES, _MOST_ROWS, ("digest", "blobs", "pfs_hash"), _wrong_files)
"""A file table as it is read."""
COMMITS_FORM = Form(
    COMMITS,
    _MOST_ROWS,
    ("parent", "base", "started", "finished", *_LATER_COLUMNS),
    _wrong_commits,
    optional=_LATER_COLUMNS,
)
"""A commit list as it is read."""
_CONTENTS = FILES_FORM.of("size", "digest", "blobs")


def encode_files(table: pa.Table) -> bytes:
    """Parquet bytes of a file table."""
    return parquet.encode(table, plain_columns=frozenset({"digest"}))


def encode_file_batches(tables: Iterable[pa.Table]) -> bytes:
    """The same of the rows of several tables of schema FILES, each let go before the next one."""
    return parquet.encode_batches(tables, FILES, plain_columns=frozenset({"digest"}))


def decode_files(data: bytes) -> pa.Table:
    """The file table in `data`, or DamageError."""
    return parquet.decode(data, FILES_FORM)


def encode_commits(table: pa.Table) -> bytes:
    """Parquet bytes of a commit list."""
    return parquet.encode(table)


def decode_commits(data: bytes) -> pa.Table:
    """The commit list in `data`, or DamageError."""
    return parquet.decode(data, COMMITS_FORM)


def encode_metadata(metadata: Mapping[str, str]) -> str | None:
    """A commit's metadata as its column has it."""
    return json.dumps(metadata, sort_keys=True, ensure_ascii=False) if metadata else None


def decode_metadata(text: str | None) -> dict[str, str]:
    """A commit's metadata from its column, or CorruptError."""
    try:
        return _METADATA.validate_json(text or "{}")
    except ValidationError as error:
        raise CorruptError("a commit's metadata is not a JSON object of strings") from error


def tables_of(commits: pa.Table) -> list[bytes]:
    """The file tables that commits of a list name, each once."""
    names: list[bytes] = pc.unique(pc.list_flatten(commits["tables"])).to_pylist()
    return names


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


def digests_of(files: pa.Table) -> Digests:
    """Every blob that rows of a file table name, each once, sorted."""
    return digests.unique(_digests_of(files))


def digests_by_row(files: pa.Table) -> tuple[NDArray[np.int64], Digests]:
    """The blobs that rows of a file table name, each with the number of its row."""
    is_single = pc.and_(pc.is_null(files["blobs"]), pc.greater(files["size"], 0))
    single = np.flatnonzero(is_single.to_numpy())
    pieces = pc.list_parent_indices(files["blobs"]).to_numpy()
    blobs = [as_array(files["digest"].filter(is_single)), as_array(pc.list_flatten(files["blobs"]))]
    return np.concatenate([single, pieces]), digests.joined(blobs)


def digests_in(data: bytes) -> Digests:
    """The same of the file table in `data`, of which only what tells them is decoded; or DamageError."""
    return digests.unique(digests.joined(_digests_of(files) for files in parquet.batches(data, _CONTENTS)))


def _digests_of(files: pa.Table) -> Digests:
    has_content = pc.greater(files["size"], 0)
    if files["blobs"].null_count == len(files):  # as it is of small files
        return as_array(files["digest"].filter(has_content))
    single = files["digest"].filter(pc.and_(pc.is_null(files["blobs"]), has_content))
    return digests.joined([as_array(single), as_array(pc.list_flatten(files["blobs"]))])


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
    return file_names(files.take(rows_with(files, blobs)))


def file_names(files: pa.Table) -> list[str]:
    """The files as project/repo@commit:/path."""
    rows = files.select(["repo", "commit", "path"]).to_pylist()
    return [f"{row['repo']}@{row['commit']}:{row['path']}" for row in rows]

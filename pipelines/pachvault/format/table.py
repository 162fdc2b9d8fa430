"""File tables and commit lists (docs/format.md, section 7).

A **file table** has one row for each path that a commit changed. A commit is *full* (its rows are its
complete tree) or a *delta* on a base commit (its rows are the differences, deletions included).
A **commit list** has one row for each commit: its parent, its base, and the file tables that have its rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
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
"""Columns of COMMITS that earlier versions did not write. They are read as null."""
_METADATA = TypeAdapter(dict[str, str])
_BAD_PATH = r"^[^/]|^$|\x00|//|/\.\.?/|/\.?\.?$"
"""Not absolute; a zero byte; an empty component, `.` or `..`; a slash at the end. In RE2's syntax."""

_MOST_ROWS = 2**24
_EARLIEST, _LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _files_problem(rows: pa.Table) -> str:
    """The first problem of rows of a file table. Paths are not checked here: readers of files check them."""
    columns = set(rows.column_names)
    if "kind" in columns and not _all(pc.is_in(rows["kind"], pa.array([DELETED, FILE], pa.int8()))):
        return "a row has an unknown kind"
    if "size" in columns and not _all(pc.greater_equal(rows["size"], 0)):
        return "a file has a negative size"
    if {"size", "digest"} <= columns and not _all(
        pc.or_(pc.equal(rows["size"], 0), pc.is_valid(rows["digest"]))
    ):
        return "a file has no digest"
    if {"kind", "digest"} <= columns and not _all(
        pc.or_(pc.equal(rows["kind"], DELETED), pc.is_valid(rows["digest"]))
    ):
        return "a file has no digest"
    return ""


def _commits_problem(rows: pa.Table) -> str:
    columns = set(rows.column_names)
    for name in {"size", "depth", "rows"} & columns:
        if not _all(pc.greater_equal(rows[name], 0)):
            return f"a commit has a negative {name}"
    for name in {"started", "finished"} & columns:
        times = rows[name].drop_null()
        if not _all(pc.and_(pc.greater_equal(times, _EARLIEST), pc.less(times, _LATEST))):
            return f"a commit has a time in {name} that is out of range"
    if "metadata" in columns:
        for text in pc.unique(rows["metadata"]).to_pylist():
            try:
                decode_metadata(text)
            except CorruptError as error:
                return error.what
    return ""


def _all(flags: pa.ChunkedArray) -> bool:
    # without min_count Arrow answers null, not true, for an empty table
    return bool(pc.all(flags, min_count=0).as_py())


FILES_FORM = Form(FILES, _MOST_ROWS, ("digest", "blobs", "pfs_hash"), _files_problem)
"""What a file table must be to be read."""
COMMITS_FORM = Form(
    COMMITS,
    _MOST_ROWS,
    ("parent", "base", "started", "finished", *_LATER_COLUMNS),
    _commits_problem,
    optional=_LATER_COLUMNS,
)
"""What a commit list must be to be read."""
_CONTENTS = FILES_FORM.of("size", "digest", "blobs")


def encode_files(table: pa.Table) -> bytes:
    """Parquet bytes of a file table."""
    return parquet.encode(table, plain_columns=frozenset({"digest"}))


def encode_file_batches(tables: Iterable[pa.Table]) -> bytes:
    """As `encode_files`, for the rows of several tables; each is freed before the next one is read."""
    return parquet.encode_batches(tables, FILES, plain_columns=frozenset({"digest"}))


def decode_files(data: bytes) -> pa.Table:
    """The file table in `data`, or CorruptError."""
    return parquet.decode(data, FILES_FORM)


def encode_commits(table: pa.Table) -> bytes:
    """Parquet bytes of a commit list."""
    return parquet.encode(table)


def decode_commits(data: bytes, columns: Sequence[str] = COMMITS.names) -> pa.Table:
    """Columns of the commit list in `data`, or CorruptError; only these are decoded."""
    return parquet.decode(data, COMMITS_FORM.of(*columns))


def encode_metadata(metadata: Mapping[str, str]) -> str | None:
    """A commit's metadata as the text of its column; None where it is empty."""
    return json.dumps(metadata, sort_keys=True, ensure_ascii=False) if metadata else None


def decode_metadata(text: str | None) -> dict[str, str]:
    """A commit's metadata from its column, or CorruptError."""
    try:
        return _METADATA.validate_json(text or "{}")
    except ValidationError as error:
        raise CorruptError("a commit's metadata is not a JSON object of strings") from error


def tables_of(commits: pa.Table) -> list[bytes]:
    """The file tables that a commit list names, each once."""
    names: list[bytes] = pc.unique(pc.list_flatten(commits["tables"])).to_pylist()
    return names


def has_bad_path(files: pa.Table) -> NDArray[np.bool_]:
    """For each row of a file table whether no writer makes such a path."""
    return is_bad_path(files["path"])


def is_bad_path(paths: pa.ChunkedArray | pa.Array) -> NDArray[np.bool_]:
    """For each path whether no writer makes such a one."""
    return np.asarray(pc.match_substring_regex(paths, _BAD_PATH).to_numpy(zero_copy_only=False), np.bool_)


def fold(layers: list[pa.Table]) -> pa.Table:
    """The tree of a commit from the `layers` of its chain: the full one, then each delta in order.

    Layers and result have schema FILES. The result has rows of kind FILE only, sorted by path. Where several
    layers have a path, the last one counts.
    """
    if not layers:
        return FILES.empty_table()
    # format 7.2.1: of the rows of a path the one of the highest rank counts, also where it is a deletion
    rank = np.repeat(np.arange(len(layers)), [layer.num_rows for layer in layers])
    merged = pa.concat_tables(layers).append_column("rank", pa.array(rank))
    merged = merged.take(pc.sort_indices(merged, [("path", "ascending"), ("rank", "ascending")]))
    paths = merged["path"]
    if len(paths) > 1:
        last_of_path = pc.not_equal(paths[:-1], paths[1:]).combine_chunks()
        keep = np.append(np.asarray(last_of_path.to_numpy(zero_copy_only=False), bool), True)
        merged = merged.filter(pa.array(keep))
    # last: a deletion must first hide the older rows of its path
    merged = merged.filter(pc.equal(merged["kind"], FILE))
    return merged.drop_columns(["rank"])


def digests_of(files: pa.Table) -> Digests:
    """The blobs that rows of a file table name, each once, sorted."""
    return digests.unique(_digests_of(files))


def digests_by_row(files: pa.Table) -> tuple[NDArray[np.int64], Digests]:
    """The blobs that rows of a file table name, each with the number of its row."""
    is_single = pc.and_(pc.is_null(files["blobs"]), pc.greater(files["size"], 0))
    single = np.flatnonzero(is_single.to_numpy())
    pieces = pc.list_parent_indices(files["blobs"]).to_numpy()
    blobs = [as_array(files["digest"].filter(is_single)), as_array(pc.list_flatten(files["blobs"]))]
    return np.concatenate([single, pieces]), digests.joined(blobs)


def digests_in(data: bytes) -> Digests:
    """As `digests_of`, for an encoded file table; only three columns are decoded. Or CorruptError."""
    return digests.unique(digests.joined(_digests_of(files) for files in parquet.batches(data, _CONTENTS)))


def _digests_of(files: pa.Table) -> Digests:
    has_content = pc.greater(files["size"], 0)
    if files["blobs"].null_count == len(files):  # the usual case: small files
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
    """The numbers of the rows that name any of some blobs."""
    wanted = pa.array(list(blobs), DIGEST)
    pieces = pc.list_flatten(files["blobs"])
    rows = pc.list_parent_indices(files["blobs"]).filter(pc.is_in(pieces, wanted))
    is_single = pc.and_(pc.is_null(files["blobs"]), pc.is_in(files["digest"], wanted))
    return np.union1d(rows.to_numpy(), np.flatnonzero(is_single.to_numpy())).astype(np.int64)


def files_with(files: pa.Table, blobs: Iterable[bytes]) -> list[str]:
    """The files that have any of some blobs, as project/repo@commit:/path."""
    return file_names(files.take(rows_with(files, blobs)))


def file_names(files: pa.Table) -> list[str]:
    """The files of rows, as project/repo@commit:/path."""
    rows = files.select(["repo", "commit", "path"]).to_pylist()
    return [f"{row['repo']}@{row['commit']}:{row['path']}" for row in rows]

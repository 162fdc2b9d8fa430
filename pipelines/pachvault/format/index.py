"""The index: which pack holds a blob, and where (docs/format.md, section 6)."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachvault.format import parquet
from pachvault.format.pack import Pack, Toc

DIGEST = pa.binary(32)
SCHEMA = pa.schema(
    [
        ("blob", DIGEST),
        ("pack", DIGEST),
        ("frame_offset", pa.int64()),
        ("frame_stored", pa.int64()),
        ("frame_raw", pa.int64()),
        ("codec", pa.int8()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
    ]
)


def rows_of(pack: bytes, toc: Toc) -> pa.Table:
    """Index rows, one a blob of the pack."""
    frames, blobs = toc.frames, toc.blobs
    of_blob = frames[blobs["frame"]]
    size = len(blobs)
    digests = pa.py_buffer(blobs["digest"].tobytes())
    return pa.table(
        [
            pa.FixedSizeBinaryArray.from_buffers(DIGEST, size, [None, digests]),
            pa.FixedSizeBinaryArray.from_buffers(DIGEST, size, [None, pa.py_buffer(pack * size)]),
            of_blob["offset"].astype(np.int64),
            of_blob["stored"].astype(np.int64),
            of_blob["raw"].astype(np.int64),
            of_blob["codec"].astype(np.int8),
            blobs["offset"].astype(np.int64),
            blobs["size"].astype(np.int64),
        ],
        schema=SCHEMA,
    )


def of_packs(packs: list[Pack]) -> pa.Table:
    """One index table of several packs, sorted by blob."""
    if not packs:
        return SCHEMA.empty_table()
    return in_order(pa.concat_tables([rows_of(pack.digest, pack.toc) for pack in packs]))


def in_order(table: pa.Table) -> pa.Table:
    """Index rows sorted by blob, then by pack."""
    return table.take(pc.sort_indices(table, sort_keys=[("blob", "ascending"), ("pack", "ascending")]))


def ends_of(data: bytes) -> dict[bytes, int]:
    """The packs that an index object is about, and up to which byte it places frames; or DamageError."""
    names = ("pack", "frame_offset", "frame_stored")
    rows = parquet.decode(data, pa.schema([SCHEMA.field(name) for name in names]))
    rows = rows.append_column("end", pc.add(rows["frame_offset"], rows["frame_stored"]))
    found = rows.group_by("pack").aggregate([("end", "max")])
    return dict(zip(found["pack"].to_pylist(), found["end_max"].to_pylist(), strict=True))


def packs_of(data: bytes) -> tuple[list[bytes], int]:
    """The packs that an index object is about, and how many rows it has; or DamageError."""
    rows = parquet.decode(data, pa.schema([SCHEMA.field("pack")]))
    return pc.unique(rows["pack"]).to_pylist(), len(rows)


def encode(table: pa.Table) -> bytes:
    """Parquet bytes of an index table."""
    return parquet.encode(table, plain_columns=frozenset({"blob"}))


def batches(data: bytes, names: Collection[str] = SCHEMA.names) -> Iterator[pa.Table]:
    """The columns `names` of the index table in `data` as `decode` gives it, some of its rows at a time."""
    return parquet.batches(data, pa.schema([SCHEMA.field(name) for name in names]))


def decode(data: bytes) -> pa.Table:
    """The index table in `data`, or DamageError."""
    return parquet.decode(data, SCHEMA)

"""Index objects: which pack has a blob, and where (docs/format.md, section 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pachvault.format import digests, parquet
from pachvault.format.digests import Digests
from pachvault.format.pack import MOST_FRAME_BYTES, MOST_STORED_BYTES, Pack, Toc
from pachvault.format.parquet import Form

ROWS = 250_000
"""The size of an index object. Fewer rows would give many small objects, more rows would need more memory."""

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

_RANGES = {
    # so that offset and length together do not overflow an int64
    "frame_offset": 2**62,
    "frame_stored": MOST_STORED_BYTES,
    "frame_raw": MOST_FRAME_BYTES,
    "codec": 127,
    "offset": MOST_FRAME_BYTES,
    "size": MOST_FRAME_BYTES,
}
"""The largest value of each number column; none is negative."""


def _first_problem(rows: pa.Table) -> str:
    for name, most in _RANGES.items():
        if name in rows.column_names and len(rows):
            bounds = pc.min_max(rows[name])
            if bounds["min"].as_py() < 0 or bounds["max"].as_py() > most:
                return f"the index places blobs where no pack can have them: {name} is out of range"
    return ""


# format 4.4
FORM = Form(SCHEMA, most_rows=2**23, check=_first_problem)
"""What an index object must be to be read."""


def of_packs(packs: list[Pack]) -> pa.Table:
    """One index table of several packs: one row for each blob, sorted by blob."""
    # one column at a time: a million rows take a hundred megabytes
    blobs = digests.joined(pack.toc.blobs["digest"] for pack in packs)
    order = digests.order(blobs)
    columns = [as_column(blobs.take(order))]
    del blobs
    names = [np.repeat(digests.of([pack.digest]), len(pack.toc.blobs)) for pack in packs]
    columns.append(as_column(digests.joined(names).take(order)))
    del names
    for field in list(SCHEMA)[2:]:
        numbers = [numbers_of(pack.toc, field.name) for pack in packs]
        columns.append(pa.array(np.concatenate([np.empty(0, np.int64), *numbers]).take(order), field.type))
    return pa.table(columns, schema=SCHEMA)


def numbers_of(toc: Toc, name: str) -> NDArray[np.int64]:
    """A number column of the index, from the table of contents of a pack."""
    if name in ("offset", "size"):
        return np.asarray(toc.blobs[name], np.int64)
    return np.asarray(toc.frames[name.removeprefix("frame_")], np.int64).take(toc.blobs["frame"])


def as_column(blobs: Digests) -> pa.Array:
    """Digests as a column."""
    return pa.FixedSizeBinaryArray.from_buffers(DIGEST, len(blobs), [None, pa.py_buffer(blobs)])


def ends_of(data: bytes) -> dict[bytes, int]:
    """The packs that an index object names, and for each the byte up to which it places frames in it.

    Raises CorruptError where `data` is not an index object.
    """
    names = ("pack", "frame_offset", "frame_stored")
    rows = parquet.decode(data, FORM.of(*names))
    rows = rows.append_column("end", pc.add(rows["frame_offset"], rows["frame_stored"]))
    ends = rows.group_by("pack").aggregate([("end", "max")])
    return dict(zip(ends["pack"].to_pylist(), ends["end_max"].to_pylist(), strict=True))


def packs_of(data: bytes) -> tuple[list[bytes], int]:
    """The packs that an index object names, and its number of rows; or CorruptError."""
    rows = parquet.decode(data, FORM.of("pack"))
    return pc.unique(rows["pack"]).to_pylist(), len(rows)


def encode(table: pa.Table) -> bytes:
    """Parquet bytes of an index table."""
    # digests do not compress: trying it only takes time
    return parquet.encode(table, plain_columns=frozenset({"blob"}))


def columns(data: bytes) -> Iterator[Callable[[str], pa.Array]]:
    """For each row group of the index table in `data` a function that reads a column by name."""
    return parquet.columns(data, FORM)


def decode(data: bytes) -> pa.Table:
    """The index table in `data`, or CorruptError."""
    return parquet.decode(data, FORM)

"""Arrow tables to Parquet bytes and back, one way for every kind (docs/format.md, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from pachvault.errors import CorruptError

SEALED_MAGIC = b"PVSEAL"
ROW_GROUP_ROWS = 128 * 1024


def encode(table: pa.Table, *, plain_columns: frozenset[str] = frozenset()) -> bytes:
    """Parquet bytes of `table`; `plain_columns` (digests) are left uncompressed.

    The same table gives the same bytes with the same library, so a repeated run writes an object
    of the same name; another library version may give another name for the same rows.
    """
    return encode_batches([table], table.schema, plain_columns=plain_columns)


def encode_batches(
    tables: Iterable[pa.Table], schema: pa.Schema, *, plain_columns: frozenset[str] = frozenset()
) -> bytes:
    """The same of the rows of several tables of a schema, each let go before the next one."""
    names = [name for name in schema.names if name not in plain_columns]
    encodings = {
        name: encoding
        for name in names
        for kind, encoding in ((pa.string(), "DELTA_BYTE_ARRAY"), (pa.int64(), "DELTA_BINARY_PACKED"))
        if schema.field(name).type == kind
    }
    dictionary = [name for name in names if name not in encodings and not _nested(schema, name)]
    compression = dict.fromkeys(_leaves(schema), "zstd")
    compression.update(dict.fromkeys(plain_columns, "none"))
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        schema,
        use_dictionary=dictionary,
        column_encoding=encodings or None,
        compression=compression,
        compression_level={c: 3 for c, codec in compression.items() if codec == "zstd"},
        store_schema=True,
    ) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    return bytes(sink.getvalue())


def salted(data: bytes, salt: int) -> bytes:
    """The same rows in other bytes for each `salt` above 0, for when a name must not be used."""
    if salt == 0:
        return data
    table = pq.read_table(pa.BufferReader(data)).replace_schema_metadata({"salt": str(salt)})
    return encode(table)


def decode(data: bytes, schema: pa.Schema) -> pa.Table:
    """The table in `data`, cast to `schema`; columns this version does not know are dropped.

    Raises DamageError where the bytes are no such table.
    """
    with _as_damage():
        # without the detour by which read_table comes to the same: half the time of a small one
        return _like(_opened(data).read(columns=schema.names, use_threads=False), schema)


def batches(data: bytes, schema: pa.Schema) -> Iterator[pa.Table]:
    """The table in `data` as `decode` gives it, a row group at a time."""
    with _as_damage():
        file = _opened(data)
        for number in range(file.num_row_groups):
            yield _like(file.read_row_group(number, columns=schema.names, use_threads=False), schema)


def columns(data: bytes, schema: pa.Schema) -> Iterator[Callable[[str], pa.Array]]:
    """For each row group of the table in `data` what reads one of its columns, by name."""
    with _as_damage():
        file = _opened(data)
        for number in range(file.num_row_groups):
            yield partial(_column, file, number, schema)


def _column(file: pq.ParquetFile, number: int, schema: pa.Schema, name: str) -> pa.Array:
    with _as_damage():
        rows = file.read_row_group(number, columns=[name], use_threads=False)
        found = _like(rows, pa.schema([schema.field(name)]))[name]
        return found.chunk(0) if found.num_chunks == 1 else found.combine_chunks()


def _opened(data: bytes) -> pq.ParquetFile:
    if data[:6] == SEALED_MAGIC:
        raise CorruptError("the object is sealed with a key, which this version does not know")
    return pq.ParquetFile(pa.BufferReader(data))


@contextmanager
def _as_damage() -> Iterator[None]:
    try:
        yield
    except MemoryError:  # Arrow's own is one of its exceptions, too: it says nothing of the bytes
        raise
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        raise CorruptError(f"not a table of the expected kind: {str(error).splitlines()[0]}") from error


def _like(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns of `schema`; casting takes as long as reading, and is hardly ever needed."""
    return table if table.schema.equals(schema) else table.select(schema.names).cast(schema)


def _nested(schema: pa.Schema, name: str) -> bool:
    return bool(pa.types.is_nested(schema.field(name).type))


def _leaves(schema: pa.Schema) -> list[str]:
    return [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema]

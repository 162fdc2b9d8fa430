"""Arrow tables to Parquet bytes and back, for all kinds of tables (docs/format.md, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pachvault.errors import CorruptError

ENCRYPTED_MAGIC = b"PVSEAL"
ROW_GROUP_ROWS = 128 * 1024
_MOST_GROUP_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Form:
    """What a kind of table must be to be read."""

    schema: pa.Schema
    most_rows: int
    """Tables whose footer gives more rows are refused before they are decoded."""
    nullable: Collection[str] = ()
    """The columns in which nulls are allowed."""
    check: Callable[[pa.Table], str] = lambda _: ""
    """The first problem of the rows, as text; empty where there is none. The table may lack columns."""
    optional: Collection[str] = ()
    """Columns that earlier versions did not write. A missing one is read as null in every row."""

    def of(self, *names: str) -> Form:
        """The form of a table with some of the columns."""
        schema = pa.schema([self.schema.field(name) for name in names])
        return Form(schema, self.most_rows, self.nullable, self.check, self.optional)


def encode(table: pa.Table, *, plain_columns: frozenset[str] = frozenset()) -> bytes:
    """Parquet bytes of `table`; `plain_columns` (digests) are not compressed.

    The same table gives the same bytes with the same library, so a repeated run writes an object
    of the same name; another library version may give another name for the same rows.
    """
    return encode_batches([table], table.schema, plain_columns=plain_columns)


def encode_batches(
    tables: Iterable[pa.Table], schema: pa.Schema, *, plain_columns: frozenset[str] = frozenset()
) -> bytes:
    """As `encode`, for the rows of several tables; each is freed before the next one is read."""
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
    """The same rows in other bytes for each `salt` above 0: they get another name (docs/format.md, 3.7)."""
    if salt == 0:
        return data
    table = pq.read_table(pa.BufferReader(data)).replace_schema_metadata({"salt": str(salt)})
    return encode(table)


def decode(data: bytes, form: Form) -> pa.Table:
    """The table in `data`, cast to the form's schema; columns this version does not know are dropped.

    Raises CorruptError where the bytes are not such a table.
    """
    with _as_damage():
        # not read_table: for a small table it takes twice the time
        file = _opened(data, form)
        # a column that the file lacks is left out without an error: `_like` finds that
        return _like(file.read(columns=form.schema.names, use_threads=False), form)


def batches(data: bytes, form: Form) -> Iterator[pa.Table]:
    """The table in `data` as `decode` gives it, a row group at a time."""
    with _as_damage():
        file = _opened(data, form)
        numbers = range(file.num_row_groups)
    for number in numbers:
        with _as_damage():
            rows = _like(file.read_row_group(number, columns=form.schema.names, use_threads=False), form)
        yield rows


def columns(data: bytes, form: Form) -> Iterator[Callable[[str], pa.Array]]:
    """For each row group of the table in `data` a function that reads one of its columns, by name."""
    with _as_damage():
        file = _opened(data, form)
        numbers = range(file.num_row_groups)
    for number in numbers:
        yield partial(_column, file, number, form)


def _column(file: pq.ParquetFile, number: int, form: Form, name: str) -> pa.Array:
    with _as_damage():
        rows = file.read_row_group(number, columns=[name], use_threads=False)
        column = _like(rows, form.of(name))[name]
        if len(column) != file.metadata.row_group(number).num_rows:
            raise CorruptError(f"column {name} does not have the number of rows in the footer")
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _opened(data: bytes, form: Form) -> pq.ParquetFile:
    # format 10.1
    if data[:6] == ENCRYPTED_MAGIC:
        raise CorruptError("the object is encrypted, and this version reads plain objects only")
    file = pq.ParquetFile(pa.BufferReader(data))
    if problem := _footer_problem(file.metadata, form):
        raise CorruptError(problem)
    return file


def _footer_problem(footer: pq.FileMetaData, form: Form) -> str:
    """Why a file must not be decoded: it could take all memory or endless time. Empty where it may."""
    # format 4.4
    if footer.num_rows > form.most_rows:
        return f"its footer gives {footer.num_rows:,} rows, the limit is {form.most_rows:,}"
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    if (
        any(group.num_rows < 0 for group in groups)
        or sum(group.num_rows for group in groups) != footer.num_rows
    ):
        return "its row groups do not have the number of rows in its footer"
    # columns are not inspected: Arrow ends the process at a damaged one
    if any(not 0 <= group.total_byte_size <= _MOST_GROUP_BYTES for group in groups):
        return "its footer gives a row group of more than a gigabyte"
    return ""


@contextmanager
def _as_damage() -> Iterator[None]:
    try:
        yield
    except MemoryError:  # Arrow's is an ArrowException, too; it does not mean that the bytes are corrupt
        raise
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        reason = next(iter(str(error).splitlines()), "unreadable")
        raise CorruptError(f"not a table of the expected kind: {reason}") from error


def _like(table: pa.Table, form: Form) -> pa.Table:
    """The table with the columns of the form, checked. It is cast only if it must be: that is slow."""
    schema = form.schema
    for name in form.optional:
        if name in schema.names and name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    # select raises KeyError for a column that is missing, which `_as_damage` turns into CorruptError
    if not table.schema.equals(schema):
        table = table.select(schema.names).cast(schema)
    table.validate(full=True)  # finds text that is not UTF-8, and lists that end before they begin
    for name in schema.names:
        column = table[name]
        is_list = pa.types.is_list(column.type)
        if (column.null_count and name not in form.nullable) or (
            is_list and pc.list_flatten(column).null_count
        ):
            raise CorruptError(f"column {name} has nulls")
    if problem := form.check(table):
        raise CorruptError(problem)
    return table


def _nested(schema: pa.Schema, name: str) -> bool:
    return bool(pa.types.is_nested(schema.field(name).type))


def _leaves(schema: pa.Schema) -> list[str]:
    return [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema]

"""Rows of the index as numpy arrays: packs by number, and only the number columns that the caller needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pachvault.errors import CorruptError
from pachvault.format import digests, index
from pachvault.format.digests import Digests, Rows
from pachvault.format.pack import Toc
from pachvault.format.table import as_array

# 32 bits suffice for all but offsets in packs: the format bounds frames (5.7). int64 would take twice as much
_TYPES = {
    "frame_offset": pa.int64(),
    "frame_stored": pa.uint32(),
    "frame_raw": pa.uint32(),
    "codec": pa.uint8(),
    "offset": pa.uint32(),
    "size": pa.uint32(),
}
"""The number columns, each of the type that it has in a pack's table of contents."""
NUMBERS = tuple(_TYPES)


def at_most(size: int) -> int:
    """The most rows that index objects of `size` bytes in total can have: digests do not compress."""
    return size // digests.DTYPE.itemsize


@dataclass(frozen=True, slots=True)
class IndexRows:
    """One row a place: the blob's digest, its pack as a number in `packs`, some number columns."""

    digests: Digests
    packs: Digests
    ends: NDArray[np.int64]
    """For each pack the byte up to which the index places frames in it."""
    pack_codes: NDArray[np.uint32]
    integers: dict[str, NDArray[Any]]
    """The number columns by name."""

    @classmethod
    def of(cls, tables: Iterable[pa.Table]) -> IndexRows:
        """The rows of tables of schema index.SCHEMA, in order."""
        batches = (batch for table in tables for batch in table.to_batches())
        return cls.joined(_of_rows(batch.column, NUMBERS) for batch in batches)

    @classmethod
    def read(cls, data: bytes, names: Collection[str] = NUMBERS) -> IndexRows:
        """The rows of an index object; CorruptError where it is not one."""
        return cls.joined(cls.parts(data, names), names, at_most(len(data)))

    @classmethod
    def parts(cls, data: bytes, names: Collection[str]) -> Iterator[IndexRows]:
        """As `read`, a row group at a time."""
        return (_of_rows(column, names) for column in index.columns(data))

    @classmethod
    def of_toc(cls, name: bytes, toc: Toc) -> IndexRows:
        """The rows that the table of contents of a pack gives, in its order."""
        end = (toc.frames["offset"] + toc.frames["stored"]).max(initial=0)
        types = {column: kind.to_pandas_dtype() for column, kind in _TYPES.items()}
        return cls(
            np.ascontiguousarray(toc.blobs["digest"]),
            digests.of([name]),
            np.array([end], np.int64),
            np.zeros(len(toc.blobs), np.uint32),
            {column: index.numbers_of(toc, column).astype(kind) for column, kind in types.items()},
        )

    @classmethod
    def joined(cls, parts: Iterable[IndexRows], names: Collection[str] = NUMBERS, room: int = 0) -> IndexRows:
        """All rows of the parts, in order. With enough `room` (in rows) no array is copied while it grows."""
        numbers: dict[bytes, int] = {}
        ends: list[int] = []
        blobs = _Growing(digests.DTYPE, room)
        codes = _Growing(np.dtype(np.uint32), room)
        integers = {name: _Growing(_TYPES[name].to_pandas_dtype(), room) for name in names}
        for part in parts:
            blobs.append(part.digests)
            new_codes = [numbers.setdefault(pack.tobytes(), len(numbers)) for pack in part.packs]
            ends += [0] * (len(numbers) - len(ends))
            for code, end in zip(new_codes, part.ends.tolist(), strict=True):
                ends[code] = max(ends[code], end)
            codes.append(np.array(new_codes, np.uint32).take(part.pack_codes))
            for name, column in integers.items():
                column.append(part.integers[name])
        return cls(
            blobs.all(),
            digests.of(numbers),
            np.array(ends, np.int64),
            codes.all(),
            {name: column.all() for name, column in integers.items()},
        )

    def __len__(self) -> int:
        return len(self.digests)

    def pack_ends(self) -> list[tuple[bytes, int]]:
        """Every pack that the rows name, and the byte up to which they place frames in it."""
        return [(name.tobytes(), int(end)) for name, end in zip(self.packs, self.ends, strict=True)]

    def without(self, packs: Iterable[bytes]) -> IndexRows:
        """The rows without those of some packs."""
        left_out = frozenset(packs)
        is_left_out = np.array([pack.tobytes() in left_out for pack in self.packs], bool)
        kept = ~is_left_out[self.pack_codes]
        # packs left out before the first kept one get a number that wraps around; no kept row has it
        numbers = np.cumsum(~is_left_out, dtype=np.uint32) - 1
        return IndexRows(
            self.digests[kept],
            self.packs[~is_left_out],
            self.ends[~is_left_out],
            numbers[self.pack_codes[kept]],
            {name: column[kept] for name, column in self.integers.items()},
        )

    def take(self, rows: Rows) -> IndexRows:
        """Some rows, by number. `packs` and `ends` stay as they are."""
        return IndexRows(
            self.digests.take(rows),
            self.packs,
            self.ends,
            self.pack_codes.take(rows),
            {name: column.take(rows) for name, column in self.integers.items()},
        )

    def in_order(self) -> IndexRows:
        """The rows sorted by blob; those of one blob stay in their order."""
        return self.take(digests.order(self.digests))

    def table(self) -> pa.Table:
        """The rows as a table of schema index.SCHEMA; they must have all NUMBERS."""
        columns = {
            "blob": index.as_column(self.digests),
            "pack": index.as_column(self.packs.take(self.pack_codes)),
        }
        columns |= {name: pa.array(column) for name, column in self.integers.items()}
        return pa.table(columns).select(index.SCHEMA.names).cast(index.SCHEMA)


def differing(columns: IndexRows, rows: Rows, other: IndexRows) -> tuple[Rows, Rows]:
    """The numbers of the `rows` that `other` lacks, and of the rows of `other` that `rows` lack.

    Everything but the pack is compared.
    """
    pairs = [(columns.digests, other.digests)]
    pairs += [(column, other.integers[name]) for name, column in columns.integers.items()]
    if len(rows) == len(other):
        # the usual case: compare in sorted order, without a copy of all columns
        left_order, right_order = (
            rows[digests.order(columns.digests.take(rows))],
            digests.order(other.digests),
        )
        if all((left.take(left_order) == right.take(right_order)).all() for left, right in pairs):
            return rows[:0], rows[:0]
    left_values = _as_values([left.take(rows) for left, _ in pairs])
    right_values = _as_values([right for _, right in pairs])
    is_in_right, is_in_left = np.isin(left_values, right_values), np.isin(right_values, left_values)
    return rows[~is_in_right], np.flatnonzero(~is_in_left)


def _as_values(columns: Sequence[NDArray[Any]]) -> NDArray[np.void]:
    """The columns of each row as one value."""
    values = np.empty(
        len(columns[0]), [(f"f{number}", column.dtype) for number, column in enumerate(columns)]
    )
    for number, column in enumerate(columns):
        values[f"f{number}"] = column
    return values.view(f"V{values.itemsize}")


class RowsByPack:
    """Row numbers by pack."""

    def __init__(self, columns: IndexRows) -> None:
        self.codes = {name.tobytes(): code for code, name in enumerate(columns.packs)}
        # argsort gives int64: half of that memory is saved for as long as the index lives
        self._order = np.argsort(columns.pack_codes, kind="stable").astype(np.uint32)
        self._bounds = np.searchsorted(columns.pack_codes[self._order], np.arange(len(self.codes) + 1))

    def rows(self, pack: bytes | None) -> Rows:
        """The numbers of the rows of a pack, in their order; none where no row names it."""
        code = self.codes.get(pack) if pack else None
        if code is None:
            return np.empty(0, np.int64)
        return self._order[self._bounds[code] : self._bounds[code + 1]].astype(np.int64)


def _of_rows(column: Callable[[str], pa.Array], names: Collection[str]) -> IndexRows:
    """The rows of one row group; `column` reads a column by name. Columns are freed one by one."""
    blobs = as_array(column("blob"))
    packs = column("pack").dictionary_encode()
    codes = packs.indices.to_numpy().astype(np.uint32)
    pack_names = as_array(packs.dictionary)
    del packs
    ends = np.zeros(len(pack_names), np.int64)
    np.maximum.at(ends, codes, column("frame_offset").to_numpy() + column("frame_stored").to_numpy())
    try:
        # a copy, because to_numpy of an Arrow array is a view that keeps its buffer in memory
        integers = {name: column(name).cast(_TYPES[name]).to_numpy().copy() for name in names}
    except pa.ArrowInvalid as error:
        raise CorruptError("the index places blobs where no pack can have them") from error
    return IndexRows(blobs, pack_names, ends, codes, integers)


class _Growing:
    """An array that grows. Unused room takes no memory: the system maps a page when it is first written."""

    def __init__(self, kind: np.dtype[Any], room: int) -> None:
        self._rows = np.empty(room, kind)
        self._count = 0

    def append(self, more: NDArray[Any]) -> None:
        end = self._count + len(more)
        if end > len(self._rows):
            larger = np.empty(max(end, 2 * self._count), self._rows.dtype)
            larger[: self._count] = self.all()
            self._rows = larger
        self._rows[self._count : end] = more
        self._count = end

    def all(self) -> NDArray[Any]:
        return self._rows[: self._count]

"""Index rows as numpy arrays, packs by number: half of what they take in Arrow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pachvault.format.table import as_array

_INTEGERS = ("frame_offset", "frame_stored", "frame_raw", "codec", "offset", "size")


@dataclass(frozen=True, slots=True)
class Columns:
    """A row a place: the blob's digest, its pack as a number in `packs`, and the index's numbers by name."""

    digests: NDArray[np.void]
    packs: NDArray[np.void]
    pack_codes: NDArray[np.uint32]
    integers: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, tables: Iterable[pa.Table]) -> Columns:
        """The rows of tables of schema index.SCHEMA, in order; each table is let go before the next one."""
        return cls.joined(_of_batch(batch) for table in tables for batch in table.to_batches())

    @classmethod
    def joined(cls, parts: Iterable[Columns]) -> Columns:
        """All rows of the parts, in order. Of what is joined, no more than a column is held twice."""
        numbers: dict[bytes, int] = {}
        digests: list[NDArray[np.void]] = []
        codes: list[NDArray[np.uint32]] = []
        integers: dict[str, list[NDArray[Any]]] = {name: [] for name in _INTEGERS}
        for part in parts:
            digests.append(part.digests)
            own = [numbers.setdefault(pack.tobytes(), len(numbers)) for pack in part.packs]
            codes.append(np.array(own, np.uint32)[part.pack_codes])
            for name, columns in integers.items():
                columns.append(part.integers[name])
        return cls(
            _joined(digests, "V32"),
            np.frombuffer(b"".join(numbers), "V32") if numbers else np.empty(0, "V32"),
            _joined(codes, "u4"),
            {name: _joined(columns, "i8") for name, columns in integers.items()},
        )

    def without(self, packs: Iterable[bytes]) -> Columns:
        """The rows, but for those of some packs."""
        left_out = frozenset(packs)
        is_left_out = np.array([pack.tobytes() in left_out for pack in self.packs], bool)
        kept = ~is_left_out[self.pack_codes]
        numbers = np.cumsum(~is_left_out, dtype=np.uint32) - 1
        return Columns(
            self.digests[kept],
            self.packs[~is_left_out],
            numbers[self.pack_codes[kept]],
            {name: column[kept] for name, column in self.integers.items()},
        )


def _of_batch(batch: pa.RecordBatch) -> Columns:
    packs = batch.column("pack").dictionary_encode()
    return Columns(
        # copies: views would keep the batch
        as_array(batch.column("blob")),
        np.frombuffer(b"".join(packs.dictionary.to_pylist()), "V32"),
        packs.indices.to_numpy().astype(np.uint32),
        {name: batch.column(name).to_numpy().copy() for name in _INTEGERS},
    )


def _joined(arrays: list[NDArray[Any]], kind: str) -> NDArray[Any]:
    """One array of them all; the list is empty afterwards."""
    joined = arrays[0] if len(arrays) == 1 else np.concatenate([np.empty(0, kind), *arrays], dtype=kind)
    arrays.clear()
    return joined

"""Layers: what one write did to a tree. Deletes come first, then puts, which append.

A file is known by path and datum: a pipeline's datums each own what they wrote, and a plain write
belongs to the datum `default`. Pure values and their encoding; where layers are kept is
`filesets`' business, reading many as one is `trees`'.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from embedded_pachyderm.pfs.content.segments import join_parts, parts_of

DEFAULT_DATUM = "default"

Key = tuple[str, str]  # path, datum
Digest = Callable[[bytes], bytes]  # of the content that lies in these parts

_PUTS = pa.schema(
    [
        ("path", pa.string()),
        ("datum", pa.string()),
        ("size", pa.int64()),
        ("digest", pa.binary(32)),
        ("parts", pa.binary()),
    ]
)
_DELETES = pa.schema([("path", pa.string()), ("datum", pa.string())])
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")


class Entry(NamedTuple):
    """A file, or what a put appends to one."""

    path: str
    datum: str
    size: int
    digest: bytes
    parts: bytes


@dataclass(frozen=True, slots=True)
class Layer:
    """Sorted deletes, and sorted puts of one entry a key."""

    deletes: tuple[Key, ...]
    puts: tuple[Entry, ...]

    def encode(self) -> bytes:
        """Two Arrow streams, one behind the other."""
        sink = pa.BufferOutputStream()
        for schema, rows in ((_DELETES, self.deletes), (_PUTS, self.puts)):
            columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            with pa.ipc.new_stream(sink, schema, options=_COMPRESSED) as stream:
                stream.write_batch(pa.record_batch(arrays, schema=schema))
        encoded: bytes = sink.getvalue().to_pybytes()
        return encoded

    @classmethod
    def decode(cls, data: bytes) -> Layer:
        """The layer these bytes are."""
        source = pa.BufferReader(data)
        with pa.ipc.open_stream(source) as stream:
            deletes = stream.read_all()
        with pa.ipc.open_stream(source) as stream:
            puts = stream.read_all()
        return cls(
            tuple(zip(*(column.to_pylist() for column in deletes.columns), strict=True)),
            tuple(map(Entry, *(column.to_pylist() for column in puts.columns))),
        )

    def segments(self) -> set[int]:
        """The segments that must stay for this layer to be readable."""
        return {part[0] for entry in self.puts for part in parts_of(entry.parts)}


def appended(old: Entry, new: Entry, digest: Digest) -> Entry:
    """The file after an append."""
    if not new.size:
        return old
    if not old.size:
        return new
    parts = join_parts(old.parts, new.parts)
    return Entry(old.path, old.datum, old.size + new.size, digest(parts), parts)


def compose(layers: Iterable[Layer], digest: Digest) -> Layer:
    """One layer that does what these do in order."""
    layers = list(layers)
    if len(layers) == 1:
        return layers[0]
    deletes: set[Key] = set()
    puts: dict[Key, Entry] = {}
    for layer in layers:
        deletes.update(layer.deletes)
        for key in layer.deletes:
            puts.pop(key, None)
        for entry in layer.puts:
            old = puts.get(entry[:2])
            puts[entry[:2]] = appended(old, entry, digest) if old else entry
    return Layer(tuple(sorted(deletes)), tuple(sorted(puts.values())))


def applied(base: list[Entry], layer: Layer, digest: Digest) -> list[Entry]:
    """The files of `base` after the layer, sorted; the base stays as it was."""
    if not base:
        return list(layer.puts)
    deletes = set(layer.deletes)
    puts = {entry[:2]: entry for entry in layer.puts}
    result: list[Entry] = []
    at = 0
    for key in sorted(deletes | puts.keys()):
        index = bisect_left(base, key, at)
        result += base[at:index]
        at = index
        new = puts.get(key)
        if index < len(base) and base[index][:2] == key:
            at += 1
            if key not in deletes and new is not None:
                new = appended(base[index], new, digest)
        if new is not None:
            result.append(new)
    result += base[at:]
    return result

"""What packs and index hold, as far as it reads: every place of every blob, and which of them are good.

Nothing is decided here, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pachvault.errors import DamageError
from pachvault.format import index, layout, pack, table
from pachvault.format.ids import digest
from pachvault.progress import Progress
from pachvault.store.store import ObjectInfo
from pachvault.upkeep.verify import Level
from pachvault.vault.blobs import BlobIndex, joined
from pachvault.vault.packs import any_toc, read_toc
from pachvault.vault.vault import Vault

_INTEGERS = [name for name in index.SCHEMA.names if name not in ("blob", "pack")]


@dataclass(frozen=True, slots=True)
class Packs:
    """The packs and the index of a vault as they were found."""

    whole: BlobIndex
    """Places in packs without fault."""
    hurt: BlobIndex
    """Places that read, in packs that are damaged."""
    damaged: dict[str, str]
    """Packs by name, with what is wrong."""
    unplaced: pa.Table
    """Rows that no index object has, by what the packs say of themselves (schema index.SCHEMA)."""
    indexed: dict[str, pa.Table]
    """The index objects that read."""
    true: dict[str, NDArray[np.bool_]]
    """For each index object with rows that no pack bears out: which rows are not of these."""
    gone: dict[str, frozenset[bytes]]
    """For the same: the packs that they name, and that are not there."""
    wrong: frozenset[str]
    """Those of them that say what a pack that is there does not."""
    unreadable: dict[str, str]
    """The index objects that do not read, with what is wrong."""

    def rows_without(self, replaced: Set[str]) -> pa.Table:
        """What the index lacks if these objects are taken out of it."""
        kept = [
            self.indexed[name].filter(pa.array(self.true[name]))
            for name in sorted(replaced)
            if name in self.true
        ]
        return index.in_order(pa.concat_tables([self.unplaced, *kept]))

    def placed_in(self, pack: bytes) -> set[bytes]:
        """The blobs that the index places in a pack."""
        found: set[bytes] = set()
        for rows in self.indexed.values():
            found.update(rows.filter(pc.equal(rows["pack"], pack))["blob"].to_pylist())
        return found


def survey(vault: Vault, level: Level, progress: Progress) -> Packs:
    """Read the index, then the packs: their TOCs, from level packs on their frames, at data every blob."""
    # in this order: a pack is durable before an index object names it
    placed, unreadable = _index_objects(vault)
    infos = [info for info in vault.store.list(layout.PACKS) if layout.named_digest(info.name)]
    progress.start("repair: packs", sum(info.size for info in infos))
    whole, hurt, unplaced = ([index.SCHEMA.empty_table()] for _ in range(3))
    damaged: dict[str, str] = {}
    for info in infos:
        name = layout.named_digest(info.name) or b""
        numbers = placed.in_pack(name)
        try:
            toc = read_toc(vault, info.name, info.size)
        except DamageError as error:
            damaged[info.name] = error.what
            hurt.append(_salvaged(vault, info, name, placed.rows.take(numbers)))
        else:
            rows = index.rows_of(name, toc)
            unplaced.append(placed.compare(rows, numbers))
            bad = _bad_blobs(vault, info.name, toc, level)
            if bad:
                damaged[info.name] = f"{len(bad)} of its {len(toc.blobs)} blobs do not read"
                rows = rows.take(np.setdiff1d(np.arange(len(toc.blobs)), np.array(bad, np.int64)))
            (hurt if bad else whole).append(rows)
        progress.add(info.size, 1)
    listed = {layout.named_digest(info.name) or b"" for info in infos}
    gone = placed.gone(listed)
    good = BlobIndex(pa.concat_tables(whole))
    whole.clear()  # a million rows are a hundred megabytes
    return Packs(
        whole=good,
        hurt=BlobIndex(pa.concat_tables(hurt)),
        damaged=damaged,
        unplaced=pa.concat_tables(unplaced),
        indexed=placed.objects,
        true={name: placed.true_of(name) for name in gone},
        gone={name: packs - listed for name, packs in gone.items()},
        wrong=frozenset(name for name, packs in gone.items() if packs & listed),
        unreadable=unreadable,
    )


def _index_objects(vault: Vault) -> tuple[_Placed, dict[str, str]]:
    found: dict[str, pa.Table] = {}
    unreadable: dict[str, str] = {}
    for info in vault.store.list(layout.INDEX):
        try:
            found[info.name] = index.decode(vault.read(info.name))
        except DamageError as error:
            if vault.store.stat(info.name) is not None:  # else prune has replaced it since the listing
                unreadable[info.name] = error.what
    return _Placed.of(found), unreadable


def _bad_blobs(vault: Vault, name: str, toc: pack.Toc, level: Level) -> list[int]:
    """The rows of a TOC whose blobs do not read."""
    bad: list[int] = []
    if level is Level.STRUCTURE:
        return bad
    bounds = np.searchsorted(toc.blobs["frame"], np.arange(len(toc.frames) + 1))
    for number, frame in enumerate(toc.frames):
        rows = range(int(bounds[number]), int(bounds[number + 1]))
        stored = vault.store.get_range(name, int(frame["offset"]), int(frame["stored"]))
        if not pack.frame_is_whole(stored, int(frame["checksum"])):
            bad.extend(rows)
        elif level is Level.DATA:
            bad.extend(_wrong(toc, frame, stored, rows))
    return bad


def _wrong(toc: pack.Toc, frame: np.void, stored: bytes, rows: range) -> Iterator[int]:
    """Of the blobs of a frame those that are not what their digests say."""
    try:
        data = pack.open_frame(stored, int(frame["raw"]), int(frame["codec"]))
    except DamageError:
        yield from rows
        return
    for row in rows:
        blob = toc.blobs[row]
        start, size = int(blob["offset"]), int(blob["size"])
        if digest(data[start : start + size]) != blob["digest"].tobytes():
            yield row


def _salvaged(vault: Vault, info: ObjectInfo, pack_id: bytes, rows: pa.Table) -> pa.Table:
    """What reads nevertheless of an object that is not the pack its name promises.

    Where to look says the index; or the TOC of another pack, where one lies there.
    """
    name = info.name
    with suppress(DamageError):
        rows = pa.concat_tables([rows, index.rows_of(pack_id, any_toc(vault, name, info.size)[1])])
    rows = rows.sort_by("frame_offset")
    good: list[int] = []
    opened, data = -1, b""
    for number, row in enumerate(rows.to_pylist()):
        if row["frame_offset"] != opened:
            opened = row["frame_offset"]
            try:
                stored = vault.store.get_range(name, opened, row["frame_stored"])
                data = pack.open_frame(stored, row["frame_raw"], row["codec"])
            except DamageError:
                data = b""
        if digest(data[row["offset"] : row["offset"] + row["size"]]) == row["blob"]:
            good.append(number)
    return rows.take(np.array(good, np.int64))


@dataclass(frozen=True, slots=True)
class _Placed:
    """The rows of all index objects, and which of them are true."""

    rows: pa.Table
    objects: dict[str, pa.Table]
    """Slices of `rows`."""
    true: NDArray[np.bool_]
    _packs: NDArray[np.void]
    """Each pack that is named, sorted."""
    _order: NDArray[np.int64]
    """The numbers of the rows by pack."""
    _bounds: NDArray[np.int64]
    """Where each pack's begin in `_order`."""

    @classmethod
    def of(cls, objects: dict[str, pa.Table]) -> _Placed:
        """In one piece, so that rows can be taken without copying them all."""
        rows = joined(objects.values()).combine_chunks()
        ends = np.cumsum([len(each) for each in objects.values()], dtype=np.int64)
        slices = {
            name: rows.slice(int(end) - len(each), len(each))
            for (name, each), end in zip(objects.items(), ends, strict=True)
        }
        packs, codes = np.unique(table.as_array(rows["pack"]), return_inverse=True)
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[order], np.arange(len(packs) + 1))
        return cls(rows, slices, np.ones(len(rows), np.bool_), packs, order, bounds)

    def in_pack(self, name: bytes) -> NDArray[np.int64]:
        """The numbers of the rows that place blobs in a pack."""
        found = np.flatnonzero(self._packs == np.frombuffer(name, "V32")[0])
        if not len(found):
            return np.empty(0, np.int64)
        return self._order[self._bounds[found[0]] : self._bounds[found[0] + 1]]

    def compare(self, rows: pa.Table, numbers: NDArray[np.int64]) -> pa.Table:
        """Note which rows are not what the pack says of itself; what it says besides."""
        here, there = _keys(rows), _keys(self.rows.take(numbers))
        self.true[numbers[~np.isin(there, here)]] = False
        return rows.filter(pa.array(~np.isin(here, there)))

    def gone(self, listed: set[bytes]) -> dict[str, frozenset[bytes]]:
        """The objects with rows that are not true, and the packs that these rows name."""
        for number, name in enumerate(self._packs):
            if name.tobytes() not in listed:
                self.true[self._order[self._bounds[number] : self._bounds[number + 1]]] = False
        found = {}
        for name, rows in self.objects.items():
            false = rows.filter(pa.array(~self.true_of(name)))
            if len(false):
                found[name] = frozenset(false["pack"].unique().to_pylist())
        return found

    def true_of(self, name: str) -> NDArray[np.bool_]:
        """For each row of an object whether it is true."""
        start = 0
        for other, rows in self.objects.items():
            if other == name:
                return self.true[start : start + len(rows)]
            start += len(rows)
        raise KeyError(name)


def _keys(rows: pa.Table) -> NDArray[np.void]:
    """Each row as one value."""
    kind = np.dtype([("blob", "V32"), *((name, "<i8") for name in _INTEGERS)])
    made = np.zeros(len(rows), kind)
    made["blob"] = table.as_array(rows["blob"])
    for name in _INTEGERS:
        made[name] = rows[name].to_numpy()
    return made.view(f"V{kind.itemsize}")

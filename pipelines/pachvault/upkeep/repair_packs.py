"""What packs and index hold, as far as it reads: every place of every blob, and which of them are good.

Nothing is decided here, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachvault.errors import DamageError
from pachvault.format import index, layout, pack
from pachvault.format.ids import digest
from pachvault.progress import Progress
from pachvault.upkeep.verify import Level
from pachvault.vault.blobs import BlobIndex
from pachvault.vault.packs import read_toc
from pachvault.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class Packs:
    """The packs and the index of a vault as they were found."""

    whole: BlobIndex
    """Places in packs without fault."""
    hurt: BlobIndex
    """Places that read, in packs that are damaged."""
    damaged: dict[str, str]
    """Packs by name, with what is wrong."""
    contents: pa.Table
    """What the packs say of themselves: the index as it should be (schema index.SCHEMA)."""
    indexed: dict[str, pa.Table]
    """The index objects that read."""
    unreadable: dict[str, str]
    """The index objects that do not, with what is wrong."""
    gone: dict[str, frozenset[bytes]]
    """The index objects with rows that no pack bears out, and the missing packs that they name."""

    def unindexed(self, kept: list[str]) -> pa.Table:
        """The rows that these index objects lack."""
        have = pa.concat_tables([index.SCHEMA.empty_table(), *(self.indexed[name] for name in kept)])
        return _without(self.contents, have)

    def placed_in(self, pack: bytes) -> set[bytes]:
        """The blobs that the index places in a pack."""
        found: set[bytes] = set()
        for rows in self.indexed.values():
            found.update(rows.filter(pc.equal(rows["pack"], pack))["blob"].to_pylist())
        return found


def survey(vault: Vault, level: Level, progress: Progress) -> Packs:
    """Read the index, then the packs: their TOCs, from level packs on their frames, at data every blob."""
    # in this order: a pack is durable before an index object names it
    indexed, unreadable = _index_objects(vault)
    known = pa.concat_tables([index.SCHEMA.empty_table(), *indexed.values()])
    infos = [info for info in vault.store.list(layout.PACKS) if layout.named_digest(info.name)]
    progress.start("repair: packs", sum(info.size for info in infos))
    whole, hurt, contents = ([index.SCHEMA.empty_table()] for _ in range(3))
    damaged: dict[str, str] = {}
    closed: list[bytes] = []
    for info in infos:
        name = layout.named_digest(info.name) or b""
        try:
            toc = read_toc(vault, info.name, info.size)
        except DamageError as error:
            damaged[info.name] = error.what
            closed.append(name)
            hurt.append(_salvaged(vault, info.name, known.filter(pc.equal(known["pack"], name))))
            progress.add(info.size, 1)
            continue
        rows = index.rows_of(name, toc)
        contents.append(rows)
        bad = _bad_blobs(vault, info.name, toc, level)
        if bad:
            damaged[info.name] = f"{len(bad)} of its {len(toc.blobs)} blobs do not read"
            good = np.setdiff1d(np.arange(len(toc.blobs)), np.array(bad, np.int64))
            hurt.append(rows.take(good))
        else:
            whole.append(rows)
        progress.add(info.size, 1)
    all_contents = pa.concat_tables(contents)
    listed = {layout.named_digest(info.name) or b"" for info in infos}
    return Packs(
        whole=BlobIndex(pa.concat_tables(whole)),
        hurt=BlobIndex(pa.concat_tables(hurt)),
        damaged=damaged,
        contents=all_contents,
        indexed=indexed,
        unreadable=unreadable,
        gone=_gone(indexed, all_contents, closed, listed),
    )


def _index_objects(vault: Vault) -> tuple[dict[str, pa.Table], dict[str, str]]:
    found: dict[str, pa.Table] = {}
    unreadable: dict[str, str] = {}
    for info in vault.store.list(layout.INDEX):
        try:
            found[info.name] = index.decode(vault.read(info.name))
        except DamageError as error:
            if vault.store.stat(info.name) is not None:  # else prune has replaced it since the listing
                unreadable[info.name] = error.what
    return found, unreadable


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


def _salvaged(vault: Vault, name: str, rows: pa.Table) -> pa.Table:
    """Of what the index places in a pack without a TOC, what reads nevertheless."""
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


def _gone(
    indexed: dict[str, pa.Table], contents: pa.Table, closed: list[bytes], listed: set[bytes]
) -> dict[str, frozenset[bytes]]:
    """Index objects with rows that are not so. Of a pack that is there without a TOC nothing is known."""
    found: dict[str, frozenset[bytes]] = {}
    unknown = pa.array(closed, index.DIGEST)
    for name, rows in indexed.items():
        wrong = _without(rows, contents)
        wrong = wrong.filter(pc.invert(pc.is_in(wrong["pack"], unknown)))
        if wrong.num_rows:
            packs = set(pc.unique(wrong["pack"]).to_pylist())
            found[name] = frozenset(packs - listed)
    return found


def _without(rows: pa.Table, others: pa.Table) -> pa.Table:
    """The rows that are not among the others, in the order of the blobs."""
    keys = index.SCHEMA.names
    left = rows.join(others, keys=keys, join_type="left anti").cast(index.SCHEMA)
    return left.sort_by([("blob", "ascending"), ("pack", "ascending"), ("frame_offset", "ascending")])

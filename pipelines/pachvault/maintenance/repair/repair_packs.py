"""What packs and index contain, as far as they can be read: every place of every blob, and which are intact.

This module changes nothing and decides nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Set
from dataclasses import dataclass

import numpy as np

from pachvault.errors import DamageError
from pachvault.format import layout, pack
from pachvault.format.digests import Digests, Rows, SortedDigests
from pachvault.format.ids import digest
from pachvault.format.pack import split_digests
from pachvault.maintenance.verify.verify import Level
from pachvault.runtime.progress import Progress
from pachvault.store.store import ObjectInfo
from pachvault.vault import pending_deletes
from pachvault.vault.index.blob_places import BlobPlaces
from pachvault.vault.index.index_rows import NUMBERS, IndexRows, RowsByPack, differing
from pachvault.vault.packs import blobs_by_frame, damaged_blobs, read_any_toc, read_toc
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PackSurvey:
    """The state of the packs and the index of a vault."""

    intact: SortedDigests
    """The blobs in intact packs."""
    damaged_places: BlobPlaces
    """Places that can be read, in packs that are damaged or pending deletes."""
    damaged: dict[str, str]
    """Packs by name, with what is wrong."""
    unplaced: IndexRows
    """Rows that no index object has, by the packs' own tables of contents."""
    false_rows: dict[str, frozenset[bytes]]
    """Index objects with rows that contradict the packs, and the missing packs that these rows name."""
    contradicted: frozenset[str]
    """Index objects with rows that contradict a pack that exists."""
    unreadable: dict[str, str]
    """The index objects that cannot be read, with what is wrong."""
    _placed: PlacedBlobs

    def rows_without(self, replaced: Set[str]) -> IndexRows:
        """What the index lacks if these objects are removed from it."""
        kept = [self._placed.confirmed_of(name) for name in sorted(replaced) if name in self.false_rows]
        return IndexRows.joined([self.unplaced, *kept])

    def placed_in(self, pack: bytes) -> set[bytes]:
        """The blobs that the index places in a pack."""
        return set(split_digests(self._placed.rows.digests.take(self._placed.by_pack.rows(pack))))


def survey(vault: Vault, level: Level, progress: Progress) -> PackSurvey:
    """Read the index, then the packs: their TOCs, from level packs on their frames, at data every blob."""
    # in this order: a pack is durable before an index object names it
    placed, unreadable = _index_objects(vault)
    infos = list(vault.objects(layout.PACKS))
    progress.start("repair: packs", sum(info.size for info in infos))
    intact: list[Digests] = []
    damaged_rows: list[IndexRows] = []
    unplaced: list[IndexRows] = []
    damaged: dict[str, str] = {}
    to_be_deleted = pending_deletes.for_writing(vault).pending_deletes
    for info in infos:
        name = layout.named_digest(info.name) or b""
        numbers = placed.by_pack.rows(name)
        try:
            toc = read_toc(vault, info.name, info.size)
        except DamageError as error:
            damaged[info.name] = error.what
            damaged_rows.append(_salvaged(vault, info, name, placed.rows.take(numbers)))
        else:
            rows = IndexRows.of_toc(name, toc)
            unplaced += placed.compare(rows, numbers)
            bad = _bad_blobs(vault, info.name, toc, level)
            if bad:
                damaged[info.name] = f"{len(bad)} of its {len(toc.blobs)} blobs cannot be read"
                # intact frames of a damaged pack are worth copying: damage is mostly local
                damaged_rows.append(rows.take(np.setdiff1d(np.arange(len(rows)), np.array(bad, np.int64))))
            elif info.name in to_be_deleted:  # what is needed of it is copied, unless another pack has it
                damaged_rows.append(rows)
            else:
                intact.append(rows.digests)
        progress.add(info.size, 1)
    listed = {layout.named_digest(info.name) or b"" for info in infos}
    false_rows = placed.false_rows(listed)
    return PackSurvey(
        intact=SortedDigests.of(intact),
        damaged_places=BlobPlaces(IndexRows.joined(damaged_rows)),
        damaged=damaged,
        unplaced=IndexRows.joined(unplaced),
        false_rows={name: packs - listed for name, packs in false_rows.items()},
        contradicted=frozenset(name for name, packs in false_rows.items() if packs & listed),
        unreadable=unreadable,
        _placed=placed,
    )


def _index_objects(vault: Vault) -> tuple[PlacedBlobs, dict[str, str]]:
    readable: dict[str, IndexRows] = {}
    unreadable: dict[str, str] = {}
    for info in vault.objects(layout.INDEX):
        try:
            readable[info.name] = IndexRows.read(vault.read(info.name))
        except DamageError as error:
            if vault.store.stat(info.name) is not None:  # else prune has replaced it since the listing
                unreadable[info.name] = error.what
    return PlacedBlobs(readable), unreadable


def _bad_blobs(vault: Vault, name: str, toc: pack.Toc, level: Level) -> list[int]:
    """The rows of a table of contents whose blobs cannot be read."""
    bad: list[int] = []
    for frame, rows in blobs_by_frame(toc) if level is not Level.STRUCTURE else ():
        stored = vault.store.get_range(name, int(frame["offset"]), int(frame["stored"]))
        try:
            is_intact = pack.frame_is_intact(stored, int(frame["checksum"]))
            if is_intact and level is Level.DATA:
                data = pack.open_frame(stored, int(frame["raw"]), int(frame["codec"]))
                bad += damaged_blobs(toc, rows, data)
        except DamageError:
            is_intact = False
        if not is_intact:
            bad += rows.tolist()
    return bad


def _salvaged(vault: Vault, info: ObjectInfo, pack_id: bytes, rows: IndexRows) -> IndexRows:
    """The blobs that can be read from a damaged pack, or from an object with a wrong name.

    Offsets come from the index, and from the TOC if the object is a different pack.
    """
    try:
        toc = read_any_toc(vault, info.name, info.size)[1]
        rows = IndexRows.joined([rows, IndexRows.of_toc(pack_id, toc)])
    except DamageError as error:
        _log.info("only the index records what is in a damaged pack: %s", error)
    # index and TOC may both name a frame: side by side it is decoded once
    rows = rows.take(np.argsort(rows.integers["frame_offset"], kind="stable"))
    readable: list[int] = []
    open_frame, data = -1, b""
    columns = (rows.integers[name].tolist() for name in NUMBERS)
    for number, (blob, frame, stored, raw, codec, offset, size) in enumerate(
        zip(split_digests(rows.digests), *columns, strict=True)
    ):
        if frame != open_frame:
            open_frame = frame
            try:
                data = pack.open_frame(vault.store.get_range(info.name, frame, stored), raw, codec)
            except DamageError:
                data = b""
        # the digest is the only proof: neither index nor TOC of a damaged pack can be trusted
        if digest(data[offset : offset + size]) == blob:
            readable.append(number)
    return rows.take(np.array(readable, np.int64))


class PlacedBlobs:
    """The rows of all index objects, and which of them the packs confirm."""

    def __init__(self, objects: dict[str, IndexRows]) -> None:
        """Empties `objects` meanwhile: both at once would be twice the memory."""
        ends = np.cumsum([len(rows) for rows in objects.values()], dtype=np.int64).tolist()
        starts = [0, *ends[:-1]]
        self._slices = {name: slice(*span) for name, *span in zip(objects, starts, ends, strict=False)}
        self.rows = IndexRows.joined(objects.pop(name) for name in list(objects))
        self.by_pack = RowsByPack(self.rows)
        self._is_confirmed = np.ones(len(self.rows), bool)

    def compare(self, rows: IndexRows, numbers: Rows) -> Iterator[IndexRows]:
        """Mark the rows that the pack's TOC contradicts. Yields the TOC's rows that the index lacks."""
        contradicted, unindexed = differing(self.rows, numbers, rows)
        self._is_confirmed[contradicted] = False
        if len(unindexed):
            yield rows.take(unindexed)

    def false_rows(self, listed: set[bytes]) -> dict[str, frozenset[bytes]]:
        """The objects with rows that no pack confirms, and the packs that these rows name."""
        for name in self.by_pack.codes.keys() - listed:
            self._is_confirmed[self.by_pack.rows(name)] = False
        packs_by_object = {}
        for name, rows in self._slices.items():
            codes = self.rows.pack_codes[rows][~self._is_confirmed[rows]]
            if len(codes):
                packs_by_object[name] = frozenset(split_digests(self.rows.packs.take(np.unique(codes))))
        return packs_by_object

    def confirmed_of(self, name: str) -> IndexRows:
        """The rows of an object that the packs confirm."""
        rows = self._slices[name]
        return self.rows.take(np.flatnonzero(self._is_confirmed[rows]) + rows.start)

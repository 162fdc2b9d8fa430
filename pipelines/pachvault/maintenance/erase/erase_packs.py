"""The bytes of erased files: packs without them, an index without those packs, no traces elsewhere."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pachvault.errors import CorruptError, DamageError
from pachvault.format import digests, documents, index, layout, table
from pachvault.format.digests import Digests, SortedDigests
from pachvault.format.maintenance_documents import Audit
from pachvault.maintenance.blob_copy import copy, in_order, read
from pachvault.maintenance.erase.erase_plan import ErasePlan
from pachvault.maintenance.erase.erase_selection import EraseSelection
from pachvault.maintenance.readback import read_back
from pachvault.runtime.progress import Progress
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index, index_objects
from pachvault.vault.index.blob_places import BlobPlaces
from pachvault.vault.index.index_rows import IndexRows, RowsByPack, differing
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.packs import read_any_toc
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_BLOBS_AT_ONCE = 125_000
"""The most blobs that are written before their index object: their places are in memory until then."""
_CACHE_BYTES = 8 * 1024 * 1024
"""Of frames: blobs are read in their order."""
_FILE = re.compile(r"([\w-]+/[\w-]+)@\w+:(/[^;,]*)")


def repack(left: ErasePlan, writing: Vault, progress: Progress) -> int:
    """Copy the kept blobs, remove the old packs from the index, delete them. Returns the bytes written."""
    vault = left.vault
    if not left.packs:
        return 0
    progress.start("erase: packs", left.pack_bytes)
    pa.default_memory_pool().release_unused()  # the memory of the tables
    old_packs = [digest for name in left.packs if (digest := layout.named_digest(name))]
    written_bytes, lost = _copied(left, writing, old_packs)
    affected_file = _file_with(left, lost)
    # a blob that no file needs may be lost; it goes with its pack
    if affected_file:
        raise CorruptError(
            f"{len(lost)} blobs that must be kept cannot be read (for example of {affected_file}): "
            "no pack was deleted",
            where=vault.store.url,
            hint="`pachvault repair`, then erase again; or erase that file, too",
        )
    # format 11.3: the index before the packs, so that it never names one that is gone
    _remove_from_index(vault, writing, old_packs)
    for name in left.packs:
        vault.delete(name)
    return written_bytes


def _copied(left: ErasePlan, writing: Vault, packs: list[bytes]) -> tuple[int, list[bytes]]:
    """Write the kept blobs that no other pack has intact to new packs, and read these back.

    Returns the bytes of the new packs, and the blobs that cannot be read.
    """
    places = _places(left.vault, packs)
    old_packs = frozenset(packs)
    is_old = np.array([name.tobytes() in old_packs for name in places.packs], bool)
    stay = _staying(places, is_old, SortedDigests(left.gone))
    others = blob_index.usable_rows(writing, places.take(np.flatnonzero(~is_old[places.pack_codes])))
    is_elsewhere = SortedDigests.of([others.digests]).has(stay)
    if is_elsewhere.any():
        elsewhere = BlobPlaces(others)
        copies = read(BlobReader(writing, elsewhere, _CACHE_BYTES), in_order(elsewhere, stay[is_elsewhere]))
        # the index only says where a blob should be: a copy elsewhere counts once its digest was checked
        damaged = digests.of(blob for blob, content in copies if content is None)
        stay = digests.joined([stay[~is_elsewhere], damaged])
    del others
    reader = BlobReader(left.vault, BlobPlaces(places), _CACHE_BYTES)
    written_bytes, lost = 0, []
    for first in range(0, len(stay), _BLOBS_AT_ONCE):
        with PackWriter(writing) as writer:
            lost += copy(reader, writer, stay[first : first + _BLOBS_AT_ONCE])
            written = writer.finish()
        written_bytes += sum(pack.size for pack in writer.packs)
        del writer  # it holds the digests of all blobs that it wrote
        read_back(left.vault, written)
    return written_bytes, lost


def _places(vault: Vault, packs: list[bytes]) -> IndexRows:
    """The rows of the index, and those that only the packs' own TOCs have.

    A lost index object therefore loses no blob of a pack.
    """
    placed = blob_index.all_rows(vault)
    by_pack = RowsByPack(placed)
    besides = []
    for pack in packs:
        path = layout.pack_path(pack)
        info = vault.store.stat(path)
        try:
            in_toc = IndexRows.of_toc(pack, read_any_toc(vault, path, info.size if info else 0)[1])
            rows = differing(placed, by_pack.rows(pack), in_toc)[1]
            if len(rows):
                besides.append(in_toc.take(rows))
        except DamageError as error:
            _log.warning("only the index records what is in a damaged pack: %s", error)
    return IndexRows.joined([placed, *besides]) if besides else placed


def _staying(places: IndexRows, is_old: NDArray[np.bool_], gone: SortedDigests) -> Digests:
    """The blobs that are kept, each once, in the order of the packs, so that a frame is decoded once."""
    rows = np.flatnonzero(is_old[places.pack_codes])
    rows = rows[np.lexsort((places.integers["frame_offset"][rows], places.pack_codes[rows]))]
    held = places.digests.take(rows)
    del rows
    by_blob = digests.order(held)
    is_first = np.zeros(len(held), bool)
    is_first[by_blob[digests.is_new(held.take(by_blob))]] = True
    return held[is_first & ~gone.has(held)]


def _file_with(left: ErasePlan, lost: list[bytes]) -> str:
    """A file that needs any of the blobs; empty where none does."""
    for name in left.file_tables if lost else ():
        for rows in left.vault.file_batches(name):
            files = table.files_with(rows, lost)
            if files:
                return files[0]
    return ""


def _remove_from_index(vault: Vault, writing: Vault, packs: list[bytes]) -> None:
    """Rewrite the index objects that name these packs, without the packs' rows; delete the old ones."""
    removed = frozenset(packs)
    packs_by_object = blob_index.read_each(vault, lambda _, data: index.packs_of(data)[0])
    objects = [name for name, named in packs_by_object.items() if removed.intersection(named)]
    rows = IndexRows.joined(IndexRows.read(vault.read(name)).without(packs) for name in objects)
    index_objects.write(replace(writing, pending_deletes=writing.pending_deletes | set(objects)), rows)
    for name in objects:
        vault.delete(name)


def drop_traces(vault: Vault, selection: EraseSelection) -> None:
    """Delete advisory objects that may name erased files: receipts of dead runs, and audits."""
    # format 11.4: receipts name packs and tables that are gone by now, and tables list the erased paths
    for info in vault.objects(layout.RUNS, layout.Kind.RECEIPT):
        vault.delete(info.name)
    for info in vault.objects(layout.AUDITS):
        try:
            audit = documents.decode(Audit, vault.read(info.name))
        except DamageError as error:
            _log.warning("skipped a damaged audit, it may name erased files: %s", error)
            continue
        texts = [f"{audited.name} {audited.message}" for audited in audit.objects]
        if any(selection.mentions(repo, path) for text in texts for repo, path in _FILE.findall(text)):
            vault.delete(info.name)

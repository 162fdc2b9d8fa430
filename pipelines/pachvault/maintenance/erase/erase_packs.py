"""The bytes of what was erased: packs without them, an index without those packs, no traces elsewhere."""

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
from pachvault.vault import blob_index, index_objects
from pachvault.vault.blob_places import BlobPlaces
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index_rows import IndexRows, RowsByPack, differing
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.packs import read_any_toc
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_BLOBS_AT_ONCE = 125_000
"""So many are written before their index is: what is known of them is in memory until then."""
_CACHE_BYTES = 8 * 1024 * 1024
"""Of frames: blobs are read in their order."""
_FILE = re.compile(r"([\w-]+/[\w-]+)@\w+:(/[^;,]*)")


def repack(left: ErasePlan, writing: Vault, progress: Progress) -> int:
    """Put what stays of the packs elsewhere, take the packs out of the index, delete them; bytes written."""
    vault = left.vault
    if not left.packs:
        return 0
    progress.start("erase: packs", left.pack_bytes)
    pa.default_memory_pool().release_unused()  # what the tables took
    bad = [digest for name in left.packs if (digest := layout.named_digest(name))]
    made, lost = _moved(left, writing, bad)
    needed = _needed(left, lost)
    if needed:
        raise CorruptError(
            f"{len(lost)} blobs that stay cannot be read, those of {needed} for one: no pack was deleted",
            where=vault.store.url,
            hint="`pachvault repair`, then erase again; or erase that file, too",
        )
    _out_of_index(vault, writing, bad)
    for name in left.packs:
        vault.delete(name)
    return made


def _moved(left: ErasePlan, writing: Vault, packs: list[bytes]) -> tuple[int, list[bytes]]:
    """Write what stays of packs, and has no other place that reads, to new ones, and read these back.

    The bytes of the new packs, and the blobs that cannot be read.
    """
    places = _places(left.vault, packs)
    doomed = frozenset(packs)
    is_doomed = np.array([name.tobytes() in doomed for name in places.packs], bool)
    stay = _staying(places, is_doomed, SortedDigests(left.gone))
    others = blob_index.usable_rows(writing, places.take(np.flatnonzero(~is_doomed[places.pack_codes])))
    is_there = SortedDigests.of([others.digests]).has(stay)
    if is_there.any():
        elsewhere = BlobPlaces(others)
        found = read(BlobReader(writing, elsewhere, _CACHE_BYTES), in_order(elsewhere, stay[is_there]))
        bad = digests.of(blob for blob, content in found if content is None)
        stay = digests.joined([stay[~is_there], bad])
    del others
    reader = BlobReader(left.vault, BlobPlaces(places), _CACHE_BYTES)
    made, lost = 0, []
    for first in range(0, len(stay), _BLOBS_AT_ONCE):
        with PackWriter(writing) as writer:
            lost += copy(reader, writer, stay[first : first + _BLOBS_AT_ONCE])
            written = writer.finish()
        made += sum(each.size for each in writer.packs)
        del writer  # it knows all blobs that it wrote
        read_back(left.vault, written)
    return made, lost


def _places(vault: Vault, packs: list[bytes]) -> IndexRows:
    """The index, and what packs hold besides by their own tables of contents.

    So nothing is lost with a pack because an index object was.
    """
    placed = blob_index.all_rows(vault)
    by_pack = RowsByPack(placed)
    besides = []
    for pack in packs:
        info = vault.store.stat(layout.pack_path(pack))
        try:
            said = IndexRows.of_toc(
                pack, read_any_toc(vault, layout.pack_path(pack), info.size if info else 0)[1]
            )
            rows = differing(placed, by_pack.rows(pack), said)[1]
            if len(rows):
                besides.append(said.take(rows))
        except DamageError as error:
            _log.warning("only the index records what is in a damaged pack: %s", error)
    return IndexRows.joined([placed, *besides]) if besides else placed


def _staying(places: IndexRows, is_doomed: NDArray[np.bool_], gone: SortedDigests) -> Digests:
    """The blobs that stay of packs, each once, as they lie there, so that a frame is decoded once."""
    rows = np.flatnonzero(is_doomed[places.pack_codes])
    rows = rows[np.lexsort((places.integers["frame_offset"][rows], places.pack_codes[rows]))]
    held = places.digests.take(rows)
    del rows
    by_blob = digests.order(held)
    is_first = np.zeros(len(held), bool)
    is_first[by_blob[digests.is_new(held.take(by_blob))]] = True
    return held[is_first & ~gone.has(held)]


def _needed(left: ErasePlan, lost: list[bytes]) -> str:
    """A file that needs any of the blobs; empty where none does."""
    for name in left.file_tables if lost else ():
        for rows in left.vault.file_batches(name):
            files = table.files_with(rows, lost)
            if files:
                return files[0]
    return ""


def _out_of_index(vault: Vault, writing: Vault, packs: list[bytes]) -> None:
    """Write what index objects that name the packs say besides anew, and delete them."""
    going = frozenset(packs)
    named = blob_index.read_each(vault, lambda _, data: index.packs_of(data)[0])
    objects = [name for name, found in named.items() if going.intersection(found)]
    rows = IndexRows.joined(IndexRows.read(vault.read(name)).without(packs) for name in objects)
    index_objects.write(replace(writing, pending_deletes=writing.pending_deletes | set(objects)), rows)
    for name in objects:
        vault.delete(name)


def drop_traces(vault: Vault, selection: EraseSelection) -> None:
    """Delete what is only advice and may name what is gone: receipts of dead runs, audits of such files."""
    for info in vault.objects(layout.RUNS, layout.Kind.RECEIPT):
        vault.delete(info.name)
    for info in vault.objects(layout.AUDITS):
        try:
            audit = documents.decode(Audit, vault.read(info.name))
        except DamageError as error:
            _log.warning("skipped a damaged audit, it may name erased files: %s", error)
            continue
        texts = [f"{each.name} {each.message}" for each in audit.objects]
        if any(selection.mentions(repo, path) for text in texts for repo, path in _FILE.findall(text)):
            vault.delete(info.name)

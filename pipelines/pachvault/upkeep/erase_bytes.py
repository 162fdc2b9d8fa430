"""The bytes of what was erased: packs without them, an index without those packs, no traces elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from pachvault.errors import DamageError
from pachvault.format import digests, documents, index, layout, table
from pachvault.format.digests import Digests, Sorted
from pachvault.format.documents import Audit
from pachvault.format.pack import split_digests
from pachvault.progress import Progress
from pachvault.upkeep import index_objects
from pachvault.upkeep.copy import copy, in_order, read
from pachvault.upkeep.erase_plan import ErasePlan
from pachvault.upkeep.erase_selection import Selection
from pachvault.upkeep.readback import read_back
from pachvault.vault import blobs
from pachvault.vault.blobs import BlobIndex
from pachvault.vault.columns import ByPack, Columns, differing
from pachvault.vault.packs import any_toc
from pachvault.vault.reader import BlobReader
from pachvault.vault.vault import Vault
from pachvault.vault.writer import PackWriter

_FILE = re.compile(r"([\w-]+/[\w-]+)@\w+:(/[^;,]*)")


def repack(left: ErasePlan, writing: Vault, progress: Progress) -> int:
    """Put what stays of the packs elsewhere, take the packs out of the index, delete them; bytes written."""
    vault = left.vault
    if not left.packs:
        return 0
    progress.start("erase: packs", left.pack_bytes)
    bad = [digest for name in left.packs if (digest := layout.named_digest(name))]
    going, others = _places(vault, bad)
    # the tables of contents count, too: nothing is lost with a pack because an index object was
    stay = _staying(going, Sorted(left.gone))
    with PackWriter(writing) as writer:
        lost = copy(BlobReader(vault, BlobIndex(going)), writer, _only_there(writing, others, stay))
        needed = _needed(left, lost)
        if needed:
            raise DamageError(
                f"{len(lost)} blobs that stay cannot be read, those of {needed} for one: no pack was deleted",
                where=vault.store.url,
                hint="`pachvault repair`, then erase again; or erase that file, too",
            )
        written = writer.finish()
    del going, others, stay  # a million rows are more than a hundred megabytes
    read_back(vault, written)
    _out_of_index(vault, writing, bad)
    for name in left.packs:
        vault.store.delete(name)
    return sum(each.size for each in writer.packs)


def _places(vault: Vault, packs: list[bytes]) -> tuple[Columns, Columns]:
    """What packs hold, by the index and by their own tables of contents; and the index without them."""
    placed = blobs.columns(vault)
    by_pack = ByPack(placed)
    found = [placed.take(np.concatenate([by_pack.rows(pack) for pack in packs]))]
    for pack in packs:
        info = vault.store.stat(layout.pack_path(pack))
        with suppress(DamageError):  # what the index says is all that is known then
            said = Columns.of_toc(pack, any_toc(vault, layout.pack_path(pack), info.size if info else 0)[1])
            besides = differing(placed, by_pack.rows(pack), said)[1]
            if len(besides):
                found.append(said.take(besides))
    return Columns.joined(found), placed.without(packs)


def _staying(going: Columns, gone: Sorted) -> Digests:
    """The blobs that stay, each once, as they lie in the packs, so that a frame is decoded once."""
    order = np.lexsort((going.integers["frame_offset"], going.pack_codes))
    held = going.digests.take(order)
    first = np.zeros(len(held), bool)
    by_blob = digests.order(held)
    first[by_blob[digests.is_new(held.take(by_blob))]] = True
    return held[first & ~gone.has(held)]


def _only_there(writing: Vault, others: Columns, stay: Digests) -> Iterator[bytes]:
    """Of the blobs that stay those that are in no other pack, one that is to stay itself, and read there."""
    usable = blobs.usable(writing, others)
    is_there = Sorted.of([usable.digests]).has(stay)
    yield from digests.each(stay[~is_there])
    elsewhere = split_digests(stay[is_there])
    if elsewhere:
        places = BlobIndex(usable)
        for blob, content in read(BlobReader(writing, places), in_order(places, elsewhere)):
            if content is None:
                yield blob


def _needed(left: ErasePlan, lost: list[bytes]) -> str:
    """A file that needs any of the blobs; empty where none does."""
    for name in left.file_tables if lost else ():
        for rows in left.vault.file_batches(name):
            files = table.files_with(rows, lost)
            if files:
                return files[0]
    return ""


def _out_of_index(vault: Vault, writing: Vault, packs: list[bytes]) -> None:
    """Write the index objects that name the packs anew without them, as one, and delete them."""
    going = frozenset(packs)
    named = blobs.each(vault, lambda name: index.packs_of(vault.read(name))[0])
    objects = [name for name, found in named.items() if going.intersection(found)]
    rows = Columns.joined(Columns.read(vault.read(name)).without(packs) for name in objects)
    index_objects.write(replace(writing, avoid=writing.avoid | set(objects)), rows)
    for name in objects:
        vault.store.delete(name)


def drop_traces(vault: Vault, selection: Selection) -> None:
    """Delete what is only advice and may name what is gone: receipts of dead runs, audits of such files."""
    for info in vault.store.list(layout.RUNS):
        if info.name.startswith(f"{layout.RUNS}/share-"):
            vault.store.delete(info.name)
    for info in vault.store.list(layout.AUDITS):
        try:
            audit = documents.decode(Audit, vault.read(info.name))
        except DamageError:
            continue
        texts = [f"{each.name} {each.message}" for each in audit.objects]
        if any(selection.mentions(repo, path) for text in texts for repo, path in _FILE.findall(text)):
            vault.store.delete(info.name)

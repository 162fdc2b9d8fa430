"""The bytes of what was erased: packs without them, an index without those packs, no traces elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachvault.errors import DamageError
from pachvault.format import documents, index, layout, table
from pachvault.format.documents import Audit
from pachvault.progress import Progress
from pachvault.upkeep.copy import copy
from pachvault.upkeep.erase_plan import ErasePlan
from pachvault.upkeep.erase_selection import Selection
from pachvault.upkeep.readback import read_back
from pachvault.vault import blobs
from pachvault.vault.blobs import BlobIndex
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
    going = BlobIndex(_rows_of(vault, left.packs))
    reader = BlobReader(vault, BlobIndex(blobs.without(placed(vault), bad)))
    with PackWriter(writing) as writer:
        # the tables of contents count, too: nothing is lost with a pack because an index object was
        stay = [blob for digest in bad for blob in _in_order(going, digest, left)]
        lost = copy(BlobReader(vault, going), writer, _only_there(writing, left, stay, reader))
        needed = _needed(left, lost)
        if needed:
            raise DamageError(
                f"{len(lost)} blobs that stay cannot be read, those of {needed} for one: no pack was deleted",
                where=vault.store.url,
                hint="`pachvault repair`, then erase again; or erase that file, too",
            )
        written = writer.finish()
    read_back(vault, written)
    _out_of_index(vault, writing, bad)
    for name in left.packs:
        vault.store.delete(name)
    return sum(each.size for each in writer.packs)


def placed(vault: Vault) -> pa.Table:
    return blobs.joined(blobs.objects(vault).values())


def _rows_of(vault: Vault, packs: list[str]) -> pa.Table:
    """What packs hold, by the index and by their own tables of contents."""
    digests = {name: digest for name in packs if (digest := layout.named_digest(name))}
    rows = placed(vault)
    found = [rows.filter(pc.is_in(rows["pack"], pa.array(list(digests.values()), index.DIGEST)))]
    for name, digest in digests.items():
        info = vault.store.stat(name)
        with suppress(DamageError):  # what the index says is all that is known then
            found.append(index.rows_of(digest, any_toc(vault, name, info.size if info else 0)[1]))
    return pa.concat_tables(found)


def _in_order(places: BlobIndex, digest: bytes, left: ErasePlan) -> list[bytes]:
    """What stays of a pack, as it lies there."""
    held = list(places.blobs_in(digest))
    is_gone = np.isin(np.frombuffer(b"".join(held), "V32"), left.gone)
    stay = [blob for blob, goes in zip(held, is_gone, strict=True) if not goes]
    return _by_place(places, stay)


def _by_place(places: BlobIndex, wanted: list[bytes]) -> list[bytes]:
    """Blobs as they lie in the packs, so that a frame is decoded once."""
    order = places.place_order()[places.rows(wanted)] if wanted else np.empty(0, np.int64)
    return [wanted[number] for number in np.argsort(order, kind="stable")]


def _only_there(writing: Vault, left: ErasePlan, stay: list[bytes], reader: BlobReader) -> Iterator[bytes]:
    """Of the blobs that stay those that are in no other pack, one that is to stay itself, and read there."""
    has = blobs.load(replace(writing, avoid=writing.avoid | set(left.packs))).has(stay)
    yield from dict.fromkeys(blob for blob, is_there in zip(stay, has, strict=True) if not is_there)
    elsewhere = list(dict.fromkeys(blob for blob, is_there in zip(stay, has, strict=True) if is_there))
    for blob in _by_place(reader.index, elsewhere):
        try:
            reader.read(blob)
        except DamageError:
            yield blob


def _needed(left: ErasePlan, lost: list[bytes]) -> str:
    """A file that needs any of the blobs; empty where none does."""
    for name in left.file_tables if lost else ():
        files = table.files_with(left.vault.file_table(name), lost)
        if files:
            return files[0]
    return ""


def _out_of_index(vault: Vault, writing: Vault, packs: list[bytes]) -> None:
    """Write the index objects that name the packs anew without them, as one, and delete them."""
    objects = {
        name: rows
        for name, rows in blobs.objects(vault).items()
        if len(blobs.without(rows, packs)) < len(rows)
    }
    rows = index.in_order(blobs.without(blobs.joined(objects.values()), packs))
    writing = replace(writing, avoid=writing.avoid | objects.keys())
    if len(rows):
        vault.read(layout.index_path(writing.put_index(index.encode(rows)).digest))
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

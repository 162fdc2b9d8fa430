"""Reading the index objects of a vault into the index view, or into plain rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pachvault.errors import CorruptError, DamageError, PachvaultError
from pachvault.format import index, layout
from pachvault.runtime import allocator
from pachvault.store.store import ObjectInfo, object_url
from pachvault.vault import packs
from pachvault.vault.index.blob_places import BlobPlaces
from pachvault.vault.index.index_rows import NUMBERS, IndexRows, at_most
from pachvault.vault.vault import Vault

Result = TypeVar("Result")

_REBUILT = "`pachvault repair` rebuilds the index from the packs; nothing is lost"
_LISTINGS = 5
_READS_AT_ONCE = 2


def load_places(vault: Vault) -> BlobPlaces:
    """The place of every blob, without packs that are missing, incomplete or pending deletes.

    A blob that only such packs have counts as absent, so a run that meets it stores it again. Every index
    object is verified against its name. A pack that no readable index object names is read by its own table
    of contents: so a lost index object costs time, not data.
    """
    return BlobPlaces(usable_rows(vault, _placed(vault, NUMBERS)))


def load_digests(vault: Vault) -> BlobPlaces:
    """As `load_places`, but only whether a blob has a place, not where: this takes half the memory."""
    return BlobPlaces(usable_rows(vault, _placed(vault, ())))


def _placed(vault: Vault, names: Collection[str]) -> IndexRows:
    rows = all_rows(vault, names, is_lenient=True)
    unindexed = _unindexed(vault, rows)
    return IndexRows.joined([rows, *unindexed], names) if unindexed else rows


def unindexed_rows(vault: Vault) -> IndexRows:
    """The blobs of packs that no readable index object names and that are not pending deletes."""
    return IndexRows.joined(_unindexed(vault, all_rows(vault, (), is_lenient=True)))


def _unindexed(vault: Vault, rows: IndexRows) -> list[IndexRows]:
    """The tables of contents of packs without a row; those that are unreadable are left out."""
    # format 6.3
    skipped = {layout.pack_path(name.tobytes()) for name in rows.packs} | vault.pending_deletes
    infos = [info for info in vault.objects(layout.PACKS) if info.name not in skipped]

    def toc_rows(info: ObjectInfo) -> IndexRows | None:
        name = layout.named_digest(info.name)
        try:
            return IndexRows.of_toc(name, packs.read_toc(vault, info.name, info.size)) if name else None
        except DamageError:
            # a restore of other blobs must not fail because of it
            return None  # deleted since it was listed, an aborted write, or damage, which verify reports

    with ThreadPoolExecutor(_READS_AT_ONCE, "toc") as pool:
        return [rows for rows in pool.map(toc_rows, infos) if rows is not None]


def usable_rows(vault: Vault, rows: IndexRows) -> IndexRows:
    """The rows without packs that are missing, incomplete or pending deletes."""
    sizes = {info.name: info.size for info in vault.objects(layout.PACKS)}
    unusable = [
        name
        for name, end in rows.pack_ends()
        # format 11.2: a pack shorter than the index says is an aborted write of an object store
        if sizes.get(layout.pack_path(name), 0) < end or layout.pack_path(name) in vault.pending_deletes
    ]
    return rows.without(unusable) if unusable else rows


def all_rows(vault: Vault, names: Collection[str] = NUMBERS, *, is_lenient: bool = False) -> IndexRows:
    """All rows of the index, those of missing packs too, with the number columns `names`.

    Where `is_lenient`, corrupt index objects are left out; verify reports them.
    """

    def joined(objects: Iterator[tuple[str, bytes]], size: int) -> IndexRows:
        parts = (part for _, data in objects for part in IndexRows.parts(data, names))
        return IndexRows.joined(parts, names, at_most(size))

    with allocator.returning():
        return _read(vault, joined, is_lenient=is_lenient)


def lost_packs(vault: Vault) -> list[str]:
    """Packs that the index names and that are missing or incomplete, though prune did not delete them.

    The vault must be one for writing: its pending deletes are what prune may have deleted.
    """
    ends: dict[str, int] = {}
    ends_by_object = read_each(vault, lambda _, data: index.ends_of(data), is_lenient=True)
    for name, ends_by_pack in ends_by_object.items():
        if name not in vault.pending_deletes:
            for pack, end in ends_by_pack.items():
                path = layout.pack_path(pack)
                ends[path] = max(end, ends.get(path, 0))
    sizes = {info.name: info.size for info in vault.objects(layout.PACKS)}
    return sorted(
        name for name, end in ends.items() if sizes.get(name, 0) < end and name not in vault.pending_deletes
    )


def read_each(
    vault: Vault, read: Callable[[str, bytes], Result], *, is_lenient: bool = False
) -> dict[str, Result]:
    """The result of `read` for the name and bytes of each index object, by name.

    Where prune replaces an index object meanwhile, all are read again. Raises DamageError where one is
    unreadable; where `is_lenient`, corrupt ones are left out.
    """

    def take(objects: Iterator[tuple[str, bytes]], _: int) -> dict[str, Result]:
        return {name: read(name, data) for name, data in objects}

    return _read(vault, take, is_lenient=is_lenient)


def _read(
    vault: Vault, take: Callable[[Iterator[tuple[str, bytes]], int], Result], *, is_lenient: bool
) -> Result:
    """The result of `take` for the names and bytes of all index objects, and their total size in bytes."""
    reading = ""

    def contents(names: list[str]) -> Iterator[tuple[str, bytes]]:
        nonlocal reading
        pending: deque[Future[bytes]] = deque()
        for number, name in enumerate(names):
            while len(pending) < _READS_AT_ONCE and number + len(pending) < len(names):
                pending.append(pool.submit(vault.read, names[number + len(pending)]))
            reading = name
            try:
                data = pending.popleft().result()
            except CorruptError:
                if not is_lenient:
                    raise
            else:
                yield name, data

    with ThreadPoolExecutor(_READS_AT_ONCE, "index") as pool:
        for _ in range(_LISTINGS):
            infos = list(vault.objects(layout.INDEX))
            try:
                return take(contents([info.name for info in infos]), sum(info.size for info in infos))
            except DamageError as error:
                # where all are still there the damage is real; else prune has compacted the index since
                # the listing, and the rows of the missing object are in a new one
                if all(vault.store.stat(info.name) for info in infos):
                    where = error.where or object_url(vault.store.url, reading)
                    what = f"an index object is damaged: {error.what}"
                    raise type(error)(what, where=where, hint=_REBUILT) from error
    raise PachvaultError("the index changes faster than it can be read", where=vault.store.url)

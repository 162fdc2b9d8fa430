"""Reading the index objects of a vault into the index view, or into plain rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pachvault.errors import CorruptError, DamageError, PachvaultError
from pachvault.format import index, layout
from pachvault.runtime import allocator
from pachvault.store.store import ObjectInfo
from pachvault.vault import packs
from pachvault.vault.blob_places import BlobPlaces
from pachvault.vault.index_rows import NUMBERS, IndexRows, at_most
from pachvault.vault.vault import Vault

Taken = TypeVar("Taken")

_REBUILT = "`pachvault repair` rebuilds the index from the packs; nothing is lost"
_LISTINGS = 5
_READS_AT_ONCE = 2


def load_places(vault: Vault) -> BlobPlaces:
    """Where blobs are, without the packs that are missing, cut short, or to be avoided.

    What those held is stored again when it is met again, and is then read from its new place. Every
    index object is checked against its name. Packs that no readable index object is about are asked for
    their own tables of contents: a lost index costs time, not data.
    """
    return BlobPlaces(usable_rows(vault, _placed(vault, NUMBERS)))


def load_digests(vault: Vault) -> BlobPlaces:
    """The same for who only asks whether a blob is there: in half the memory, without places."""
    return BlobPlaces(usable_rows(vault, _placed(vault, ())))


def _placed(vault: Vault, names: Collection[str]) -> IndexRows:
    rows = all_rows(vault, names, is_lenient=True)
    besides = _unindexed(vault, rows)
    return IndexRows.joined([rows, *besides], names) if besides else rows


def unindexed_rows(vault: Vault) -> IndexRows:
    """What the packs hold that no readable index object is about, and that are not to be avoided."""
    return IndexRows.joined(_unindexed(vault, all_rows(vault, (), is_lenient=True)))


def _unindexed(vault: Vault, rows: IndexRows) -> list[IndexRows]:
    """By the tables of contents of packs that have no row; one that does not read says nothing."""
    known = {layout.pack_path(name.tobytes()) for name in rows.packs} | vault.pending_deletes
    infos = [info for info in vault.objects(layout.PACKS) if info.name not in known]

    def said(info: ObjectInfo) -> IndexRows | None:
        name = layout.named_digest(info.name)
        try:
            return IndexRows.of_toc(name, packs.read_toc(vault, info.name, info.size)) if name else None
        except DamageError:
            return None  # deleted since it was listed, an aborted write, or damage that verify names

    with ThreadPoolExecutor(_READS_AT_ONCE, "toc") as pool:
        return [columns for columns in pool.map(said, infos) if columns is not None]


def usable_rows(vault: Vault, rows: IndexRows) -> IndexRows:
    """The rows without the packs that are missing, cut short, or to be avoided."""
    sizes = {info.name: info.size for info in vault.objects(layout.PACKS)}
    bad = [
        name
        for name, end in rows.pack_ends()
        if sizes.get(layout.pack_path(name), 0) < end or layout.pack_path(name) in vault.pending_deletes
    ]
    return rows.without(bad) if bad else rows


def all_rows(vault: Vault, names: Collection[str] = NUMBERS, *, is_lenient: bool = False) -> IndexRows:
    """All that the index says, also of packs that are not there; of its numbers those that are named.

    Where `is_lenient`, corrupt index objects are passed over: verify names them.
    """

    def joined(found: Iterator[tuple[str, bytes]], size: int) -> IndexRows:
        parts = (part for _, data in found for part in IndexRows.parts(data, names))
        return IndexRows.joined(parts, names, at_most(size))

    with allocator.returning():
        return _read(vault, joined, is_lenient=is_lenient)


def lost_packs(vault: Vault) -> list[str]:
    """Packs that the index is about and that are missing or cut short, though nobody deleted them.

    The vault must be one for writing: prune's marks tell what it deleted.
    """
    ends: dict[str, int] = {}
    named = read_each(vault, lambda _, data: index.ends_of(data), is_lenient=True)
    for name, found in named.items():
        if name not in vault.pending_deletes:
            for pack, end in found.items():
                path = layout.pack_path(pack)
                ends[path] = max(end, ends.get(path, 0))
    sizes = {info.name: info.size for info in vault.objects(layout.PACKS)}
    return sorted(
        name for name, end in ends.items() if sizes.get(name, 0) < end and name not in vault.pending_deletes
    )


def read_each(
    vault: Vault, read: Callable[[str, bytes], Taken], *, is_lenient: bool = False
) -> dict[str, Taken]:
    """What `read` makes of each index object's name and bytes. Where prune replaced one it begins again.

    Raises DamageError, with what to do, where one does not read; corrupt ones are passed over where
    `is_lenient`.
    """

    def take(objects: Iterator[tuple[str, bytes]], _: int) -> dict[str, Taken]:
        return {name: read(name, data) for name, data in objects}

    return _read(vault, take, is_lenient=is_lenient)


def _read(
    vault: Vault, take: Callable[[Iterator[tuple[str, bytes]], int], Taken], *, is_lenient: bool
) -> Taken:
    """What `take` makes of the names and bytes of all index objects, and of how many bytes they are."""
    at = ""

    def found(names: list[str]) -> Iterator[tuple[str, bytes]]:
        nonlocal at
        under_way: deque[Future[bytes]] = deque()
        for number, name in enumerate(names):
            while len(under_way) < _READS_AT_ONCE and number + len(under_way) < len(names):
                under_way.append(pool.submit(vault.read, names[number + len(under_way)]))
            at = name
            try:
                data = under_way.popleft().result()
            except CorruptError:
                if not is_lenient:
                    raise
            else:
                yield name, data

    with ThreadPoolExecutor(_READS_AT_ONCE, "index") as pool:
        for _ in range(_LISTINGS):
            infos = list(vault.objects(layout.INDEX))
            try:
                return take(found([info.name for info in infos]), sum(info.size for info in infos))
            except DamageError as error:
                if all(vault.store.stat(info.name) for info in infos):
                    where = error.where or f"{vault.store.url}/{at}"
                    what = f"an index object is damaged: {error.what}"
                    raise type(error)(what, where=where, hint=_REBUILT) from error
    raise PachvaultError("the index changes faster than it can be read", where=vault.store.url)

"""Verify: every reference resolves, every pack has its checksums, every blob its digest.

Findings are values and are all collected; one damage does not hide another. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachvault.errors import DamageError
from pachvault.format import index, layout, pack, table
from pachvault.format.ids import digest
from pachvault.progress import Progress
from pachvault.vault import snapshots
from pachvault.vault.blobs import BlobIndex
from pachvault.vault.vault import Vault

_FILES_NAMED = 20

Answer = TypeVar("Answer")


class Level(StrEnum):
    """How deep to look; each includes those before it."""

    STRUCTURE = "structure"
    PACKS = "packs"
    DATA = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One damage: what it is, which object has it, which blobs and files it hits."""

    kind: str
    object: str
    message: str
    blobs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """project/repo@commit:/path, at most _FILES_NAMED of them."""
    files_count: int = 0


@dataclass(frozen=True, slots=True)
class _Damage:
    """A finding to be, before it is known which files it hits."""

    kind: str
    object: str
    message: str
    blobs: frozenset[bytes] = frozenset()


def verify(vault: Vault, level: Level, progress: Progress) -> list[Finding]:
    """Check a vault; what is damaged, in the order it was found."""
    damages: list[_Damage] = []
    tables: dict[bytes, pa.Table | None] = {}
    names = snapshots.names(vault)
    progress.start("verify: snapshots", 0)
    for name in names:
        damages.extend(_snapshot(vault, name, tables))
    found, places = _index(vault)
    damages.extend(found)
    damages.extend(_blobs_of_tables(places, tables))
    sizes = {info.name: info.size for info in vault.store.list(layout.PACKS)}
    damages.extend(_packs_of_index(places, sizes))
    if level is not Level.STRUCTURE:
        progress.start("verify: packs", sum(sizes.values()))
        for path, size in sizes.items():
            damages.extend(_pack(vault, path, size, places, is_decoded=level is Level.DATA))
            progress.add(size, 1)
    # what several snapshots share is found by each of them
    return [_with_files(damage, tables) for damage in dict.fromkeys(damages)]


def _snapshot(
    vault: Vault, name: snapshots.SnapshotName, tables: dict[bytes, pa.Table | None]
) -> Iterator[_Damage]:
    snapshot, damage = _tried("manifest", name.path, partial(snapshots.load, vault, name))
    if snapshot is None:
        yield from damage
        return
    pipelines = layout.record_path(snapshot.manifest.pipelines)
    yield from _tried("record", pipelines, partial(vault.pipelines_record, snapshot.manifest.pipelines))[1]
    for entry in snapshot.manifest.repos:
        path = layout.record_path(entry.record)
        record, damage = _tried("record", path, partial(vault.repo_record, entry.record))
        yield from damage
        if record is None:
            continue
        history = snapshots.RepoHistory(vault, record)
        commits, damage = _tried("commit-list", path, partial(getattr, history, "commits"))
        yield from damage
        if commits is None:
            continue
        wanted = pc.unique(pc.list_flatten(commits["tables"])).to_pylist()
        for each in wanted:
            if each not in tables:
                where = layout.table_path(each)
                tables[each], damage = _tried("table", where, partial(vault.file_table, each))
                yield from damage
        for commit in commits.filter(commits["listed"])["commit"].to_pylist():
            yield from _tried("chain", path, partial(history.chain, commit))[1]


def _index(vault: Vault) -> tuple[list[_Damage], BlobIndex]:
    damages: list[_Damage] = []
    tables = [index.SCHEMA.empty_table()]
    for info in vault.store.list(layout.INDEX):
        found, damage = _tried("index", info.name, partial(_index_object, vault, info.name))
        damages.extend(damage)
        if found is not None:
            tables.append(found)
    return damages, BlobIndex(pa.concat_tables(tables))


def _index_object(vault: Vault, name: str) -> pa.Table:
    return index.decode(vault.read(name))


def _blobs_of_tables(places: BlobIndex, tables: dict[bytes, pa.Table | None]) -> Iterator[_Damage]:
    for name, rows in tables.items():
        if rows is None:
            continue
        wanted = table.blobs_of(rows)
        missing = {blob for blob, is_there in zip(wanted, places.has(wanted), strict=True) if not is_there}
        if missing:
            message = f"{len(missing)} blobs are in no pack that the index knows"
            yield _Damage("blob-missing", layout.table_path(name), message, frozenset(missing))


def _packs_of_index(places: BlobIndex, sizes: dict[str, int]) -> Iterator[_Damage]:
    for name, end in places.pack_ends():
        path = layout.pack_path(name)
        if path not in sizes:
            yield _Damage("pack-missing", path, "the index names it", places.blobs_in(name))
        elif sizes[path] < end:
            message = f"{sizes[path]} bytes long where the index places a frame up to byte {end}"
            yield _Damage("pack-short", path, message, places.blobs_in(name))


def _pack(vault: Vault, name: str, size: int, places: BlobIndex, *, is_decoded: bool) -> Iterator[_Damage]:
    """A pack from its trailer to its frames, one frame in memory at a time."""
    try:
        toc = _toc(vault, name, size)
    except DamageError as error:
        promised = layout.named_digest(name)
        hit = places.blobs_in(promised) if promised else frozenset()
        yield _Damage("pack-damaged", name, error.what, hit)
        return
    names = pack.split_digests(toc.blobs["digest"])
    for number, frame in enumerate(toc.frames):
        offset, stored_bytes = int(frame["offset"]), int(frame["stored"])
        stored = vault.store.get_range(name, offset, stored_bytes)
        inside = (toc.blobs["frame"] == number).nonzero()[0].tolist()
        if not pack.frame_is_whole(stored, int(frame["checksum"])):
            hit = frozenset(names[row] for row in inside)
            yield _Damage("frame-damaged", name, f"frame at byte {offset}: wrong checksum", hit)
        elif is_decoded:
            yield from _frame(name, frame, stored, [(names[row], toc.blobs[row]) for row in inside])


def _toc(vault: Vault, name: str, size: int) -> pack.Toc:
    if size < pack.TRAILER_BYTES:
        raise DamageError("too short for a pack")
    if vault.store.get_range(name, 0, len(pack.HEADER)) != pack.HEADER:
        raise DamageError("does not begin as a pack does")
    tail = vault.store.get_range(name, size - pack.TRAILER_BYTES, pack.TRAILER_BYTES)
    trailer = pack.parse_trailer(tail)
    if trailer.pack_bytes != size:
        raise DamageError(f"{size} bytes long where its trailer promises {trailer.pack_bytes}")
    if trailer.digest != layout.named_digest(name):
        raise DamageError("another pack lies under this name")
    return pack.parse_toc(trailer, vault.store.get_range(name, trailer.toc_offset, trailer.toc_bytes))


def _frame(
    name: str, frame: np.void, stored: bytes, inside: Sequence[tuple[bytes, np.void]]
) -> Iterator[_Damage]:
    offset = int(frame["offset"])
    try:
        data = pack.open_frame(stored, int(frame["raw"]), int(frame["codec"]))
    except DamageError as error:
        hit = frozenset(blob for blob, _ in inside)
        yield _Damage("frame-damaged", name, f"frame at byte {offset}: {error.what}", hit)
        return
    for blob, row in inside:
        start, size = int(row["offset"]), int(row["size"])
        if digest(data[start : start + size]) != blob:
            yield _Damage("blob-damaged", name, f"blob {blob.hex()} has another digest", frozenset([blob]))


def _with_files(damage: _Damage, tables: dict[bytes, pa.Table | None]) -> Finding:
    """The finding, with the files whose content it hits."""
    hit: dict[str, None] = {}
    if damage.blobs:
        for rows in tables.values():
            if rows is not None:
                hit.update(dict.fromkeys(table.files_with(rows, damage.blobs)))
    return Finding(
        kind=damage.kind,
        object=damage.object,
        message=damage.message,
        blobs=tuple(sorted(blob.hex() for blob in damage.blobs)),
        files=tuple(hit)[:_FILES_NAMED],
        files_count=len(hit),
    )


def _tried(kind: str, name: str, read: Callable[[], Answer]) -> tuple[Answer | None, list[_Damage]]:
    try:
        return read(), []
    except DamageError as error:
        return None, [_Damage(kind + "-damaged", error.where or name, error.what)]

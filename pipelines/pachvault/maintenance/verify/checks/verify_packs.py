"""The lower half of a vault: the index against the packs that are there, and the packs' own bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pachvault.errors import CorruptError
from pachvault.format import layout, pack
from pachvault.format.digests import Digests
from pachvault.maintenance.retrying_store import is_gone
from pachvault.maintenance.verify.findings import Damage, tried
from pachvault.maintenance.verify.verify_places import CheckedPlaces
from pachvault.vault.index.index_rows import IndexRows
from pachvault.vault.packs import blobs_by_frame, damaged_blobs, read_toc
from pachvault.vault.vault import Vault

_AT_ONCE = 4
"""Packs read at the same time, one frame of each in memory."""
_LISTINGS = 3
"""How often the index is listed again where objects are deleted meanwhile, as compaction does."""


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """A pack that was read, and its damages."""

    name: str
    damages: list[Damage]


def load_index(vault: Vault) -> tuple[CheckedPlaces, list[Damage]]:
    """All index objects that can be read, and the damages of the others."""
    parts: dict[str, IndexRows] = {}
    damages: dict[str, list[Damage]] = {}
    for _ in range(_LISTINGS):
        listing = Damage(kind="index", object=layout.INDEX)
        listed, failed = tried(listing, lambda: [info.name for info in vault.objects(layout.INDEX)])
        if listed is None:
            return CheckedPlaces(IndexRows.joined([])), failed
        damages = {}
        for name in listed:
            if name not in parts:
                about = Damage(kind="index", object=name)
                rows, damages[name] = tried(about, partial(_index_object, vault, name))
                if rows is not None:
                    parts[name] = rows
        # compaction deletes an index object only after another one has its rows, so a new listing has them
        if not any(failed and is_gone(vault, name) for name, failed in damages.items()):
            break
    places = CheckedPlaces(IndexRows.joined(parts.pop(name) for name in list(parts)))
    return places, [damage for failed in damages.values() for damage in failed]


def against_listing(places: CheckedPlaces, sizes: Mapping[str, int]) -> Iterator[Damage]:
    """The packs that the index names and that are missing or too short. Their places are noted as bad."""
    for name, end in places.rows.pack_ends():
        path = layout.pack_path(name)
        rows = places.in_pack(name)
        if path not in sizes:
            places.is_good[rows] = False
            yield Damage(kind="pack-missing", object=path, message="the index names it", places=rows)
        elif sizes[path] < end:
            places.is_good[rows] = False
            message = f"{sizes[path]} bytes long where the index places a frame up to byte {end}"
            yield Damage(kind="pack-short", object=path, message=message, places=rows)


def scrub(
    vault: Vault, packs: Mapping[str, int], places: CheckedPlaces, *, is_decoded: bool
) -> Iterator[Scrubbed]:
    """Read packs, given with their sizes, from trailer to frames. Bad places are noted in `places`."""
    read = partial(_pack, vault, places, is_decoded=is_decoded)
    with ThreadPoolExecutor(_AT_ONCE, "verify") as pool:
        try:
            for name, damages in zip(packs, pool.map(read, packs, packs.values()), strict=True):
                for damage in damages:
                    # an error of the store says nothing about the bytes: the place stays good
                    places.is_good[damage.places] &= not damage.is_read
                yield Scrubbed(name, damages)
        finally:
            # the caller may stop early: else all packs that are queued would still be read
            pool.shutdown(cancel_futures=True)


def _index_object(vault: Vault, name: str) -> IndexRows:
    return IndexRows.read(vault.read(name))


def _pack(vault: Vault, places: CheckedPlaces, name: str, size: int, *, is_decoded: bool) -> list[Damage]:
    """A pack from its trailer to its frames, one frame in memory at a time."""
    pack_digest = layout.named_digest(name)
    rows = places.in_pack(pack_digest)
    toc, damages = tried(Damage(kind="pack", object=name, places=rows), partial(read_toc, vault, name, size))
    if toc is None and is_gone(vault, name):
        message = "it was in the listing of the packs, and is gone"
        return [Damage(kind="pack-missing", object=name, message=message, places=rows)]
    if toc is None:
        return [replace(damage, is_vital=False) for damage in damages]
    unlike = places.compare_with_toc(pack_digest or b"", toc)[0]
    if len(unlike):
        message = f"{len(unlike)} blobs are not where the index places them"
        damages.append(Damage(kind="index-wrong", object=name, message=message, places=unlike))
    for frame, inside in blobs_by_frame(toc):
        of_frame = rows[places.rows.integers["frame_offset"][rows] == int(frame["offset"])]
        about = Damage(kind="frame", object=name, places=of_frame)
        data, failed = tried(about, partial(_frame, vault, name, frame, is_decoded=is_decoded))
        for damage in failed:
            message = f"frame at byte {frame['offset']}: {damage.message}"
            damages.append(replace(damage, is_vital=False, message=message))
        if data is not None and is_decoded:
            damages += _blobs(about, places, toc.blobs["digest"][damaged_blobs(toc, inside, data)])
    return damages


def _frame(vault: Vault, name: str, frame: np.void, *, is_decoded: bool) -> bytes:
    """A frame's content; nothing where it is not to be decoded. DamageError where it is not intact."""
    stored = vault.store.get_range(name, int(frame["offset"]), int(frame["stored"]))
    if not pack.frame_is_intact(stored, int(frame["checksum"])):
        raise CorruptError("wrong checksum")
    return pack.open_frame(stored, int(frame["raw"]), int(frame["codec"])) if is_decoded else b""


def _blobs(frame: Damage, places: CheckedPlaces, wrong: Digests) -> Iterator[Damage]:
    for blob in wrong:
        bad = frame.places[places.rows.digests[frame.places] == blob]
        message = f"blob {blob.tobytes().hex()} has another digest"
        yield Damage(kind="blob-damaged", object=frame.object, message=message, places=bad)

"""Packs written and blobs read back through a vault."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zstandard

from made import flip, new_vault
from pachvault.errors import CorruptError, DamageError, FullError, PachvaultError
from pachvault.format import digests, index, layout, pack
from pachvault.format.ids import digest
from pachvault.format.pack import Frame, split_digests
from pachvault.store.folder_store import FolderStore
from pachvault.vault import blob_reader as reader_module
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.index.blob_places import BlobPlaces
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.packs import read_toc
from pachvault.vault.vault import Vault

COMPRESSOR = zstandard.ZstdCompressor()


def frame(*data: bytes) -> Frame:
    return pack.make_frame(
        b"".join(data), [digest(content) for content in data], [len(content) for content in data], COMPRESSOR
    )


def noise(seed: int, size: int = 1000) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def write(vault: Vault, frames: Iterable[Frame], pack_bytes: int = 10_000) -> PackWriter:
    with PackWriter(vault, pack_bytes) as writer:
        for content in frames:
            writer.add(content)
        writer.finish()
    return writer


def objects(vault: Vault, folder: str) -> list[str]:
    return [info.name for info in vault.store.list(folder)]


def test_what_was_written_is_read_back_by_digest(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    data = [noise(seed) for seed in range(20)] + [b"tiny", b"x" * 50_000]
    write(vault, [frame(*data[:3]), *(frame(content) for content in data[3:])])
    reader = BlobReader(vault, blob_index.load_places(vault))
    assert [reader.read(digest(content)) for content in data] == data
    assert list(reader.stream([digest(data[5]), digest(data[0])])) == [data[5], data[0]]


def test_packs_are_closed_at_their_limit(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    writer = write(vault, [frame(noise(seed)) for seed in range(25)], pack_bytes=5000)
    assert len(writer.packs) == 5
    assert writer.blobs == 25
    assert writer.raw_bytes == 25_000
    assert len(objects(vault, layout.INDEX)) == 1
    for written in writer.packs:
        info = vault.store.stat(layout.pack_path(written.digest))
        assert info is not None
        assert info.size == written.size < 5000 + 1000 + 64 + 8 + 6 * 80


def test_the_same_frames_give_the_same_objects_and_nothing_new(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    frames = [frame(noise(seed)) for seed in range(12)]
    first = write(vault, frames)
    before = {info.name: info.modified_at for info in vault.store.list("")}
    second = write(vault, frames)
    assert [written_pack.digest for written_pack in first.packs] == [
        written_pack.digest for written_pack in second.packs
    ]
    assert {info.name: info.modified_at for info in vault.store.list("")} == before


def test_nothing_new_writes_no_index(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    with PackWriter(vault) as writer:
        assert writer.finish() == []
    assert objects(vault, "") == [layout.CONFIG]


class FullStore(FolderStore):
    """Takes no more packs after the first."""

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        if name.startswith(layout.PACKS) and next(iter(self.list(layout.PACKS)), None):
            raise FullError("the target is full", where=self.url)
        return super().put(name, parts, size)


def test_a_failed_upload_surfaces_and_leaves_no_index(tmp_path: Path) -> None:
    opened = new_vault(tmp_path)
    vault = Vault(FullStore(tmp_path / "vault"), opened.config)
    with pytest.raises(PachvaultError, match="the target is full"):
        write(vault, [frame(noise(seed)) for seed in range(60)], pack_bytes=2000)
    assert objects(vault, layout.INDEX) == []


def test_a_flipped_bit_is_damage_that_names_the_pack(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    written = write(vault, [frame(noise(1)), frame(noise(2))]).packs[0]
    path = layout.pack_path(written.digest)
    flip(tmp_path / "vault" / path, len(pack.HEADER) + 500)
    reader = BlobReader(vault, blob_index.load_places(vault))
    with pytest.raises(DamageError, match="is damaged") as caught:
        reader.read(digest(noise(1)))
    assert path in str(caught.value)
    assert digest(noise(1)).hex() in str(caught.value)
    assert reader.read(digest(noise(2))) == noise(2)


def test_a_flipped_bit_of_a_compressed_frame_is_damage(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    written = write(vault, [frame(b"hello" * 1000)]).packs[0]
    path = layout.pack_path(written.digest)
    for at in range(len(pack.HEADER), len(pack.HEADER) + 12):
        flip(tmp_path / "vault" / path, at, bit=7)
        with pytest.raises(DamageError) as caught:
            BlobReader(vault, blob_index.load_places(vault)).read(digest(b"hello" * 1000))
        assert path in str(caught.value)
        flip(tmp_path / "vault" / path, at, bit=7)


def test_a_missing_or_short_pack_is_damage(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    written = write(vault, [frame(noise(1))]).packs[0]
    path = tmp_path / "vault" / layout.pack_path(written.digest)
    index = blob_index.load_places(vault)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DamageError, match="ends at byte 300"):
        BlobReader(vault, index).read(digest(noise(1)))
    assert len(blob_index.load_places(vault)) == 0
    path.unlink()
    with pytest.raises(DamageError, match="no such object"):
        BlobReader(vault, index).read(digest(noise(1)))
    assert len(blob_index.load_places(vault)) == 0


def test_a_blob_that_no_index_names_is_damage(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    reader = BlobReader(vault, blob_index.load_places(vault))
    with pytest.raises(DamageError, match="in no usable pack"):
        reader.read(digest(b"never stored"))


def test_a_blob_in_several_index_objects_is_found_once(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    write(vault, [frame(noise(1)), frame(noise(2))])
    write(vault, [frame(noise(2)), frame(noise(3))])
    assert len(objects(vault, layout.INDEX)) == 2
    known = blob_index.load_places(vault)
    wanted = [digest(noise(seed)) for seed in (1, 2, 3, 4)]
    assert known.has(wanted).tolist() == [True, True, True, False]
    assert BlobReader(vault, known).read(wanted[1]) == noise(2)


@pytest.mark.parametrize("is_lost", [False, True])
def test_without_the_index_packs_tell_themselves_what_they_hold(tmp_path: Path, *, is_lost: bool) -> None:
    vault = new_vault(tmp_path)
    write(vault, [frame(noise(1))])
    write(vault, [frame(noise(2))])
    file = tmp_path / "vault" / objects(vault, layout.INDEX)[0]
    if is_lost:
        file.unlink()
    else:
        flip(file, 100)
        with pytest.raises(CorruptError, match="does not have the digest in its name"):
            blob_index.all_rows(vault)
    reader = BlobReader(vault, blob_index.load_places(vault))
    assert [reader.read(digest(noise(seed))) for seed in (1, 2)] == [noise(1), noise(2)]
    assert blob_index.load_digests(vault).has_all(digests.of([digest(noise(1)), digest(noise(2))]))
    assert len(blob_index.unindexed_rows(vault)) == 1


def test_the_index_knows_how_far_each_pack_goes(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    writer = write(vault, [frame(noise(seed)) for seed in range(6)], pack_bytes=3000)
    known = blob_index.load_places(vault)
    assert sorted(known.rows.pack_ends()) == sorted(
        (written_pack.digest, 8 + 3000) for written_pack in writer.packs
    )
    held = [set(split_digests(known.blobs_in(written_pack.digest))) for written_pack in writer.packs]
    assert sorted(map(len, held)) == [3, 3]
    assert held[0] | held[1] == {digest(noise(seed)) for seed in range(6)}
    rows = known.find_all([digest(noise(0)), digest(noise(1))])
    assert {known.location(row).pack for row in rows} == {writer.packs[0].digest}


def test_an_empty_index_knows_nothing() -> None:
    known = BlobPlaces(index.SCHEMA.empty_table())
    assert len(known) == 0
    assert known.has([digest(b"x")]).tolist() == [False]
    assert known.has([]).tolist() == []
    assert known.rows.pack_ends() == []


def test_a_reader_shared_by_threads_holds_a_bounded_number_of_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = new_vault(tmp_path)
    data = {digest(noise(seed)): noise(seed) for seed in range(40)}
    write(vault, [frame(content) for content in data.values()], pack_bytes=5000)
    monkeypatch.setattr(reader_module, "CACHE_BYTES", 3500)
    reader = BlobReader(vault, blob_index.load_places(vault))
    with ThreadPoolExecutor(8) as pool:
        names = [*data] * 5
        assert list(pool.map(reader.read, names)) == [data[name] for name in names]
    assert 0 < reader._cached_bytes <= 3500
    assert reader._cached_bytes == sum(map(len, reader._frames.values()))


def test_a_toc_that_names_a_frame_it_does_not_list_is_damage(tmp_path: Path) -> None:
    """A pack whose digest is true, by a writer that went wrong."""
    vault = new_vault(tmp_path)
    builder = pack.PackBuilder()
    builder.add(frame(noise(1)))
    built = builder.finish()
    blobs_wrong = built.toc.blobs.copy()
    blobs_wrong["frame"] = 1
    toc = built.toc.frames.tobytes() + blobs_wrong.tobytes()
    *counts, _, end = pack.TRAILER.unpack(built.parts[-1])
    unnamed = pack.TRAILER.pack(*counts, bytes(32), end)
    name = digest(toc + unnamed[: -32 - len(end)])
    data = b"".join([*built.parts[:-2], toc, pack.TRAILER.pack(*counts, name, end)])
    path = layout.pack_path(name)
    vault.store.put(path, [data], len(data))
    with pytest.raises(DamageError, match="a frame that it does not list"):
        read_toc(vault, path, len(data))

"""Files are divided into the same blobs however their bytes arrive; each blob is stored once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from made import cut_points, new_vault
from pachvault.backup.export.chunker import Chunker, StoredFiles
from pachvault.backup.export.frame_writer import FRAME_BLOBS
from pachvault.errors import TransientError
from pachvault.format.config import Cutting
from pachvault.format.ids import digest
from pachvault.pach.tar import FilePiece
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.vault import Vault

SMALL = Cutting(min_bytes=2048, avg_bytes=4096, max_bytes=16_384)
Emitted = tuple[str, int, bytes, list[bytes] | None]


def one_by_one(batches: Iterable[StoredFiles]) -> Iterator[Emitted]:
    for files in batches:
        yield from zip(*files, strict=True)


def noise(size: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(size)


@dataclass
class Job:
    """A stream of files, which is stored when the job ends."""

    chunker: Chunker
    writer: PackWriter
    pieces: list[FilePiece] = field(default_factory=list)
    emitted: list[Emitted] = field(default_factory=list)

    def piece(self, path: str, size: int, offset: int, data: memoryview) -> None:
        self.pieces.append(FilePiece(path, size, offset, data))

    def file(self, path: str, data: bytes, *ends: int) -> None:
        """A file in pieces that end at these offsets."""
        offset = 0
        for end in sorted({len(data)} | {end for end in ends if 0 < end < len(data)}):
            self.piece(path, len(data), offset, memoryview(data)[offset:end])
            offset = end


@contextmanager
def cutting(vault: Vault, sizes: Cutting = SMALL) -> Iterator[Job]:
    with PackWriter(vault) as writer:
        with Chunker(writer, blob_index.load_places(vault), sizes) as chunker:
            job = Job(chunker, writer)
            yield job
            job.emitted += one_by_one(chunker.store(job.pieces))
        writer.finish()


def expected(path: str, data: bytes, sizes: Cutting = SMALL) -> Emitted:
    pieces = [digest(data[at : at + size]) for at, size in cut_points(data, sizes)] if data else []
    return (path, len(data), digest(data), pieces if len(pieces) > 1 else None)


def test_files_around_every_bound_are_cut_as_whole_files_are(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    bounds = [1, 2048, 4096, 16_384, 32_768, 100_000]
    files = {f"/{size}": noise(size, size) for bound in bounds for size in (bound - 1, bound, bound + 1)}
    with cutting(vault) as job:
        for path, data in files.items():
            job.file(path, data, len(data) // 3, len(data) // 2)
    assert job.emitted == [expected(path, data) for path, data in files.items()]
    reader = BlobReader(vault, blob_index.load_places(vault))
    for path, size, content, pieces in job.emitted:
        names = pieces or ([content] if size else [])
        assert b"".join(reader.stream(names)) == files[path]


def test_cut_points_cover_a_file_within_their_bounds() -> None:
    data = noise(300_000)
    points = list(cut_points(data, SMALL))
    assert [at for at, _ in points] == list(np.cumsum([0, *(size for _, size in points)])[:-1])
    assert sum(size for _, size in points) == len(data)
    assert all(SMALL.min_bytes <= size <= SMALL.max_bytes for _, size in points[:-1])


def test_a_large_file_of_the_vaults_own_parameters_is_cut_as_one_piece_would_be(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    data = noise(20 * 2**20)
    with cutting(vault, vault.config.cutting) as job:
        job.file("/large", data, *range(1_000_003, len(data), 1_000_003))
    assert job.emitted == [expected("/large", data, vault.config.cutting)]
    assert len(job.emitted[0][3] or []) > 5


def test_files_are_told_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    with cutting(new_vault(tmp_path)) as job:
        for number in range(1, 40):
            job.file(f"/{number}", noise(number * 700, number), number * 300)
    assert [path for path, *_ in job.emitted] == [f"/{number}" for number in range(1, 40)]


def test_a_file_that_begins_anew_is_told_once_and_right(tmp_path: Path) -> None:
    data, other = noise(50_000), noise(50_000, 2)
    with cutting(new_vault(tmp_path)) as job:
        for stop in (1, 20_000, 49_999):
            job.piece("/a", len(data), 0, memoryview(data)[:stop])
        job.file("/a", data, 10_000)
        job.piece("/b", len(other), 0, memoryview(other)[:40_000])
        job.file("/b", other)
        job.piece("/c", 9, 0, memoryview(b"123"))
        job.file("/c", b"123456789", 4)
    assert job.emitted == [expected("/a", data), expected("/b", other), expected("/c", b"123456789")]


def test_a_piece_without_its_beginning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without its beginning"), cutting(new_vault(tmp_path)) as job:
        job.piece("/a", 10, 5, memoryview(b"12345"))


def test_identical_content_is_stored_once_within_and_across_runs(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    data = noise(30_000)
    with cutting(vault) as first:
        first.file("/a", data)
        first.file("/b", data, 7)
        first.file("/s", b"small")
        first.file("/t", b"small")
    assert first.writer.raw_bytes == len(data) + 5
    with cutting(vault) as second:
        second.file("/c", data)
        second.file("/u", b"small")
    assert second.writer.blobs == 0
    assert second.emitted[0][1:] == first.emitted[0][1:]


def test_empty_files_need_no_blob(tmp_path: Path) -> None:
    with cutting(new_vault(tmp_path)) as job:
        job.file("/e", b"")
        job.file("/f", b"")
    assert job.emitted == [("/e", 0, digest(b""), None), ("/f", 0, digest(b""), None)]
    assert job.writer.blobs == 0


def test_many_small_files_share_frames(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    with cutting(vault) as job:
        for number in range(FRAME_BLOBS + 5):
            job.file(f"/{number}", b"%d" % number)
    known = blob_index.load_places(vault)
    names = [content for _, _, content, _ in job.emitted]
    frames = {
        (place.pack, place.frame_offset) for place in map(known.location, known.find_all(names).tolist())
    }
    assert len(job.emitted) == FRAME_BLOBS + 5
    assert len(frames) == 2


def test_the_same_stream_gives_the_same_packs(tmp_path: Path) -> None:
    packs = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        with cutting(new_vault(tmp_path / folder)) as job:
            for number in range(30):
                job.file(
                    f"/{number}", noise(number * 3000, number), number * (1000 if folder == "one" else 17)
                )
        packs.append([pack.digest for pack in job.writer.packs])
    assert packs[0] == packs[1]


def test_an_insertion_in_the_middle_stores_few_blobs_anew(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    data = noise(32 * 2**20)
    with cutting(vault, vault.config.cutting) as first:
        first.file("/large", data)
    middle = len(data) // 2
    with cutting(vault, vault.config.cutting) as second:
        second.file("/large", data[:middle] + b"inserted" + data[middle:])
    assert first.writer.blobs > 10
    assert 1 <= second.writer.blobs <= 4


def test_what_is_abandoned_is_not_told_but_its_blobs_stay(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    data = noise(40_000)

    def broken() -> Iterator[FilePiece]:
        yield FilePiece("/small", 5, 0, memoryview(b"small"))
        yield FilePiece("/large", len(data), 0, memoryview(data)[:39_000])
        raise TransientError("the stream broke")

    with cutting(vault) as job:
        with pytest.raises(TransientError):
            job.emitted += one_by_one(job.chunker.store(broken()))
        job.file("/next", b"next")
    assert job.emitted == [expected("/next", b"next")]
    assert blob_index.load_places(vault).has([digest(b"small"), digest(b"next")]).all()

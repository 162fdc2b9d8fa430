"""Files that come many at a time are stored as if they came one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from made import new_vault
from pachvault.backup.export.chunker import Chunker
from pachvault.backup.export.frame_writer import FRAME_BYTES
from pachvault.format.config import Cutting
from pachvault.pach.tar import FilePiece, FileRun
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.pack_writer import PackWriter

CUTTING = Cutting(min_bytes=2048, avg_bytes=4096, max_bytes=16_384)
SIZES = {
    "small": [1, 2047, 2048, 35, 35],
    "empty among them": [10, 0, 10],
    "large among them": [10, 2049, 50_000, 10],
    "more than a frame": [2048] * (FRAME_BYTES // 2048 + 3),
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
def test_as_one_by_one(tmp_path: Path, sizes: list[int]) -> None:
    data = [np.random.default_rng(number).bytes(size) for number, size in enumerate(sizes)]
    views = [memoryview(content) for content in data]
    paths = [f"/{number}" for number in range(len(data))]
    results = []
    for way in ("single", "together"):
        vault = new_vault(tmp_path / way)
        emitted: list[tuple[str, int, bytes, list[bytes] | None]] = []
        with PackWriter(vault) as writer:
            if way == "together":
                pieces = [FileRun(paths, views)]
            else:
                pieces = [
                    FilePiece(path, len(view), 0, view) for path, view in zip(paths, views, strict=True)
                ]
            with Chunker(writer, blob_index.load_places(vault), CUTTING) as chunker:
                for files in chunker.store(pieces):
                    emitted += zip(*files, strict=True)
            writer.finish()
        assert sum(size for _, size, _, _ in emitted) == sum(sizes)
        results.append((sorted(emitted), [pack.digest for pack in writer.packs]))
        reader = BlobReader(vault, blob_index.load_places(vault))
        stored = {
            path: b"".join(reader.stream(pieces or ([name] if size else [])))
            for path, size, name, pieces in emitted
        }
        assert stored == dict(zip(paths, data, strict=True))
    assert results[0] == results[1]

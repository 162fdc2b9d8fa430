"""The same files and blobs result, however a stream is split."""

from __future__ import annotations

import io
import random
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made import cut_points, new_vault
from pachvault.backup.export.chunker import Chunker
from pachvault.errors import TransientError
from pachvault.format.config import Cutting
from pachvault.format.ids import digest
from pachvault.format.pack import split_digests
from pachvault.pach import tar
from pachvault.pach.tar import FilePiece
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.pack_writer import PackWriter

CUTTING = Cutting(min_bytes=256, avg_bytes=1024, max_bytes=4096)
BOUNDS = (256, 1024, 4096, 8192, 12_288)
SIZES = st.integers(0, 30_000) | st.sampled_from([bound + by for bound in BOUNDS for by in (-1, 0, 1)])
FILES = st.lists(st.tuples(SIZES, st.integers(0, 3)), min_size=1, max_size=6)
NAMES = st.text("abc/ \u00fc", min_size=1, max_size=20) | st.integers(80, 300).map(lambda size: "n" * size)


def content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def split(data: bytes, draw: st.DataObject) -> list[memoryview]:
    ends = sorted(draw.draw(st.sets(st.integers(1, max(len(data) - 1, 1)), max_size=6)))
    starts = [0, *(end for end in ends if end < len(data))]
    return [memoryview(data)[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]


@given(FILES, st.data())
def test_cutting_depends_on_content_alone(files: list[tuple[int, int]], data: st.DataObject) -> None:
    """blobs(file) = cut_points(file), however it arrives and however often it begins anew."""
    with tempfile.TemporaryDirectory() as folder:
        vault = new_vault(Path(folder))
        emitted: dict[str, tuple[int, bytes, list[bytes] | None]] = {}
        stream: list[FilePiece] = []
        with PackWriter(vault, 20_000) as writer:
            for number, (size, seed) in enumerate(files):
                whole = content(size, seed)
                parts = split(whole, data)
                restarts = data.draw(st.integers(0, 2)) if len(parts) > 1 else 0
                for again in [
                    *[parts[: data.draw(st.integers(1, len(parts) - 1))] for _ in range(restarts)],
                    parts,
                ]:
                    offset = 0
                    for part in again:
                        stream.append(FilePiece(f"/{number}", size, offset, part))
                        offset += len(part)
            with Chunker(writer, blob_index.load_places(vault), CUTTING) as chunker:
                for stored in chunker.store(stream):
                    for path, size, name, blobs in zip(*stored, strict=True):
                        assert path not in emitted
                        emitted[path] = (size, name, blobs)
            writer.finish()
        assert len(emitted) == len(files)
        reader = BlobReader(vault, blob_index.load_places(vault))
        stored = set()
        for number, (size, seed) in enumerate(files):
            whole = content(size, seed)
            pieces = (
                [digest(whole[at : at + length]) for at, length in cut_points(whole, CUTTING)] if size else []
            )
            assert emitted[f"/{number}"] == (size, digest(whole), pieces if len(pieces) > 1 else None)
            assert b"".join(reader.stream(pieces)) == whole
            stored.update(pieces)
        # a file that began anew may have left blobs of a cut that came to nothing
        assert stored <= set(split_digests(reader.index.rows.digests))
        assert len(reader.index) == writer.blobs


@given(st.dictionaries(NAMES, st.integers(0, 3000) | st.sampled_from([511, 512, 513]), max_size=5),
       st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]), st.data())  # fmt: skip
def test_a_tar_stream_may_be_split_anywhere(sizes: dict[str, int], kind: int, data: st.DataObject) -> None:
    """pieces(split(tar(files))) = files, wherever the messages end."""
    files = {f"/{name}x": content(size, size) for name, size in sizes.items()}
    assert _whole_files(split(_archive(files, kind), data)) == files


@given(st.integers(0, 2000), st.integers(0, 2000), st.data())
def test_a_tar_stream_cut_anywhere_is_noticed(first: int, second: int, data: st.DataObject) -> None:
    """No prefix that lacks an end mark is taken for a stream."""
    files = {"/a": content(first, 1), "/b": content(second, 2)}
    whole = _archive(files, tarfile.PAX_FORMAT)
    end = sum(512 + len(body) + -len(body) % 512 for body in files.values()) + 1024
    length = data.draw(st.integers(0, end - 1))
    with pytest.raises(TransientError):
        _whole_files([memoryview(whole)[:length]])


def _archive(files: dict[str, bytes], kind: int) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=kind) as archive:
        for path, body in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return sink.getvalue()


def _whole_files(messages: list[memoryview]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for piece in tar.pieces(messages):
        assert piece.offset == len(contents.get(piece.path, b""))
        contents[piece.path] = contents.get(piece.path, b"") + bytes(piece.data)
        assert not piece.is_last or len(contents[piece.path]) == piece.size
    return contents

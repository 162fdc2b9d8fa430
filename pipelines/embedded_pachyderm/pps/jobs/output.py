"""What a datum leaves in /pfs/out, as the changes of a file set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2

_CHUNK_BYTES = 1024 * 1024
_PFS = "/pfs/"


class DatumOutputError(Exception):
    """Something in /pfs/out that cannot become a file in PFS."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file to upload: its path in the output repo, and where its bytes are on this machine."""

    path: str
    source: Path
    size_bytes: int


def find(scratch: Path) -> list[OutputFile]:
    """All files below /pfs/out, links into /pfs followed, by their paths. Empty folders vanish."""
    files: list[OutputFile] = []
    _collect(scratch, scratch / "out", "", files)
    return sorted(files, key=lambda file: file.path)


def _collect(scratch: Path, folder: Path, prefix: str, files: list[OutputFile]) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{prefix}/{entry.name}"
            source = Path(entry.path)
            if entry.is_symlink():
                source = _resolve(scratch, source, path)
            if source.is_dir():
                _collect(scratch, source, path, files)
            elif source.is_file():
                files.append(OutputFile(path, source, source.stat().st_size))


def _resolve(scratch: Path, link: Path, path: str) -> Path:
    """Where a link leads; inside /pfs that is a place in the scratch folder."""
    for _ in range(40):
        if not link.is_symlink():
            break
        target = str(link.readlink())
        inside = target.startswith(_PFS)
        link = scratch / target.removeprefix(_PFS) if inside else link.parent / target
    if not link.exists():
        raise DatumOutputError(f"{path} is a link to nowhere")
    return link


def additions(files: Iterable[OutputFile]) -> Iterator[Any]:
    """The messages that put these files, large ones in pieces."""
    for file in files:
        with file.source.open("rb") as source:
            piece = source.read(_CHUNK_BYTES)
            yield _add(file.path, piece)
            while len(piece) == _CHUNK_BYTES:
                piece = source.read(_CHUNK_BYTES)
                if piece:
                    yield _add(file.path, piece)


def deletions(paths: Iterable[str]) -> Iterator[Any]:
    for path in paths:
        yield pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path))


def _add(path: str, data: bytes) -> Any:
    message = pfs_pb2.ModifyFileRequest()
    message.add_file.path = path
    message.add_file.raw.value = data
    return message

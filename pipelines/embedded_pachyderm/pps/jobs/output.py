"""The files in a datum's /pfs/out, as the changes of a file set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2

_CHUNK_BYTES = 1024 * 1024


class DatumOutputError(Exception):
    """An entry of /pfs/out that cannot become a file in PFS."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file to upload: its path in the output repo, and where its bytes are on this machine."""

    path: str
    source: Path
    size_bytes: int


def find(scratch: Path) -> list[OutputFile]:
    """All files below /pfs/out, by their paths. Empty folders are left out; DatumOutputError for links."""
    files: list[OutputFile] = []
    _collect(scratch / "out", "", files)
    return sorted(files, key=lambda file: file.path)


def _collect(folder: Path, prefix: str, files: list[OutputFile]) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{prefix}/{entry.name}"
            if entry.is_symlink():
                raise DatumOutputError(f"{path} is a link, which the embedded Pachyderm does not follow")
            if entry.is_dir():
                _collect(Path(entry.path), path, files)
            elif entry.is_file():
                files.append(OutputFile(path, Path(entry.path), entry.stat().st_size))


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

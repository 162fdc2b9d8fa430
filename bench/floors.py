"""The floors: programs that do one thing to a server and nothing else, as lean as Python allows.

`python -m bench.floors -h` lists them. Each prints, last, a JSON object with the seconds that the thing
itself took. Messages are taken apart and put together by hand: pure-Python
protobuf would be the slow part, and a slow floor would flatter.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from python_pachyderm.proto.v2.pfs import pfs_pb2

from bench.data import DataSet
from pachvault.format.ids import RepoName
from pachvault.pach import codec
from pachvault.pach.connection import Connection, connect
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target

BRANCH = "master"
_PIECE = 4 * 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.floors", description=__doc__)
    parser.add_argument("what", choices=list(_DOES))
    parser.add_argument("address")
    parser.add_argument("repo", type=RepoName.parse)
    parser.add_argument("--against", help="diff: the other commit")
    parser.add_argument("--shape", help="put: the data set, as name:count:size:text")
    parser.add_argument("--change", default="all:0", help="put: all, changed:N, inserted:N")
    parser.add_argument("--folder", type=Path, help="put-folder: where the files are")
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--lazy", action="store_true", help="put: make the bytes while they are sent")
    parser.add_argument("--repos", type=int, default=1, help="history: as many repos, numbered")
    parser.add_argument("--commits", type=int, default=1, help="history: of each repo")
    options = parser.parse_args()
    with connect(options.address) as connection:
        figures = _DOES[options.what](connection, options)
    out = sys.stderr if options.what == "cat" else sys.stdout
    out.write(json.dumps(figures) + "\n")


def _stream(connection: Connection, options: argparse.Namespace) -> dict[str, object]:
    """The bare GetFileTAR stream: messages arrive and are dropped."""
    began, size = time.perf_counter(), 0
    for message in _tar(connection, options.repo):
        size += len(message)
    return {"seconds": time.perf_counter() - began, "bytes": size}


def _cat(connection: Connection, options: argparse.Namespace) -> dict[str, object]:
    """The stream to standard output: `| tar -x` makes of it what a recursive get would."""
    start_up = _age()
    for message in _tar(connection, options.repo):
        sys.stdout.buffer.write(message)
    sys.stdout.buffer.flush()
    return {"start_up_seconds": start_up}


def _diff(connection: Connection, options: argparse.Namespace) -> dict[str, object]:
    """One DiffFile call against another commit."""
    source = Source(connection)
    new = CommitRef(options.repo.project, options.repo.repo, BRANCH)
    old = CommitRef(options.repo.project, options.repo.repo, options.against)
    began = time.perf_counter()
    found = len(source.diff(new, old))
    return {"seconds": time.perf_counter() - began, "files": found}


def _list(connection: Connection, options: argparse.Namespace) -> dict[str, object]:
    """WalkFile over everything, its answers counted as they are."""
    ref = CommitRef(options.repo.project, options.repo.repo, BRANCH)
    walk = connection.raw_stream("WalkFile", pfs_pb2.WalkFileRequest.SerializeToString)
    began = time.perf_counter()
    count = sum(1 for _ in walk(pfs_pb2.WalkFileRequest(file=ref.file("/"))))
    return {"seconds": time.perf_counter() - began, "files": count}


def _put(connection: Connection, options: argparse.Namespace) -> dict[str, object]:
    """A data set, or a change of one, as a commit: the bytes are at hand before the clock starts."""
    name, count, size, is_text = options.shape.split(":")
    data_set = DataSet(name, "", int(count), int(size), is_text == "text")
    kind, _, number = options.change.partition(":")
    if kind == "all" and options.lazy:
        streams = [data_set.files(at, options.streams) for at in range(options.streams)]
        return _written(connection, options, streams)
    if kind == "all":
        files = list(data_set.files())
    else:
        files = [data_set.changed(int(number)) if kind == "changed" else data_set.inserted(int(number))]
    return _written(
        connection, options, [iter(files[at :: options.streams]) for at in range(options.streams)]
    )


def _history(connection: Connection, options: argparse.Namespace) -> dict[str, object]:
    """Repos of many small commits: each puts one file of ten, the first all."""
    target = Target(connection)
    project, repo = options.repo.project, options.repo.repo
    target.ensure_project(project)
    began = time.perf_counter()
    for number in range(options.repos):
        name = f"{repo}-{number}"
        target.ensure_repo(project, name)
        parent: str | None = None
        for commit in range(options.commits):
            parent = target.start(project, name, BRANCH, parent=parent, description=f"commit {commit}")
            files = range(10) if commit == 0 else [commit % 10]
            put = [(f"/{each}", f"{name} {commit} {each}\n".encode()) for each in files]
            target.change(CommitRef(project, name, parent), put=put)
            target.finish(CommitRef(project, name, parent))
    return {"seconds": time.perf_counter() - began}


def _put_folder(connection: Connection, options: argparse.Namespace) -> dict[str, object]:
    """A folder's files as a commit, read on the way, as a recursive put does."""
    root: Path = options.folder
    paths = sorted(path for path in root.rglob("*") if path.is_file())

    def files(chosen: Iterable[Path]) -> Iterator[tuple[str, Iterable[bytes]]]:
        for path in chosen:
            with path.open("rb") as file:
                yield "/" + str(path.relative_to(root)), iter(lambda: file.read(_PIECE), b"")

    streams = [files(paths[at :: options.streams]) for at in range(options.streams)]
    return _written(connection, options, streams)


def _written(
    connection: Connection,
    options: argparse.Namespace,
    streams: Sequence[Iterator[tuple[str, Iterable[bytes]]]],
) -> dict[str, object]:
    """Parallel ModifyFile streams into one commit, until it is finished."""
    project, repo = options.repo.project, options.repo.repo
    target, source = Target(connection), Source(connection)
    target.ensure_project(project)
    target.ensure_repo(project, repo)
    heads = [each.head for each in source.branches(options.repo) if each.name == BRANCH]
    began = time.perf_counter()
    commit = target.start(project, repo, BRANCH, parent=heads[0] if heads else None, description="")
    ref = CommitRef(project, repo, commit)
    modify = connection.channel.stream_unary(
        "/pfs_v2.API/ModifyFile", request_serializer=bytes, response_deserializer=bytes
    )
    failures: list[BaseException] = []

    def send(files: Iterator[tuple[str, Iterable[bytes]]]) -> None:
        try:
            modify(_messages(ref, files, is_new=not heads))
        except BaseException as error:  # noqa: BLE001  (told by the thread that waits)
            failures.append(error)

    threads = [threading.Thread(target=send, args=(files,)) for files in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    target.finish(ref)
    source.commit(ref, wait=True)
    return {"seconds": time.perf_counter() - began, "commit": commit}


def _messages(
    ref: CommitRef, files: Iterator[tuple[str, Iterable[bytes]]], *, is_new: bool
) -> Iterator[bytes]:
    yield pfs_pb2.ModifyFileRequest(set_commit=ref.message).SerializeToString()
    for path, pieces in files:
        name = _field(1, path.encode())
        if not is_new:  # an add appends: to replace is to delete, then to add
            yield _field(3, name)
        for piece in pieces:
            yield _field(2, name + _field(3, _field(1, piece)))


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    length, digits = len(value), bytearray([number << 3 | 2])
    while length > 0x7F:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    digits.append(length)
    return bytes(digits) + value


def _age() -> float:
    """Seconds since this process began."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _tar(connection: Connection, repo: RepoName) -> Iterator[memoryview]:
    ref = CommitRef(repo.project, repo.repo, BRANCH)
    request = pfs_pb2.GetFileRequest(file=ref.file("/"))
    call = connection.raw_stream("GetFileTAR", pfs_pb2.GetFileRequest.SerializeToString)
    return map(codec.bytes_value, call(request))


_DOES = {
    "stream": _stream,
    "cat": _cat,
    "diff": _diff,
    "list": _list,
    "put": _put,
    "history": _history,
    "put-folder": _put_folder,
}

if __name__ == "__main__":
    main()

"""What a killed server leaves, and what many clients at once do to each other: nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from pfs_server import FINISHED, OPTIONS, Pfs, delete, put, serving
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc

from embedded_pachyderm.pfs.metadata import database, garbage_collection

SERVER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from pfs_server import serving
with serving(Path(sys.argv[1])) as pfs:
    print(pfs.target, flush=True)
    time.sleep(600)
"""


@contextmanager
def killable(state: Path) -> Iterator[tuple[Pfs, subprocess.Popen[str]]]:
    """A server in a process of its own."""
    command = [sys.executable, "-c", SERVER, str(state), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        target = process.stdout.readline().strip()
        try:
            with grpc.insecure_channel(target, options=OPTIONS) as channel:
                yield Pfs(pfs_pb2_grpc.APIStub(channel), channel, state, target), process
        finally:
            process.kill()


def write_until_killed(pfs: Pfs, repo: Any, number: int, finished: dict[str, bytes]) -> None:
    """One commit after another; what was told to be finished is noted, with what it holds."""
    random_bytes = random.Random(number)
    try:
        while True:
            data = random_bytes.randbytes(random_bytes.choice([10, 100_000, 3_000_000]))
            commit = pfs.commit(repo, delete("/f"), put("/f", data), put("/log", b"."))
            finished[commit.id] = data
    except grpc.RpcError:
        return


def test_finished_commits_survive_a_kill_and_open_ones_stay_open(tmp_path: Path) -> None:
    finished: list[dict[str, bytes]] = [{}, {}, {}]
    with killable(tmp_path) as (pfs, process):
        repos = [pfs.repo(f"r{number}") for number in range(3)]
        waiting = pfs.start(pfs.repo("open"))
        pfs.modify(waiting, put("/kept", b"written"))
        writers = [
            threading.Thread(target=write_until_killed, args=(pfs, repo, number, finished[number]))
            for number, repo in enumerate(repos)
        ]
        for writer in writers:
            writer.start()
        deadline = time.monotonic() + 30
        while min(map(len, finished)) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        for writer in writers:
            writer.join()
    assert min(map(len, finished)) >= 5
    with serving(tmp_path) as pfs:
        for repo, contents in zip(repos, finished, strict=True):
            for commit_id, data in contents.items():
                commit = pfs_pb2.Commit(repo=repo, id=commit_id)
                assert pfs.inspect(commit).HasField("finished")
                assert pfs.read(commit, "/f") == data
            head = pfs.inspect(pfs.head(repo))
            if not head.HasField("finishing"):
                pfs.finish(head.commit)
            pfs.inspect(head.commit, wait=FINISHED)
            after = pfs.commit(repo, put("/after"))
            assert len(pfs.read(after, "/log")) >= len(contents)
        assert not pfs.inspect(waiting).HasField("finishing")
        assert pfs.read(waiting, "/kept") == b"written"
        pfs.finish(waiting)


def test_a_commit_closed_before_a_kill_is_finished_after_it(tmp_path: Path) -> None:
    with serving(tmp_path) as pfs:
        repo = pfs.repo("r")
        commit = pfs.start(repo)
        pfs.modify(commit, put("/a"))
    unfinished = database.Database(tmp_path / "pfs.sqlite")
    with unfinished.write() as transaction:
        transaction.sql.execute('UPDATE "commit" SET finishing = started')
    unfinished.close()
    with serving(tmp_path) as pfs:
        assert pfs.inspect(commit, wait=FINISHED).details.size_bytes == 1


def test_content_that_nothing_names_goes_when_the_server_starts(tmp_path: Path) -> None:
    data = bytes(1 << 20)
    with serving(tmp_path) as pfs:
        repo = pfs.repo("r")
        pfs.commit(repo, put("/a", data))
        pfs.stub.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo))
    with serving(tmp_path) as pfs:
        assert list((tmp_path / "segments").glob("*.seg")) == []
        kept = pfs.commit(pfs.repo("r"), put("/a", data))
    with serving(tmp_path) as pfs:
        assert pfs.read(kept, "/a") == data


def test_sweeping_keeps_what_commits_and_file_sets_name(tmp_path: Path) -> None:
    with serving(tmp_path) as pfs:
        repo = pfs.repo("r")
        first, last = pfs.commit(repo, put("/a")), pfs.commit(repo, put("/b"))
        file_set = pfs.total(first)
        pfs.stub.SquashCommitSet(pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=first.id)))
        own = database.Database(tmp_path / "pfs.sqlite")
        garbage_collection.drop_garbage(own)
        own.close()
    with serving(tmp_path) as pfs:
        assert pfs.paths(last) == ["/", "/a", "/b"]
        copy = pfs.start(pfs.repo("copy"))
        pfs.add(copy, file_set)
        pfs.finish(copy)
        assert pfs.paths(copy) == ["/", "/a"]


def test_many_writers_and_readers_at_once(pfs: Pfs) -> None:
    shared = pfs.repo("shared")
    commit = pfs.start(shared)

    def work(number: int) -> bool:
        repo = pfs.repo(f"r{number}")
        for step in range(5):
            own = pfs.commit(repo, put(f"/{number}/{step}", b"%d" % step))
            pfs.modify(commit, put(f"/{number}/{step}", b"%d" % step))
            assert pfs.read(own, f"/{number}/{step}") == b"%d" % step
        return len(pfs.paths(own)) == 7

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(16)))
    pfs.finish(commit)
    assert len(pfs.paths(commit)) == 1 + 16 * 6


def test_a_long_line_of_small_commits_stays_whole(pfs: Pfs) -> None:
    count = 250
    repo = pfs.repo("r")
    pfs.commit(repo, *(put(f"/base/{n}") for n in range(50)))
    for number in range(count):
        last = pfs.start(repo)
        pfs.modify(last, put(f"/n{number}"), put("/log", b"."), delete(f"/base/{number}"))
        pfs.stub.FinishCommit(pfs_pb2.FinishCommitRequest(commit=last))
    info = pfs.inspect(last, wait=FINISHED)
    assert len(pfs.read(last, "/log")) == count
    assert len(pfs.paths(last)) == 1 + count + 1
    assert info.details.size_bytes == 2 * count


def test_the_state_is_nobody_elses_to_read(tmp_path: Path) -> None:
    with serving(tmp_path) as pfs:
        pfs.commit(pfs.repo("r"), put("/a", b"secret"))
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "segments").iterdir()}
    assert modes == {0}

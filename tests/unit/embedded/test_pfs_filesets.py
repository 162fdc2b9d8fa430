"""File sets: how a commit's files get into another commit without moving."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from pfs_server import Pfs, delete, file_set_commit, put, refusal
from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.pfs.content import filesets

UNKNOWN = grpc.StatusCode.UNKNOWN


def create(pfs: Pfs, *changes: Any) -> str:
    return str(pfs.stub.CreateFileSet(iter(changes)).file_set_id)


def test_a_mirror_of_totals_and_diffs_has_the_sources_trees(pfs: Pfs) -> None:
    source, mirror = pfs.repo("source"), pfs.repo("mirror")
    first = pfs.commit(source, *(put(f"/d/f{n}", b"%d" % n) for n in range(20)))
    commits = [
        pfs.commit(source, put("/d/f1", b"appended"), delete("/d/f2"), put("/new")),
        pfs.commit(source, delete("/d/f3"), put("/d/f3", b"again"), delete("/new")),
    ]
    copy = pfs.start(mirror)
    pfs.add(copy, pfs.total(first))
    pfs.finish(copy)
    assert pfs.tree(copy) == pfs.tree(first)
    for commit in commits:
        copy = pfs.start(mirror)
        pfs.add(copy, pfs.diff(commit))
        pfs.finish(copy)
        assert pfs.tree(copy) == pfs.tree(commit)
        assert pfs.info(copy).hash == pfs.info(commit).hash


def test_several_diffs_in_one_commit_make_the_last_ones_tree(pfs: Pfs) -> None:
    source, mirror = pfs.repo("source"), pfs.repo("mirror")
    commits = [
        pfs.commit(source, put("/a", b"1"), put("/b", b"1")),
        pfs.commit(source, put("/a", b"2"), delete("/b")),
        pfs.commit(source, delete("/a"), put("/a", b"3"), put("/b", b"3")),
    ]
    copy = pfs.start(mirror)
    for commit in commits:
        pfs.add(copy, pfs.diff(commit))
    pfs.finish(copy)
    assert pfs.tree(copy) == pfs.tree(commits[-1])
    again = pfs.repo("again")
    other = pfs.start(again)
    pfs.add(other, pfs.diff(copy))
    pfs.finish(other)
    assert pfs.tree(other) == pfs.tree(copy)


def test_a_diff_added_twice_doubles_appends(pfs: Pfs) -> None:
    source, mirror = pfs.repo("source"), pfs.repo("mirror")
    commit = pfs.commit(source, put("/a", b"12"))
    copy = pfs.start(mirror)
    pfs.add(copy, pfs.diff(commit))
    pfs.add(copy, pfs.diff(commit))
    pfs.finish(copy)
    assert pfs.read(copy, "/a") == b"1212"


def test_a_total_after_deleting_everything_is_the_total(pfs: Pfs) -> None:
    source, mirror = pfs.repo("source"), pfs.repo("mirror")
    commit = pfs.commit(source, put("/a", b"1"), put("/d/b"))
    pfs.commit(mirror, put("/a", b"other"), put("/stale"))
    copy = pfs.start(mirror)
    pfs.modify(copy, delete("/"))
    pfs.add(copy, pfs.total(commit))
    pfs.finish(copy)
    assert pfs.tree(copy) == pfs.tree(commit)


def test_a_file_set_reads_like_a_commit(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    pfs.commit(repo, put("/a", b"old"), put("/b"))
    commit = pfs.commit(repo, put("/a", b"new"), delete("/b"))
    change = file_set_commit(pfs.diff(commit))
    assert pfs.paths(change) == ["/", "/a"]
    assert pfs.read(change, "/a") == b"new"
    assert pfs.info(change).size_bytes == 3
    assert pfs.paths(file_set_commit(pfs.total(commit))) == ["/", "/a"]
    assert pfs.inspect(change).HasField("finished")


def test_what_several_writers_staged_is_composed_in_order(pfs: Pfs) -> None:
    one = create(pfs, put("/a", b"1"), put("/b", b"1"))
    two = create(pfs, put("/a", b"2"), delete("/b"))
    request = pfs_pb2.ComposeFileSetRequest(file_set_ids=[one, two], ttl_seconds=60)
    composed = pfs.stub.ComposeFileSet(request).file_set_id
    assert pfs.read(file_set_commit(composed), "/a") == b"12"
    commit = pfs.start(pfs.repo("r"))
    pfs.add(commit, composed)
    pfs.finish(commit)
    assert pfs.paths(commit) == ["/", "/a"]


def test_file_sets_live_as_long_as_they_are_renewed(pfs: Pfs, monkeypatch: pytest.MonkeyPatch) -> None:
    file_set = create(pfs, put("/a"))
    now = filesets.now_ns()
    renew = pfs_pb2.RenewFileSetRequest(file_set_id=file_set, ttl_seconds=1800)
    pfs.stub.RenewFileSet(renew)
    monkeypatch.setattr(filesets, "now_ns", lambda: now + 1700 * 10**9)
    assert pfs.paths(file_set_commit(file_set)) == ["/", "/a"]
    monkeypatch.setattr(filesets, "now_ns", lambda: now + 1900 * 10**9)
    assert refusal(lambda: pfs.walk(file_set_commit(file_set)))[0] == UNKNOWN
    assert refusal(lambda: pfs.stub.RenewFileSet(renew))[0] == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("ttl_seconds", [0, 1801])
def test_a_life_is_a_second_to_half_an_hour(pfs: Pfs, ttl_seconds: int) -> None:
    renew = pfs_pb2.RenewFileSetRequest(file_set_id=create(pfs, put("/a")), ttl_seconds=ttl_seconds)
    assert "ttl" in refusal(lambda: pfs.stub.RenewFileSet(renew))[1]


def test_unknown_file_sets_are_refused(pfs: Pfs) -> None:
    unknown = uuid.uuid4().hex
    commit = pfs.start(pfs.repo("r"))
    calls: list[Callable[[], Any]] = [
        lambda: pfs.add(commit, unknown),
        lambda: pfs.walk(file_set_commit(unknown)),
        lambda: pfs.shards(unknown),
        lambda: pfs.stub.ComposeFileSet(pfs_pb2.ComposeFileSetRequest(file_set_ids=[unknown])),
    ]
    assert {refusal(call)[0] for call in calls} == {UNKNOWN}


def test_shards_cover_everything_once(pfs: Pfs) -> None:
    file_set = create(pfs, *(put(f"/f{n:02d}", b"x" * 10) for n in range(10)))
    assert pfs.shards(file_set) == [("", "")]
    assert pfs.shards(file_set, b"\x10\x04") == [("", "/f04"), ("/f04", "/f08"), ("/f08", "")]
    assert pfs.shards(file_set, b"\x18\x32") == [("", "/f05"), ("/f05", "")]
    assert pfs.shards(create(pfs)) == [("", "")]


def test_a_finished_commit_takes_no_file_set(pfs: Pfs) -> None:
    commit = pfs.commit(pfs.repo("r"), put("/a"))
    assert "already finished" in refusal(lambda: pfs.add(commit, create(pfs, put("/b"))))[1]


def test_an_unfinished_parent_hides_the_total(pfs: Pfs) -> None:
    source, out = pfs.repo("source"), pfs.repo("out")
    named = pfs_pb2.Branch(repo=source, name="master")
    pfs.commit(source, put("/a"))
    pfs.branch(out, "master", provenance=[named])
    pfs.start(source)
    assert "unfinished" in refusal(lambda: pfs.total(pfs.head(out)))[1]

"""Files: written, listed, read by path and range, compared."""

from __future__ import annotations

import io
import tarfile
from itertools import pairwise
from typing import Any

import grpc
import pytest
from pfs_server import Pfs, delete, file, put, refusal
from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.streams import BATCH_MESSAGES

NOT_FOUND, UNKNOWN = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNKNOWN
MIB = 1 << 20


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        held = ((member, archive.extractfile(member)) for member in archive)
        return {
            member.name + ("/" if member.isdir() else ""): stream.read() if stream else b""
            for member, stream in held
        }


def differences(pfs: Pfs, new: Any, old: Any | None = None, path: str = "/") -> list[tuple[str, str]]:
    request = pfs_pb2.DiffFileRequest(
        new_file=file(new, path), old_file=None if old is None else file(old, path)
    )
    return [(d.new_file.file.path, d.old_file.file.path) for d in pfs.stub.DiffFile(request)]


def test_adding_appends_and_overwriting_is_deleting_first(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    pfs.commit(repo, put("/a", b"one"), put("/b", b"one"))
    commit = pfs.commit(repo, put("/a", b"two"), delete("/b"), put("/b", b"two"), put("/b", b"!"))
    assert pfs.read(commit, "/a") == b"onetwo"
    assert pfs.read(commit, "/b") == b"two!"


def test_a_directory_is_deleted_with_what_this_write_put_there(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    pfs.commit(repo, put("/d/a"), put("/d/e/b"), put("/d2"))
    commit = pfs.commit(repo, put("/d/new"), delete("/d/"), put("/d/late"))
    assert pfs.paths(commit) == ["/", "/d/", "/d/late", "/d2"]


def test_a_write_to_a_finished_head_is_a_commit_of_its_own(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    pfs.commit(repo, put("/a"))
    pfs.modify(pfs_pb2.Commit(branch=pfs_pb2.Branch(repo=repo, name="master")), put("/b"))
    head = pfs.inspect(pfs.head(repo), wait=pfs_pb2.FINISHED)
    assert head.origin.kind == pfs_pb2.USER
    assert pfs.paths(head.commit) == ["/", "/a", "/b"]
    code, details = refusal(lambda: pfs.modify(head.commit, put("/c")))
    assert (code, "already finished" in details) == (UNKNOWN, True)


def test_copying_takes_trees_and_overwrites(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    first = pfs.commit(repo, put("/d/a", b"1"), put("/d/e/b", b"2"), put("/to/a", b"old"))
    copy = pfs_pb2.CopyFile(dst="/to", src=file(first, "/d"))
    commit = pfs.commit(repo, pfs_pb2.ModifyFileRequest(copy_file=copy))
    assert pfs.read(commit, "/to/a") == b"1"
    assert pfs.read(commit, "/to/e/b") == b"2"
    assert pfs.info(commit, "/to").hash == pfs.info(commit, "/d").hash


@pytest.mark.parametrize("path", ["/a*", "/é", "/../a", ""])
def test_illegal_paths_are_refused_and_nothing_is_written(pfs: Pfs, path: str) -> None:
    repo = pfs.repo("r")
    commit = pfs.start(repo)
    assert refusal(lambda: pfs.modify(commit, put("/a"), put(path)))[0] == UNKNOWN
    assert pfs.walk(commit) == []


def test_a_file_that_is_also_a_directory_fails_the_commit(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    commit = pfs.start(repo)
    pfs.modify(commit, put("/a"), put("/a/b"))
    assert "collision" in pfs.finish(commit).error
    assert "collision" in refusal(lambda: pfs.walk(commit))[1]
    later = pfs.commit(repo, put("/c"))
    assert pfs.paths(later) == ["/", "/c"]


def test_what_two_datums_wrote_is_told_apart(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    pfs.commit(repo, put("/a", b"1", "d1"), put("/b", b"2", "d2"))
    commit = pfs.commit(repo, delete("/a"), delete("/b", "d2"))
    assert [(f.file.path, f.file.datum) for f in pfs.walk(commit)] == [("/", ""), ("/a", "d1")]
    clash = pfs.start(repo)
    pfs.modify(clash, put("/a", b"3", "d3"))
    assert "duplicate path" in pfs.finish(clash).error


def test_clearing_empties_an_open_commit_only(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    pfs.commit(repo, put("/a"))
    commit = pfs.start(repo)
    pfs.modify(commit, put("/b"))
    pfs.stub.ClearCommit(pfs_pb2.ClearCommitRequest(commit=commit))
    pfs.finish(commit)
    assert pfs.paths(commit) == ["/", "/a"]
    assert refusal(lambda: pfs.stub.ClearCommit(pfs_pb2.ClearCommitRequest(commit=commit)))[0] == UNKNOWN


def test_failed_commits_are_skipped_when_their_children_are_read(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    pfs.commit(repo, put("/a"))
    failed = pfs.start(repo)
    pfs.modify(failed, put("/bad"))
    info = pfs.finish(failed, error="boom")
    assert (info.error, info.HasField("finished")) == ("boom", True)
    assert pfs.paths(failed) == ["/", "/a", "/bad"]
    assert pfs.paths(pfs.commit(repo, put("/b"))) == ["/", "/a", "/b"]


def test_equal_content_has_an_equal_hash_anywhere(pfs: Pfs) -> None:
    one, two = pfs.repo("one"), pfs.repo("two")
    data = bytes(range(256)) * 8192
    whole = pfs.commit(one, put("/a", data), put("/empty", b""))
    pieces = pfs.commit(two, *(put("/d/b", data[at : at + MIB]) for at in range(0, len(data), MIB)))
    appended = pfs.commit(two, put("/c", data[:5]))
    appended = pfs.commit(two, put("/c", data[5:]))
    hashes = {
        pfs.info(whole, "/a").hash,
        pfs.info(pieces, "/d/b").hash,
        pfs.info(appended, "/c").hash,
    }
    assert len(hashes) == 1
    assert hashes != {pfs.info(whole, "/empty").hash}


def test_a_directorys_hash_covers_content_not_names(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    first = pfs.commit(repo, put("/a", b"1"), put("/b", b"2"), branch="one")
    renamed = pfs.commit(repo, put("/x", b"1"), put("/y", b"2"), branch="two")
    changed = pfs.commit(repo, put("/a", b"2"), put("/b", b"1"), branch="three")
    assert pfs.info(first).hash == pfs.info(renamed).hash != pfs.info(changed).hash
    assert pfs.info(first).size_bytes == 2


def test_directories_come_before_what_is_in_them_in_path_order(pfs: Pfs) -> None:
    commit = pfs.commit(pfs.repo("r"), put("/d/a"), put("/d-x"), put("/d0"), put("/d/e/f"))
    assert pfs.paths(commit) == ["/", "/d-x", "/d/", "/d/a", "/d/e/", "/d/e/f", "/d0"]
    assert pfs.paths(commit, "/d") == ["/d/", "/d/a", "/d/e/", "/d/e/f"]
    assert pfs.paths(commit, "/d0") == ["/d0"]


def test_nothing_to_tell_is_an_empty_walk_of_the_root_and_not_found_elsewhere(pfs: Pfs) -> None:
    commit = pfs.commit(pfs.repo("r"))
    assert pfs.walk(commit) == []
    assert refusal(lambda: pfs.walk(commit, "/a"))[0] == NOT_FOUND
    assert refusal(lambda: pfs.info(commit))[0] == NOT_FOUND
    assert refusal(lambda: pfs.tar(commit))[0] == NOT_FOUND


def test_pages_go_forth_and_back(pfs: Pfs) -> None:
    commit = pfs.commit(pfs.repo("r"), *(put(f"/f{n}") for n in range(5)))
    marker = file(commit, "/f2")
    assert pfs.paths(commit, number=2) == ["/", "/f0"]
    assert pfs.paths(commit, number=2, reverse=True) == ["/f4", "/f3"]
    assert pfs.paths(commit, number=1, paginationMarker=marker) == ["/f3"]
    assert pfs.paths(commit, number=2, reverse=True, paginationMarker=marker) == ["/f1", "/f0"]
    assert refusal(lambda: pfs.walk(commit, reverse=True))[0] == UNKNOWN


def test_a_listing_has_the_children_only(pfs: Pfs) -> None:
    commit = pfs.commit(pfs.repo("r"), put("/a"), put("/d/b"), put("/d/e/f"), put("/dd"))

    def children(path: str) -> list[str]:
        request = pfs_pb2.ListFileRequest(file=file(commit, path))
        return [info.file.path for info in pfs.stub.ListFile(request)]

    assert children("/") == ["/a", "/d/", "/dd"]
    assert children("/d") == ["/d/b", "/d/e/"]
    assert children("/a") == ["/a"]
    assert children("/none") == []


def test_a_tar_has_what_matches_and_all_below(pfs: Pfs) -> None:
    commit = pfs.commit(pfs.repo("r"), put("/a", b"1"), put("/d/b", b"22"), put("/d/e/f"), put("/z", b""))
    assert members(pfs.tar(commit, "/d")) == {"/d/": b"", "/d/b": b"22", "/d/e/": b"", "/d/e/f": b"x"}
    assert members(pfs.tar(commit, "/a")) == {"/a": b"1"}
    assert list(members(pfs.tar(commit, "/"))) == ["/", "/a", "/d/", "/d/b", "/d/e/", "/d/e/f", "/z"]
    assert list(members(pfs.tar(commit, "/{a,d/b}"))) == ["/a", "/d/b"]


def test_ranges_cut_a_tree_into_disjoint_parts(pfs: Pfs) -> None:
    names = [f"/d{n % 3}/f{n}" for n in range(30)]
    commit = pfs.commit(pfs.repo("r"), *(put(name, name.encode()) for name in names))
    cuts = ["", "/d0/f3", "/d1/f1", "/d2", ""]
    paths: list[str] = []
    for lower, upper in pairwise(cuts):
        part = members(pfs.tar(commit, "/**", (lower, upper)))
        files = {path: data for path, data in part.items() if not path.endswith("/")}
        assert all(lower <= path and (not upper or path < upper) for path in files)
        assert all(data == path.encode() for path, data in files.items())
        paths += files
    assert paths == sorted(names)


def test_the_root_has_no_range_that_begins_later(pfs: Pfs) -> None:
    commit = pfs.commit(pfs.repo("r"), put("/a"), put("/b"))
    assert refusal(lambda: pfs.tar(commit, "/", ("/a", "")))[0] == NOT_FOUND


@pytest.mark.parametrize("size", [0, 1, 511, 512, MIB, 2 * MIB, 2 * MIB + 1, 9 * MIB])
def test_content_comes_back_whatever_its_size(pfs: Pfs, size: int) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    pieces = [put("/f", data[at : at + 3 * MIB]) for at in range(0, size, 3 * MIB)] or [put("/f", b"")]
    commit = pfs.commit(pfs.repo("r"), *pieces, put("/g", b"after"))
    assert members(pfs.tar(commit))["/f"] == data
    assert pfs.read(commit, "/f", offset=size // 2) == data[size // 2 :]
    assert pfs.info(commit, "/f").size_bytes == size


def test_one_file_is_read_and_nothing_else(pfs: Pfs) -> None:
    commit = pfs.commit(pfs.repo("r"), put("/a", b"1"), put("/d/b"))
    assert pfs.read(commit, "/a", offset=5) == b""
    assert refusal(lambda: pfs.read(commit, "/d"))[0] == UNKNOWN
    assert refusal(lambda: pfs.read(commit, "/{a,d/b}"))[0] == UNKNOWN
    assert refusal(lambda: pfs.read(commit, "/none"))[0] == NOT_FOUND
    assert refusal(lambda: pfs.read(commit, "/a", offset=-1))[0] == UNKNOWN


def test_a_difference_shows_what_changed_and_the_directories_above(pfs: Pfs) -> None:
    repo = pfs.repo("r")
    old = pfs.commit(repo, put("/d/same"), put("/d/gone"), put("/e/same"), put("/f"))
    new = pfs.commit(repo, delete("/d/gone"), put("/d/new", b"nn"), put("/f"))
    expected = [("/", "/"), ("/d/", "/d/"), ("", "/d/gone"), ("/d/new", ""), ("/f", "/f")]
    assert differences(pfs, new) == expected
    assert differences(pfs, new, old) == expected
    assert differences(pfs, old, new) == [(b, a) for a, b in expected]
    assert differences(pfs, new, new) == []
    assert differences(pfs, old) == [(path, "") for path in pfs.paths(old)]


def test_urls_are_neither_read_nor_written(pfs: Pfs) -> None:
    commit = pfs.start(pfs.repo("r"))
    message = pfs_pb2.ModifyFileRequest()
    message.add_file.path = "/a"
    message.add_file.url.URL = "http://127.0.0.1/"
    assert refusal(lambda: pfs.modify(commit, message))[0] == grpc.StatusCode.UNIMPLEMENTED


def test_more_files_than_a_listing_holds_at_once(pfs: Pfs) -> None:
    expected = [f"/d/{number:05d}" for number in range(2 * BATCH_MESSAGES + 1)]
    commit = pfs.commit(pfs.repo("r"), *(put(path, path.encode()) for path in expected))
    assert pfs.paths(commit) == ["/", "/d/", *expected]
    listed = pfs.stub.ListFile(pfs_pb2.ListFileRequest(file=file(commit, "/d")))
    assert [info.file.path for info in listed] == expected
    globbed = pfs.stub.GlobFile(pfs_pb2.GlobFileRequest(commit=commit, pattern="/d/*"))
    assert [info.file.path for info in globbed] == expected
    differing = pfs.stub.DiffFile(pfs_pb2.DiffFileRequest(new_file=file(commit)))
    assert [difference.new_file.file.path for difference in differing] == ["/", "/d/", *expected]
    assert pfs.read(commit, expected[-1]) == expected[-1].encode()

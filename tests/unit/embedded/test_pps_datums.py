from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm.pps.jobs import captures
from embedded_pachyderm.pps.jobs.datums import Datum, DatumInput, datum_sets, enumerate_datums


def leaf(repo: str, glob: str = "/*", name: str = "") -> Any:
    pfs = pps_pb2.PFSInput(repo=repo, name=name or repo, branch="master", glob=glob, project="p")
    return pps_pb2.Input(pfs=pfs)


def info(repo: str, path: str, content: bytes = b"hash", size: int = 1) -> Any:
    message = pfs_pb2.FileInfo(hash=content, size_bytes=size)
    message.file.path = path
    message.file.commit.repo.name = repo
    return message


def single(path: str, *, repo: str = "in", name: str = "data", **fields: Any) -> Datum:
    return Datum((DatumInput(name=name, branch="master", info=info(repo, path, **fields)),))


class Listing:
    """What globs find, by repo."""

    def __init__(self, **paths: list[str]) -> None:
        self._paths = paths

    def __call__(self, branch: Any, _pattern: str) -> Iterable[Any]:
        return [info(branch.repo.name, path) for path in self._paths[branch.repo.name]]


def test_datum_id_is_the_one_a_real_pachyderm_gives() -> None:
    assert single("/a").id == "9dc94921b1ab57948f5f9f0ce774c880d497c3436f5652132e937dbd280d2609"


def test_id_of_a_cross_is_the_one_a_real_pachyderm_gives() -> None:
    tree = pps_pb2.Input(cross=[leaf("a"), leaf("b", name="zb")])
    (datum,) = enumerate_datums(tree, Listing(a=["/x"], b=["/dir/y"]))
    assert datum.id == "35bdda87d97842796fd4e46612b729b726046a7835681682d48ab80611924f76"


def test_hash_follows_content_and_salt_while_the_id_stays() -> None:
    before, after = single("/a", content=b"1"), single("/a", content=b"2")
    assert before.id == after.id
    assert before.hash("salt") != after.hash("salt")
    assert before.hash("salt") != before.hash("pepper")


def test_datums_come_in_the_order_of_their_ids() -> None:
    datums = enumerate_datums(leaf("a"), Listing(a=[f"/{number}" for number in range(9)]))
    assert [datum.id for datum in datums] == sorted(datum.id for datum in datums)


def test_cross_combines_all_and_an_empty_member_leaves_none() -> None:
    tree = pps_pb2.Input(cross=[leaf("a"), leaf("b")])
    assert len(enumerate_datums(tree, Listing(a=["/1", "/2"], b=["/x", "/y", "/z"]))) == 6
    assert enumerate_datums(tree, Listing(a=["/1", "/2"], b=[])) == []


@pytest.mark.parametrize(
    ("number", "workers", "sizes"),
    [
        (0, 2, [1] * 10),
        (0, 1, [2] * 5),
        (4, 2, [4, 4, 2]),
    ],
)
def test_sets_have_the_size_that_the_spec_gives(number: int, workers: int, sizes: list[int]) -> None:
    datums = [single(f"/{name}") for name in range(10)]
    sets = datum_sets(datums, number, workers)
    assert [len(group) for group in sets] == sizes
    assert [datum for group in sets for datum in group] == datums


@pytest.mark.parametrize(
    ("glob", "path", "template", "expected"),
    [
        ("/(*)", "/name", "$1", "name"),
        ("/(*)", "/dir/", "$1", "dir"),
        ("/(*)/work/(*).json", "/r1/work/0001.json", "$2-$1", "0001-r1"),
        ("/(**)/x", "/a/b/x", "${1}", "a/b"),
        ("/(a|b)?/{c,d}[0-9]", "/a1/d7", "$1", "a"),
        ("/*", "/name", "$1", ""),
        ("/(*)", "/name", "fixed", "fixed"),
    ],
)
def test_join_keys_are_what_parentheses_captured(glob: str, path: str, template: str, expected: str) -> None:
    assert captures.replace(glob, path, template) == expected


def test_join_pairs_equal_keys() -> None:
    left, right = leaf("a", "/(*)"), leaf("b", "/(*)")
    left.pfs.join_on = right.pfs.join_on = "$1"
    listing = Listing(a=["/1", "/2"], b=["/2", "/3"])
    (datum,) = enumerate_datums(pps_pb2.Input(join=[left, right]), listing)
    assert [item.path for item in datum.inputs] == ["/2", "/2"]

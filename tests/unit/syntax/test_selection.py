"""One text means the same everywhere: sources, paths, snapshots, times."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from pachvault.errors import InvalidInputError, UsageError
from pachvault.format.ids import RepoName
from pachvault.syntax import selection
from pachvault.syntax.selection import Paths, SnapshotRef, SourcePattern

AT = datetime(2026, 11, 20, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pattern", "repo", "branch", "is_meant"),
    [
        ("*/*", "p/r", "master", True),
        ("p/r", "p/r", "anything", True),
        ("p/r@master", "p/r", "master", True),
        ("p/r@master", "p/r", "main", False),
        ("p/r@2024", "p/r", "2024", True),
        ("p/r", "p/rr", "master", False),
        ("p*/[rs]?", "proj/r1", "x", True),
        ("p*/[!rs]?", "proj/r1", "x", False),
        ("p/r@v*", "p/r", "v1", True),
        ("P/R", "p/r", "master", False),
    ],
)
def test_sources(pattern: str, repo: str, branch: str, is_meant: bool) -> None:
    assert SourcePattern.parse(pattern).means(RepoName.parse(repo), branch) is is_meant
    assert str(SourcePattern.parse(pattern)) == pattern


@pytest.mark.parametrize(
    "text", ["a", "a/", "/b", "a/b@", "a/b/c", "a b/c", "a/b@c@d", "", "a/b{c}", "a/b:/c", "ä/b"]
)
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"not a source: .* \(project/repo or project/repo@branch"):
        SourcePattern.parse(text)


@pytest.mark.parametrize("text", ["a/[b", "a/b@[!", "[]/b"])
def test_a_class_that_is_not_closed_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"a \[ is not closed"):
        SourcePattern.parse(text)


@pytest.mark.parametrize(
    ("pattern", "meant", "others"),
    [
        ("/2026", ["/2026", "/2026/a", "/2026/07/b"], ["/20260", "/x/2026"]),
        ("2026", ["/2026", "/2026/a"], ["/x/2026"]),
        ("/2026/", ["/2026/a"], ["/20260"]),
        ("/2026/**", ["/2026/a", "/2026/07/b"], ["/2026", "/20260/a"]),
        ("/2026/*", ["/2026/a", "/2026/07/b"], ["/2026"]),
        ("*.csv", ["/a.csv", "/d/e/b.csv", "/odd.csv/x"], ["/a.csvx"]),
        ("**/x", ["/x", "/a/x", "/a/b/x/below"], ["/ax"]),
        ("/a/**/x", ["/a/x", "/a/b/x", "/a/b/c/x"], ["/ax", "/b/a/x"]),
        ("/a/**/b/**/c", ["/a/b/c", "/a/1/b/c", "/a/b/2/c", "/a/1/b/2/c"], ["/a/c"]),
        ("/data/?", ["/data/1", "/data/1/below"], ["/data/12", "/data"]),
        ("/[ab]", ["/a", "/b/x"], ["/c"]),
        ("/", ["/a", "/a/b"], []),
        ("**", ["/a", "/a/b"], []),
    ],
)
def test_paths(pattern: str, meant: list[str], others: list[str]) -> None:
    paths = Paths.of([pattern])
    assert [path for path in [*meant, *others] if paths.has(path)] == meant


def test_no_pattern_means_all_paths() -> None:
    assert Paths.of([]).has("/whatever")


def test_a_leading_slash_may_be_left_out() -> None:
    assert Paths.of(["a/b", "*.csv", "**/x"]) == Paths.of(["/a/b", "/*.csv", "/**/x"])


def test_the_patterns_without_a_match_are_told() -> None:
    paths = Paths.of(["/a", "b", "/c/*"])
    assert paths.unmatched(["/c/d", "/a/x"]).patterns == ("/b",)
    assert paths.unmatched([]) == paths


@pytest.mark.parametrize("text", ["", "/a[", "/a/**/b/**/c/**/d/**/e/**/f"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        Paths.of([text])


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not Paths.of(["/" + "*a" * 40 + "b"]).has("/" + "a" * 1000)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("latest", SnapshotRef()),
        ("0a1b", SnapshotRef("0a1b")),
        ("20261120", SnapshotRef("20261120")),
        (20261120, SnapshotRef("20261120")),
        ("2026-11-20 08:00", SnapshotRef(at=AT)),
        ("2026-11-20T08:00:00Z", SnapshotRef(at=AT)),
        ("2026-11-20 10:00 +02:00", SnapshotRef(at=AT)),
        ("2026-11-20T08:00:00.000000+00:00", SnapshotRef(at=AT)),
        (datetime(2026, 11, 20, 8), SnapshotRef(at=AT)),  # noqa: DTZ001  (UTC unless it says otherwise)
        (datetime(2026, 11, 20, 9, tzinfo=timezone(timedelta(hours=1))), SnapshotRef(at=AT)),
    ],
)
def test_snapshots(value: object, meant: SnapshotRef) -> None:
    assert SnapshotRef.parse(value) == meant


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ab", "'ab' is too short for the id of a snapshot (4 digits or more)"),
        (24, "'24' is too short for the id of a snapshot"),
        ("2026-11-20", "2026-11-20 is a day without an hour (2026-11-20 00:00 is its beginning, "),
        (date(2026, 11, 20), "2026-11-20 is a day without an hour (2026-11-20 00:00 is its beginning, "),
        ("2026-13-20 08:00", "no such time: '2026-13-20 08:00' (month must be in 1..12)"),
        ("2026-11-20 08", "not a time: '2026-11-20 08' (a time is written 2026-11-20 08:00, in UTC unless"),
        ("yesterday", "not a snapshot: 'yesterday' (latest, an id or its first 4 or more digits"),
        ("LATEST", "not a snapshot: 'LATEST'"),
        ("", "not a snapshot: ''"),
        (True, "not a snapshot: True"),
        (None, "not a snapshot: None"),
    ],
)
def test_what_is_no_snapshot_is_refused(value: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        SnapshotRef.parse(value)
    assert str(caught.value).startswith(message)


def test_an_id_is_picked_by_its_beginning() -> None:
    ids = ["aaaa11", "aaaa22", "bbbb33"]
    assert selection.pick(ids, "bbbb", "commit", 4) == "bbbb33"
    assert selection.pick(ids, "cccc", "commit", 4) is None
    with pytest.raises(InvalidInputError, match="'aaaa' is ambiguous: it matches 2 commits: aaaa11, aaaa22"):
        selection.pick(ids, "aaaa", "commit", 4)
    with pytest.raises(InvalidInputError, match="too short"):
        selection.pick(ids, "bbb", "commit", 4)

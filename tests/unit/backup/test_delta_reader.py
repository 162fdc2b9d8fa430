"""What a delta reads: ranges that cover the unread files, and names by folder."""

from __future__ import annotations

import time

from pachvault.backup.export.delta_reader import _spans
from pachvault.backup.export.export import _throttle
from pachvault.pach.records import Change
from pachvault.pach.source import _NAMES_A_CALL, _by_folder, after

KIB = 1024


def change(path: str, size: int = 1) -> Change:
    return Change(path, size, b"new", -1, b"")


def spans(changes: list[Change], *unread: str) -> list[tuple[str, str]]:
    wanted = {changed.path: changed for changed in changes if changed.path in unread}
    return _spans(changes, wanted)


def test_nothing_unread_reads_nothing() -> None:
    assert spans([change("/a"), change("/b")]) == []
    assert spans([]) == []


def test_unread_files_next_to_each_other_are_one_range() -> None:
    changes = [change(path) for path in ("/a", "/b", "/c", "/d")]
    assert spans(changes, "/b", "/c") == [("/b", after("/c"))]


def test_a_little_known_content_is_read_past_and_much_is_not() -> None:
    little = [change("/a"), change("/b", 100 * KIB), change("/c")]
    much = [change("/a"), change("/b", 300 * KIB), change("/c")]
    assert spans(little, "/a", "/c") == [("/a", after("/c"))]
    assert spans(much, "/a", "/c") == [("/a", after("/a")), ("/c", after("/c"))]


def test_deletions_between_cost_nothing() -> None:
    changes = [change("/a"), *(change(f"/b{number}", -1) for number in range(999)), change("/c")]
    assert spans(changes, "/a", "/c") == [("/a", after("/c"))]


def test_known_files_before_the_first_and_after_the_last_are_not_read() -> None:
    changes = [change("/a", 900 * KIB), change("/b"), change("/c", 900 * KIB)]
    assert spans(changes, "/b") == [("/b", after("/b"))]


def test_names_are_asked_for_by_folder_a_bounded_number_at_a_time() -> None:
    assert list(_by_folder(["/a", "/b", "/d/x", "/d/y"])) == [("/", ["a", "b"]), ("/d/", ["x", "y"])]
    many = [f"/d/{number:04}" for number in range(2 * _NAMES_A_CALL + 1)]
    calls = list(_by_folder(many))
    assert [len(names) for _, names in calls] == [_NAMES_A_CALL, _NAMES_A_CALL, 1]
    assert [folder + name for folder, names in calls for name in names] == many


def test_a_bandwidth_is_kept() -> None:
    wait = _throttle(1_000_000)
    began = time.monotonic()
    for _ in range(10):
        wait(30_000)
    assert 0.28 <= time.monotonic() - began < 2


def test_without_a_bandwidth_nothing_waits() -> None:
    wait = _throttle(None)
    began = time.monotonic()
    wait(10**15)
    assert time.monotonic() - began < 1

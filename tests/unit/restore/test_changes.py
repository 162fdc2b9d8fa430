"""What a commit changes against another, and how a large change is cut into ranges."""

from __future__ import annotations

from pathlib import Path

import pytest

from made import TREE, Repo, back_up, new_vault
from pachvault.format.ids import RepoName
from pachvault.restore.changes import Changes, changes, in_range, ranges
from pachvault.vault.snapshots import RepoHistory

NAME = RepoName("p", "r")
TREES: list[TREE] = [
    {"/a": b"1", "/b": b"2", "/d/c": b"333"},
    {"/a": b"1", "/b": b"22", "/d/e": b""},
    {"/d/e": b"4", "/a": b"1"},
]


@pytest.fixture
def history(tmp_path: Path) -> RepoHistory:
    repo = Repo(NAME)
    for tree in TREES:
        repo.commit(tree)
    return back_up(new_vault(tmp_path), repo).repo(NAME)


def said(found: Changes) -> tuple[list[str], list[str]]:
    return found.puts["path"].to_pylist(), found.deletes


def test_a_change_turns_any_tree_into_any_other(history: RepoHistory) -> None:
    """apply(tree(old), changes(new, old)) = tree(new), for every pair."""
    commits = history.commits["commit"].to_pylist()
    for old, before in [(None, {}), *zip(commits, TREES, strict=True)]:
        for new, after in zip(commits, TREES, strict=True):
            found = changes(history, new, old)
            paths = [path for path in before if path not in found.deletes]
            put = found.puts["path"].to_pylist()
            assert set(paths) | set(put) == set(after)
            assert all(before.get(path) != after[path] for path in put)
            assert all(before[path] == after[path] for path in paths if path not in put)
            assert put == sorted(put)
            assert found.deletes == sorted(set(before) - set(after))
            assert found.bytes == sum(len(after[path]) for path in put)


def test_only_chosen_paths_are_changed(history: RepoHistory) -> None:
    _, second, third = history.commits["commit"].to_pylist()
    assert said(changes(history, second, None, ["/d/*"])) == (["/d/e"], [])
    assert said(changes(history, third, second, ["/b", "/**/e"])) == (["/d/e"], ["/b"])
    assert said(changes(history, third, second, ["/none"])) == ([], [])


def test_ranges_hold_every_path_once_and_are_open_at_both_ends(history: RepoHistory) -> None:
    first = history.commits["commit"].to_pylist()[0]
    whole = changes(history, first, None)
    for size in (1, 2, 3, 100):
        cuts = ranges(whole, size)
        assert (cuts[0][0], cuts[-1][1]) == ("", "")
        assert sum(each for _, _, each in cuts) == whole.bytes
        parts = [in_range(whole, lower, upper) for lower, upper, _ in cuts]
        assert [path for part in parts for path in part.puts["path"].to_pylist()] == ["/a", "/b", "/d/c"]
        assert [part.bytes for part in parts] == [each for _, _, each in cuts]


def test_deletions_go_with_the_range_they_are_in(history: RepoHistory) -> None:
    _, second, third = history.commits["commit"].to_pylist()
    found = changes(history, third, second)
    assert found.deletes == ["/b"]
    assert in_range(found, "", "/c").deletes == ["/b"]
    assert in_range(found, "/c", "").deletes == []

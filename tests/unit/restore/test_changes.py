"""What a commit changes against another, and how a large change is cut into spans."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from made import TREE, Repo, back_up, new_vault
from pachvault.format import table
from pachvault.format.ids import RepoName, digest
from pachvault.restore.changes import Changes, Span, between, changes, part_of, spans
from pachvault.vault.repo_history import RepoHistory

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


def said(result: Changes) -> tuple[list[str], list[str]]:
    return result.puts["path"].to_pylist(), result.deletes


def test_a_change_turns_any_tree_into_any_other(history: RepoHistory) -> None:
    """apply(tree(old), changes(new, old)) = tree(new), for every pair."""
    commits = history.commits["commit"].to_pylist()
    for old, before in [(None, {}), *zip(commits, TREES, strict=True)]:
        for new, after in zip(commits, TREES, strict=True):
            result = changes(history, new, old)
            paths = [path for path in before if path not in result.deletes]
            put = result.puts["path"].to_pylist()
            assert set(paths) | set(put) == set(after)
            assert all(before.get(path) != after[path] for path in put)
            assert all(before[path] == after[path] for path in paths if path not in put)
            assert put == sorted(put)
            assert result.deletes == sorted(set(before) - set(after))
            assert result.bytes == sum(len(after[path]) for path in put)


def test_only_chosen_paths_are_changed(history: RepoHistory) -> None:
    _, second, third = history.commits["commit"].to_pylist()
    assert said(changes(history, second, None, ["/d/*"])) == (["/d/e"], [])
    assert said(changes(history, third, second, ["/b", "/**/e"])) == (["/d/e"], ["/b"])
    assert said(changes(history, third, second, ["/none"])) == ([], [])


def test_spans_hold_every_path_once_and_are_open_at_both_ends(history: RepoHistory) -> None:
    first = history.commits["commit"].to_pylist()[0]
    whole = changes(history, first, None)
    for size in (1, 2, 3, 100):
        cuts = spans(whole, size)
        assert (cuts[0].lower, cuts[-1].upper) == ("", "")
        assert sum(cut.size_bytes for cut in cuts) == whole.bytes
        parts = [part_of(whole, cut) for cut in cuts]
        assert [path for part in parts for path in part.puts["path"].to_pylist()] == ["/a", "/b", "/d/c"]
        assert [part.bytes for part in parts] == [cut.size_bytes for cut in cuts]


def test_deletions_go_with_the_span_they_are_in(history: RepoHistory) -> None:
    _, second, third = history.commits["commit"].to_pylist()
    result = changes(history, third, second)
    assert result.deletes == ["/b"]
    assert part_of(result, Span("", "/c", 0)).deletes == ["/b"]
    assert part_of(result, Span("/c", "", 0)).deletes == []


def made(*files: tuple[str, int]) -> pa.Table:
    """Rows of files of so many blobs, ten bytes each; 0: an empty file."""
    rows = []
    for path, count in files:
        blobs = [digest(f"{path}{number}".encode()) for number in range(count)]
        many = blobs if count > 1 else None
        rows.append({"repo": "p/r", "commit": "c", "path": path, "kind": table.FILE, "size": 10 * count,
                     "digest": digest(path.encode()), "blobs": many, "pfs_hash": None})  # fmt: skip
    return pa.Table.from_pylist(rows, schema=table.FILES)


@pytest.mark.parametrize("seed", range(30))
def test_a_large_file_is_cut_between_its_blobs(seed: int) -> None:
    """The parts are the change: every blob once and in order; only a file's first part replaces it."""
    dice = random.Random(seed)
    files = [(f"/{number:02}", dice.choice([0, 1, 1, 2, 7, 40])) for number in range(12)]
    result = Changes(made(*files), [*(f"/{number:02}" for number in range(12, 15)), "/00x"])
    size = dice.choice([10, 25, 100, 1000])
    blobs: dict[str, list[bytes]] = {}
    deletes: list[str] = []
    cuts = spans(result, size)
    for cut in cuts:
        part = part_of(result, cut)
        deletes += part.deletes
        for row in part.puts.to_pylist():
            assert (row["path"] in blobs) == part.is_added
            blobs.setdefault(row["path"], []).extend(row["blobs"] or [row["digest"]])
    whole = {row["path"]: row["blobs"] or [row["digest"]] for row in result.puts.to_pylist()}
    assert blobs == whole
    assert sorted(deletes) == sorted(result.deletes)
    assert sum(cut.size_bytes for cut in cuts) == result.bytes
    assert all(cut.size_bytes <= 2 * size + 10 for cut in cuts)


def test_trees_of_many_files_are_compared_as_columns() -> None:
    old = made(*((f"/{number:06}", 1) for number in range(30_000)))
    new = made(*((f"/{number:06}", 1 + (number == 17_000)) for number in range(10, 30_010)))
    changed = new["path"].to_pylist().index("/017000")
    new = new.set_column(5, "digest", pa.array(
        [b"\1" * 32 if row == changed else name for row, name in enumerate(new["digest"].to_pylist())],
        table.DIGEST,
    ))  # fmt: skip
    result = between(old, new)
    assert result.deletes == [f"/{number:06}" for number in range(10)]
    assert result.puts["path"].to_pylist() == [
        "/017000",
        *(f"/{number:06}" for number in range(30_000, 30_010)),
    ]

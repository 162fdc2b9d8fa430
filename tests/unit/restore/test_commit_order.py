"""Which commits are replayed, in what order, and what each one's change is a change of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest

from pachvault.errors import CorruptError, UsageError
from pachvault.format import table
from pachvault.format.ids import RepoName
from pachvault.request import Extent
from pachvault.restore.plan.commit_order import full_id, line, newest_in, rows_of, steps_to
from pachvault.vault.repo_history import RepoHistory


def rows(*commits: tuple[str, str | None, str]) -> dict[str, dict[str, Any]]:
    return {
        commit: {
            "parent": parent,
            "origin": "user",
            "error": error,
            "description": "",
            "started": None,
            "finished": None,
            "size": 0,
            "metadata": None,
            "created_by": None,
        }
        for commit, parent, error in commits
    }


# the child comes first, as it may where a parent was backed up later
LINE = rows(
    ("e5", "d4", ""), ("a1", None, ""), ("b2", "a1", "failed"), ("c3", "b2", "failed"), ("d4", "c3", "")
)


def test_each_step_comes_after_its_parent() -> None:
    steps = steps_to(LINE, set(LINE))
    assert [step.old.id for step in steps] == ["a1", "b2", "c3", "d4", "e5"]
    assert [step.old.parent for step in steps] == [None, "a1", "b2", "c3", "d4"]


def test_a_change_is_one_of_the_nearest_ancestor_that_did_not_fail() -> None:
    assert {step.old.id: step.content_parent for step in steps_to(LINE, set(LINE))} == {
        "a1": None, "b2": "a1", "c3": "a1", "d4": "a1", "e5": "d4",
    }  # fmt: skip
    assert {step.old.id: step.content_parent for step in steps_to(LINE, {"c3", "d4"})} == {
        "c3": None,
        "d4": None,
    }


@pytest.mark.parametrize(
    ("extent", "expected"),
    [
        (Extent(), {"a1", "b2", "c3", "d4", "e5"}),
        (Extent(last=1), {"e5"}),
        (Extent(last=2), {"d4", "e5"}),
        (Extent(first="c3"), {"c3", "d4", "e5"}),
    ],
)
def test_an_extent_ends_a_line(extent: Extent, expected: set[str]) -> None:
    assert line(LINE, "e5", extent) == expected


def test_the_newest_must_be_on_the_line() -> None:
    assert newest_in(LINE, "e5", Extent(newest="c3")) == "c3"
    assert newest_in(LINE, "e5", Extent()) == "e5"
    with pytest.raises(UsageError, match="no ancestor"):
        newest_in(LINE, "c3", Extent(newest="e5"))
    with pytest.raises(UsageError, match="no ancestor"):
        line(LINE, "c3", Extent(first="e5"))


def test_an_id_must_mean_one_commit() -> None:
    twins = rows(("abcdef1", None, ""), ("abcdef2", "abcdef1", ""), ("bcdef01", None, ""))
    assert full_id(twins, "abcdef2") == "abcdef2"
    assert full_id(twins, "bcdef0") == "bcdef01"
    for reference, message in (
        ("abcdef", "is ambiguous: it matches 2 commits"),
        ("ffffff", "no commit"),
        ("bcde", "too short"),
    ):
        with pytest.raises(UsageError, match=message):
            full_id(twins, reference)


@pytest.mark.parametrize(
    "parents", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "c", "b": "a", "c": "b"}], ids=str
)
def test_commits_that_are_their_own_ancestors_are_damage(parents: dict[str, str]) -> None:
    forged = [{"commit": commit, "parent": parent, "listed": True} for commit, parent in parents.items()]
    commits = pa.Table.from_pylist(forged, schema=table.COMMITS)
    history = cast("RepoHistory", SimpleNamespace(name=RepoName("p", "r"), commits=commits))
    with pytest.raises(CorruptError, match="ancestor"):
        rows_of(history)

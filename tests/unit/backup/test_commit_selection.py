"""Which commits are chosen, in which order, and what they are deltas on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pachvault.backup.freeze.commit_selection import (
    chosen_commits,
    finished_head,
    parents_first,
    settled,
    usable_base,
)
from pachvault.pach.records import BranchInfo, CommitInfo
from pachvault.policy import History

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def commit(
    number: int, parent: int | None = None, *, days: float = 0, is_open: bool = False, error: str = ""
) -> CommitInfo:
    started_at = NOW - timedelta(days=days)
    return CommitInfo(
        id=f"c{number}",
        parent=None if parent is None else f"c{parent}",
        origin="user",
        started_at=started_at,
        finished_at=None if is_open else started_at,
        description="",
        error=error,
        size_bytes=0,
    )


def by_id(*commits: CommitInfo) -> dict[str, CommitInfo]:
    return {info.id: info for info in commits}


LINE = by_id(commit(0, days=40), commit(1, 0, days=30), commit(2, 1, days=20), commit(3, 2, days=10))


def ids(commits: list[CommitInfo]) -> list[str]:
    return [info.id for info in commits]


def test_an_open_head_waits_for_the_next_run() -> None:
    commits = LINE | by_id(commit(4, 3, is_open=True), commit(5, 4, is_open=True))
    assert finished_head(commits, "c5") == "c3"
    assert finished_head(commits, "c3") == "c3"
    assert finished_head(by_id(commit(0, is_open=True)), "c0") is None
    assert finished_head({}, "") is None
    assert finished_head({}, "unknown") is None


def test_history_all_heads_last_and_since() -> None:
    assert ids(chosen_commits(LINE, ["c3"], History(), NOW)) == ["c0", "c1", "c2", "c3"]
    assert ids(chosen_commits(LINE, ["c3"], History(newest=1), NOW)) == ["c3"]
    assert ids(chosen_commits(LINE, ["c3"], History(newest=2), NOW)) == ["c2", "c3"]
    assert ids(chosen_commits(LINE, ["c3"], History(newest=99), NOW)) == ["c0", "c1", "c2", "c3"]
    assert ids(chosen_commits(LINE, ["c3"], History(within=timedelta(days=25)), NOW)) == ["c2", "c3"]


def test_a_head_is_chosen_however_old_it_is() -> None:
    assert ids(chosen_commits(LINE, ["c3", "c0"], History(within=timedelta(days=1)), NOW)) == ["c0", "c3"]


def test_a_bound_counts_for_each_branch_by_itself() -> None:
    commits = LINE | by_id(commit(8, 1, days=15), commit(9, 8, days=5))
    assert set(ids(chosen_commits(commits, ["c3", "c9"], History(newest=3), NOW))) == {
        "c1",
        "c2",
        "c3",
        "c8",
        "c9",
    }
    assert set(ids(chosen_commits(commits, ["c1", "c3"], History(newest=2), NOW))) == {"c0", "c1", "c2", "c3"}


def test_an_ancestor_that_is_gone_ends_the_walk() -> None:
    assert ids(chosen_commits(by_id(commit(7, 6)), ["c7"], History(), NOW)) == ["c7"]
    assert chosen_commits({}, ["c7"], History(), NOW) == []


def test_parents_come_first_even_where_clocks_say_otherwise() -> None:
    commits = by_id(commit(0, days=1), commit(1, 0, days=5), commit(2, 1, days=9))
    assert ids(parents_first(commits)) == ["c0", "c1", "c2"]


def test_the_nearest_stored_ancestor_that_did_not_fail_is_the_base() -> None:
    commits = LINE | by_id(commit(2, 1, error="failed"))
    assert usable_base(commits["c3"], commits, {"c0", "c1", "c2"}, None) == "c1"
    assert usable_base(commits["c3"], commits, {"c0"}, "old-head") == "c0"
    assert usable_base(commits["c3"], commits, set(), "old-head") == "old-head"
    assert usable_base(commits["c0"], commits, {"c3"}, None) is None
    assert usable_base(commit(9, 8), by_id(commit(9, 8)), {"c8"}, None) is None


def test_a_base_is_looked_for_beyond_commits_that_are_not_stored() -> None:
    assert usable_base(LINE["c3"], LINE, {"c0"}, None) == "c0"


def test_listings_agree_where_names_and_heads_do() -> None:
    one = BranchInfo("master", "c1", (), None)
    assert settled([one], [BranchInfo("master", "c1", ("p/x@y",), None)])
    assert not settled([one], [BranchInfo("master", "c2", (), None)])
    assert not settled([one], [])
    assert not settled([one], [BranchInfo("other", "c1", (), None)])

"""Choosing commits, splitting work, and the ranges that a delta reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pachvault.backup.backup_messages import CommitPlace, ExportShare, Item
from pachvault.backup.export.delta_reader import _BRIDGE_BYTES, _spans
from pachvault.backup.freeze.backup_plan import SHARE_BYTES, SHARE_ITEMS, split
from pachvault.backup.freeze.commit_selection import (
    chosen_commits,
    finished_head,
    parents_first,
    usable_base,
)
from pachvault.pach.records import Change, CommitInfo
from pachvault.pach.source import _by_folder
from pachvault.policy import History

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@st.composite
def dags(draw: st.DrawFn) -> dict[str, CommitInfo]:
    """Commits whose parents come before them, in time too; some gone, some open, some failed."""
    commits: dict[str, CommitInfo] = {}
    for number in range(draw(st.integers(0, 14))):
        parent = draw(st.none() | st.integers(0, number - 1)) if number else None
        started_at = NOW - timedelta(hours=100 - number)
        is_open = draw(st.integers(0, 5)) == 0
        commits[f"c{number}"] = CommitInfo(
            id=f"c{number}",
            parent=None if parent is None else f"c{parent}",
            origin="user",
            started_at=started_at,
            finished_at=None if is_open else started_at,
            description="",
            error=draw(st.sampled_from(["", "", "failed"])),
            size_bytes=0,
        )
    for gone in draw(st.sets(st.sampled_from(sorted(commits)), max_size=2)) if commits else ():
        del commits[gone]
    return commits


def line(commits: dict[str, CommitInfo], head: str | None) -> list[CommitInfo]:
    """A head and its ancestors, newest first, as far as they are known."""
    ancestors = []
    while head is not None and head in commits:
        ancestors.append(commits[head])
        head = commits[head].parent
    return ancestors


HISTORIES = st.builds(
    History,
    newest=st.none() | st.integers(1, 5),
    within=st.none() | st.integers(1, 100).map(lambda hours: timedelta(hours=hours)),
)


@given(dags(), st.data(), HISTORIES)
def test_chosen_are_the_newest_of_each_line(
    commits: dict[str, CommitInfo], data: st.DataObject, history: History
) -> None:
    """Of each branch the head, and what passes both bounds; each commit once, parents first."""
    heads = data.draw(st.lists(st.sampled_from(sorted(commits)), max_size=4)) if commits else []
    expected: set[str] = set()
    for head in heads:
        mine = line(commits, head)
        young = [
            commit
            for commit in mine
            if history.within is None
            or (commit.started_at or NOW) >= NOW - history.within
            or commit is mine[0]
        ]
        expected |= {commit.id for commit in young[: history.newest]}
    chosen = [commit.id for commit in chosen_commits(commits, heads, history, NOW)]
    assert set(chosen) == expected
    assert len(chosen) == len(expected)


@given(dags(), st.randoms())
def test_parents_come_first(commits: dict[str, CommitInfo], random: object) -> None:
    """parents_first is a topological order of exactly what it was given, whatever the order it came in."""
    names = sorted(commits)
    random.shuffle(names)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    ordered = [commit.id for commit in parents_first({name: commits[name] for name in names})]
    assert sorted(ordered) == sorted(commits)
    for at, name in enumerate(ordered):
        assert commits[name].parent not in ordered[at:]
    assert ordered == [commit.id for commit in parents_first(commits)]


@given(dags(), st.data())
def test_the_finished_head_is_the_first_finished_one_of_its_line(
    commits: dict[str, CommitInfo], data: st.DataObject
) -> None:
    """finished_head = the newest of the line that is finished."""
    head = data.draw(st.sampled_from(["", "unknown", *sorted(commits)]))
    finished = [commit.id for commit in line(commits, head) if commit.finished_at is not None]
    assert finished_head(commits, head) == (finished[0] if finished else None)


@given(dags(), st.data())
def test_a_base_is_a_stored_ancestor_that_did_not_fail(
    commits: dict[str, CommitInfo], data: st.DataObject
) -> None:
    """usable_base = the nearest such ancestor, else the fallback."""
    if not commits:
        return
    commit = commits[data.draw(st.sampled_from(sorted(commits)))]
    stored = data.draw(st.sets(st.sampled_from(sorted(commits))))
    usable = [info.id for info in line(commits, commit.parent) if info.id in stored and not info.error]
    assert usable_base(commit, commits, stored, "fallback") == (usable[0] if usable else "fallback")


SIZES = st.lists(st.integers(0, SHARE_BYTES + 5) | st.just(0), max_size=SHARE_ITEMS + 30)


@given(SIZES)
def test_splitting_keeps_every_item_in_bounded_shares(sizes: list[int]) -> None:
    """Shares concatenate to the items; none is empty but for want of items; each keeps both bounds."""
    items = [
        Item(project="p", repo="r", commit=f"c{number}",
             source=CommitPlace(project="p", repo="r", commit="c"), commit_bytes=size, expected_bytes=size)
        for number, size in enumerate(sizes)
    ]  # fmt: skip
    template = ExportShare(
        run_id="", number=0, cluster_id="c", target="t", bandwidth=None, memory=0, items=[]
    )
    shares = split(items, "run", template)
    assert [item for share in shares for item in share.items] == items
    assert [share.number for share in shares] == list(range(len(shares)))
    assert len(shares) >= 1
    for share in shares:
        assert len(share.items) <= SHARE_ITEMS
        assert share.items or not items
        assert share.expected_bytes <= SHARE_BYTES or len(share.items) == 1


CHANGES = st.lists(
    st.tuples(st.text("abcd/", min_size=1, max_size=5), st.integers(-1, 2 * _BRIDGE_BYTES), st.booleans()),
    unique_by=lambda change: change[0],
    max_size=12,
).map(sorted)


@given(CHANGES)
def test_spans_cover_what_is_unread_and_little_else(changes: list[tuple[str, int, bool]]) -> None:
    """Every unread file is in exactly one range; ranges are in order; between two unread files of one range
    lies at most the bridge."""
    all_changes = [Change("/" + path, size, b"", -1, b"") for path, size, _ in changes]
    unread = {
        change.path: change
        for change, (_, size, wanted) in zip(all_changes, changes, strict=True)
        if wanted and size > 0
    }
    spans = _spans(all_changes, unread)
    for path in unread:
        assert sum(lower <= path < upper for lower, upper in spans) == 1
    assert [bound for span in spans for bound in span] == sorted(bound for span in spans for bound in span)
    for lower, upper in spans:
        inside = [change for change in all_changes if lower <= change.path < upper]
        assert inside[0].path in unread
        assert inside[-1].path in unread
        bridged = 0
        for change in inside:
            bridged = 0 if change.path in unread else bridged + max(change.new_size, 0)
            assert bridged <= _BRIDGE_BYTES


@given(st.sets(st.text("ab/c", max_size=6)).map(lambda names: sorted("/" + name for name in names)))
def test_folders_name_every_path_once(paths: list[str]) -> None:
    """Concatenating folder and name gives back the paths, in order."""
    calls = list(_by_folder(paths))
    assert [folder + name for folder, names in calls for name in names] == paths
    assert all(folder.endswith("/") and "/" not in name for folder, names in calls for name in names)

"""The plan: what is frozen, minus what sealed snapshots reach."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from made import BEGAN, Repo, back_up, new_vault
from pachvault.backup.backup_messages import CommitPlace, ExportShare, Item, PlannedRepo
from pachvault.backup.base_lookup import SealedCommits
from pachvault.backup.freeze.backup_plan import SHARE_BYTES, SHARE_ITEMS, head_tasks, plan_repo, split
from pachvault.backup.freeze.item_plan import _ranges
from pachvault.format.ids import RepoName
from pachvault.policy import History
from pachvault.vault.snapshots import Snapshot

NAME = RepoName("p", "r")
NOW = BEGAN + timedelta(days=1)


def sealed(snapshot: Snapshot) -> SealedCommits:
    entry, history = next(iter(snapshot.repos()))
    return SealedCommits(entry.record, history)


def plan(repo: Repo, before: Snapshot | None = None, history: History | None = None) -> PlannedRepo:
    return plan_repo(repo.surveyed, history or History(), sealed(before) if before else None, NOW)


def two_commits() -> Repo:
    repo = Repo(NAME)
    repo.commit({"/a": b"1"})
    repo.commit({"/a": b"1", "/b": b"2"})
    return repo


def new_on_bases(planned: PlannedRepo) -> list[tuple[str, str | None]]:
    """The new commits, each with the one that it builds on."""
    return [(commit.id, planned.bases.get(commit.id)) for commit in planned.new]


def test_a_new_repo_is_planned_whole_each_commit_on_its_parent() -> None:
    repo = two_commits()
    planned = plan(repo)
    first, second = repo.commits
    assert new_on_bases(planned) == [
        (first, None),
        (second, first),
    ]
    assert planned.parents == {first: None, second: first}
    assert not planned.is_unchanged


def test_an_unchanged_repo_plans_nothing(tmp_path: Path) -> None:
    repo = two_commits()
    snapshot = back_up(new_vault(tmp_path), repo)
    planned = plan(repo, snapshot)
    assert planned.is_unchanged
    assert planned.new == []
    assert planned.previous == next(iter(snapshot.manifest.repos)).record


def test_only_what_is_new_is_planned_as_a_delta_on_what_is_sealed(tmp_path: Path) -> None:
    repo = two_commits()
    snapshot = back_up(new_vault(tmp_path), repo)
    old = repo.branches["master"]
    third = repo.commit({"/c": b"3"})
    planned = plan(repo, snapshot)
    assert new_on_bases(planned) == [(third, old)]
    assert head_tasks(repo.surveyed, planned) == [("master", third)]


def test_no_delta_stands_on_a_base_whose_table_is_damaged(tmp_path: Path) -> None:
    repo = two_commits()
    snapshot = back_up(new_vault(tmp_path), repo)
    third = repo.commit({"/c": b"3"})
    for file in (tmp_path / "vault" / "tables").rglob("*.parquet"):
        data = bytearray(file.read_bytes())
        if b"pfs_hash" in data:
            data[20] ^= 1
            file.write_bytes(data)
    planned = plan(repo, snapshot)
    assert new_on_bases(planned) == [(third, None)]


def test_nothing_is_made_to_depend_on_a_commit_that_could_not_be_read(tmp_path: Path) -> None:
    repo = Repo(NAME)
    first = repo.commit({"/a": b"1"})
    lost = repo.commit({"/a": b"2"})
    third = repo.commit({"/a": b"3"})
    snapshot = back_up(new_vault(tmp_path), repo, unreadable=frozenset([lost]))
    doubtful = frozenset(problem.commit for problem in snapshot.manifest.problems if problem.commit)
    assert lost in doubtful
    planned = plan_repo(repo.surveyed, History(), sealed(snapshot), NOW, frozenset([lost]))
    assert new_on_bases(planned) == [
        (lost, first),
        (third, first),
    ]


def test_a_head_that_vanished_during_the_freeze_is_told_as_missing() -> None:
    repo = two_commits()
    head = repo.branches["master"]
    del repo.commits[head]
    (branch,) = plan(repo).branches
    assert (branch.head, branch.missing) == (None, head)


def test_a_moved_head_is_a_change_without_new_commits(tmp_path: Path) -> None:
    repo = two_commits()
    snapshot = back_up(new_vault(tmp_path), repo)
    repo.branches["master"] = next(iter(repo.commits))
    planned = plan(repo, snapshot)
    assert not planned.is_unchanged
    assert planned.new == []
    assert [branch.head for branch in planned.branches] == [repo.branches["master"]]
    assert head_tasks(repo.surveyed, planned) == []


def test_a_changed_description_or_a_new_branch_is_a_change(tmp_path: Path) -> None:
    repo = two_commits()
    snapshot = back_up(new_vault(tmp_path), repo)
    assert not plan(replace(repo, description="told anew"), snapshot).is_unchanged
    assert not plan(
        replace(repo, branches=repo.branches | {"v1": repo.branches["master"]}), snapshot
    ).is_unchanged


def test_a_repo_made_again_under_its_name_is_another_repo(tmp_path: Path) -> None:
    repo = two_commits()
    snapshot = back_up(new_vault(tmp_path), repo)
    again = replace(repo, created_at=BEGAN + timedelta(hours=5))
    planned = plan(again, snapshot)
    assert planned.previous is None
    assert len(planned.new) == 2


def test_a_failed_commit_is_kept_as_failed_and_is_no_base() -> None:
    repo = Repo(NAME)
    first = repo.commit({"/a": b"1"})
    failed = repo.commit({"/a": b"wrong"}, error="it broke")
    third = repo.commit({"/a": b"1", "/b": b"2"})
    planned = plan(repo)
    by_id = {commit.id: commit for commit in planned.new}
    assert (by_id[failed].error, planned.bases.get(failed), by_id[failed].size_bytes) == ("it broke", None, 0)
    assert planned.bases[third] == first
    repo.branches["master"] = failed
    assert head_tasks(repo.surveyed, plan(repo)) == []


def test_heads_only_still_finds_its_delta_base_in_the_last_snapshot(tmp_path: Path) -> None:
    repo = Repo(NAME)
    old = repo.commit({"/a": b"1"})
    heads = History(newest=1)
    snapshot = back_up(new_vault(tmp_path), repo, history=heads)
    repo.commit({"/a": b"2"})
    head = repo.commit({"/a": b"3"})
    planned = plan(repo, snapshot, heads)
    assert new_on_bases(planned) == [(head, old)]


def test_a_branch_on_another_line_is_a_delta_on_its_own_former_head(tmp_path: Path) -> None:
    repo = Repo(NAME)
    old = repo.commit({"/a": b"1"})
    snapshot = back_up(new_vault(tmp_path), repo)
    del repo.branches["master"]
    head = repo.commit({"/z": b"9"})
    planned = plan(repo, snapshot)
    assert new_on_bases(planned) == [(head, old)]


def item(size: int, number: int = 0) -> Item:
    place = CommitPlace(project="p", repo="r", commit=f"c{number}")
    return Item(
        project="p", repo="r", commit=f"c{number}", source=place, commit_bytes=size, expected_bytes=size
    )


TEMPLATE = ExportShare(run_id="", number=0, cluster_id="c", target="t", bandwidth=None, memory=0, items=[])


def test_there_is_always_one_share() -> None:
    shares = split([], "run", TEMPLATE)
    assert [(share.number, share.run_id, share.items) for share in shares] == [(0, "run", [])]


def test_shares_are_bounded_in_bytes_and_items() -> None:
    sizes = [SHARE_BYTES // 2, SHARE_BYTES // 2, 1, 5 * SHARE_BYTES, 1]
    assert [len(share.items) for share in split([item(size) for size in sizes], "run", TEMPLATE)] == [
        2,
        1,
        1,
        1,
    ]
    many = split([item(0, number) for number in range(2 * SHARE_ITEMS + 1)], "run", TEMPLATE)
    assert [len(share.items) for share in many] == [SHARE_ITEMS, SHARE_ITEMS, 1]
    assert [share.number for share in many] == [0, 1, 2]


def test_ranges_of_an_item_cover_every_path_once() -> None:
    assert _ranges(item(9), [("", "")]) == [item(9)]
    assert _ranges(item(9), []) == [item(9)]
    parts = _ranges(item(9), [("/a", "/c"), ("/c", "/x"), ("/x", "/z")])
    assert [(part.lower, part.upper) for part in parts] == [("", "/c"), ("/c", "/x"), ("/x", "")]
    assert not any(part.is_whole for part in parts)


def test_a_shares_key_depends_on_its_work_alone() -> None:
    share = TEMPLATE.model_copy(update={"items": [item(1)]})
    later = share.model_copy(update={"run_id": "other", "number": 7})
    mirrored = item(1).model_copy(
        update={"source": CommitPlace(project="pachvault", repo="backup", commit="m")}
    )
    assert share.key("v") == later.key("v")
    assert share.key("v") == share.model_copy(update={"items": [mirrored]}).key("v")
    others = [
        share.key("w"),
        share.model_copy(update={"cluster_id": "d"}).key("v"),
        share.model_copy(update={"items": [item(1, 2)]}).key("v"),
        share.model_copy(update={"items": [item(1).model_copy(update={"lower": "/a"})]}).key("v"),
        share.model_copy(update={"items": [item(1).model_copy(update={"base": "b"})]}).key("v"),
    ]
    assert len({share.key("v"), *others}) == 6


def test_a_head_that_is_lost_is_no_base_of_itself(tmp_path: Path) -> None:
    repo = Repo(NAME)
    head = repo.commit({"/a": b"1"})
    known = replace(sealed(back_up(new_vault(tmp_path), repo)), lost=frozenset([head]))
    planned = plan_repo(repo.surveyed, History(), known, NOW)
    assert new_on_bases(planned) == [(head, None)]


def test_a_head_that_is_lost_is_no_base_of_what_the_branch_was_set_back_to(tmp_path: Path) -> None:
    """Each would be a delta on the other."""
    repo = two_commits()
    first, second = repo.commits
    repo.branches["other"] = second
    known = replace(sealed(back_up(new_vault(tmp_path), repo)), lost=frozenset([first, second]))
    repo.branches["master"] = first
    planned = plan_repo(repo.surveyed, History(), known, NOW)
    assert new_on_bases(planned) == [
        (first, None),
        (second, first),
    ]

"""The rows of a record, the segments that hold them, branches that settle, and checkpoints."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from made import TREE, Repo, back_up, new_vault, tree_of
from pachvault.backup.backup_messages import PlannedRepo
from pachvault.backup.freeze.backup_plan import plan_repo
from pachvault.backup.seal.record_writer import MAX_DEPTH, Exported, commit_rows, settle_branches
from pachvault.format.ids import RepoName, digest
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.policy import History
from pachvault.runtime.progress import Quiet
from pachvault.vault.snapshots import Snapshot

NAME = RepoName("p", "r")


def planned(repo: Repo) -> PlannedRepo:
    return plan_repo(repo.surveyed, History(), None, repo.created_at)


def sizes(tree: TREE) -> dict[str, tuple[int, bytes]]:
    return {path: (len(data), digest(data)) for path, data in sorted(tree.items())}


def assert_trees(snapshot: Snapshot, repo: Repo, every: int = 1) -> None:
    for commit, tree in [*repo.trees.items()][::-every]:
        if not repo.commits[commit].error:
            assert tree_of(snapshot, NAME, commit) == sizes(tree)


def test_a_commit_whose_bytes_do_not_add_up_is_left_out_with_its_reason() -> None:
    repo = Repo(NAME)
    first = repo.commit({"/a": b"123"})
    second = repo.commit({"/a": b"123", "/b": b"4"})
    rows, problems = commit_rows(planned(repo), None, {first: Exported(bytes=3), second: Exported(bytes=2)})
    assert [row["commit"] for row in rows] == [first]
    assert problems[0].commit == second
    assert "incomplete: 5 bytes arrived, the commit has 4" in problems[0].message


def test_a_delta_on_a_commit_that_could_not_be_read_is_left_out_too() -> None:
    repo = Repo(NAME)
    first = repo.commit({"/a": b"123"})
    second = repo.commit({"/a": b"123", "/b": b"4"})
    exported = {first: Exported(problem="no rights"), second: Exported(bytes=1)}
    rows, problems = commit_rows(planned(repo), None, exported)
    assert rows == []
    assert [problem.commit for problem in problems] == [first, second]
    assert [problem.message for problem in problems] == [
        "no rights",
        f"it is stored as a delta on {first}, which could not be read",
    ]


def test_a_commit_that_no_share_told_of_is_not_taken_for_an_empty_one() -> None:
    repo = Repo(NAME)
    repo.commit({"/a": b"123"})
    rows, problems = commit_rows(planned(repo), None, {})
    assert rows == []
    assert len(problems) == 1


def test_a_delta_that_no_share_told_of_is_left_out_though_its_size_is_that_of_its_base() -> None:
    repo = Repo(NAME)
    first = repo.commit({"/a": b"123"})
    second = repo.commit({"/a": b"456"})
    rows, problems = commit_rows(planned(repo), None, {first: Exported(bytes=3)})
    assert [row["commit"] for row in rows] == [first]
    assert [problem.commit for problem in problems] == [second]


def test_a_branch_whose_head_is_missing_settles_on_its_nearest_ancestor() -> None:
    repo = Repo(NAME)
    first = repo.commit({"/a": b"1"})
    repo.commit({"/a": b"2"})
    head = repo.commit({"/a": b"3"})
    branches, problems = settle_branches(planned(repo), [{"commit": first}])
    assert [(branch.head, branch.missing) for branch in branches] == [(first, head)]
    assert [(problem.branch, problem.kind) for problem in problems] == [("master", "head-missing")]
    branches, problems = settle_branches(planned(repo), [])
    assert [(branch.head, branch.missing) for branch in branches] == [(None, head)]
    assert "has nothing" in problems[0].message
    branches, problems = settle_branches(planned(repo), [{"commit": head}])
    assert (branches, problems) == (planned(repo).branches, [])


def test_an_unreadable_head_makes_the_snapshot_partial_and_is_read_the_next_time(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    repo.commit({"/a": b"1"})
    head = repo.commit({"/a": b"22"})
    partial = back_up(vault, repo, unreadable=frozenset([head]))
    assert partial.manifest.partial
    assert {problem.kind for problem in partial.manifest.problems} == {"unreadable", "head-missing"}
    assert partial.repo(NAME).branch("master").missing == head
    whole = back_up(vault, repo)
    assert not whole.manifest.partial
    assert_trees(whole, repo)


def test_failed_and_empty_commits_are_part_of_the_history(tmp_path: Path) -> None:
    repo = Repo(NAME)
    repo.commit({})
    repo.commit({"/a": b"1"})
    failed = repo.commit({"/a": b"wrong"}, error="it broke")
    repo.commit({"/a": b"1"})
    repo.commit({})
    snapshot = back_up(new_vault(tmp_path), repo)
    history = snapshot.repo(NAME)
    assert not snapshot.manifest.partial
    assert history.commits["commit"].to_pylist() == list(repo.commits)
    assert history.commit(failed)["error"] == "it broke"
    assert history.commit(failed)["parent"] == repo.commits[failed].parent
    assert_trees(snapshot, repo)


@pytest.mark.parametrize("step", [1, 3])
def test_segments_grow_with_the_logarithm_and_hold_every_commit(tmp_path: Path, step: int) -> None:
    """A history of n commits has about log n commit lists, which together are the history."""
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    for number in range(12):
        repo.commit({"/a": b"%d" % number})
        if number % step == 0:
            history = back_up(vault, repo).repo(NAME)
            segments = history.record.segments
            assert history.commits["commit"].to_pylist() == list(repo.commits)
            assert sum(segment.commits for segment in segments) == len(repo.commits)
            counts = [segment.commits for segment in segments]
            assert all(first > 2 * second for first, second in pairwise(counts))
            assert len(segments) <= len(repo.commits).bit_length()


def test_an_older_history_may_be_thinned_out_and_its_bases_stay(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    for number in range(6):
        repo.commit({f"/{index}": b"x" for index in range(number + 1)})
    back_up(vault, repo)
    snapshot = back_up(vault, repo, history=History(newest=2))
    history = snapshot.repo(NAME)
    listed = history.commits.filter(history.commits["listed"])["commit"].to_pylist()
    assert listed == list(repo.commits)[-2:]
    assert next(iter(snapshot.manifest.repos)).commits == 2
    assert_trees(snapshot, repo)
    again = back_up(vault, repo)
    assert again.repo(NAME).commits["listed"].to_pylist() == [True] * 6
    assert_trees(again, repo)


def test_a_long_history_is_checkpointed_and_every_tree_stays(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    repo.commit({f"/{number}": b"%d" % number for number in range(5)})
    for number in range(2 * MAX_DEPTH + 10):
        tree = dict(repo.trees[repo.branches["master"]])
        tree.pop(f"/{number % 5 + 2}", None)
        tree[f"/{number % 7}"] = b"%d" % number
        repo.commit({} if number % 40 == MAX_DEPTH % 40 else tree)
        if number in (10, MAX_DEPTH, 2 * MAX_DEPTH):
            back_up(vault, repo)
    snapshot = back_up(vault, repo)
    history = snapshot.repo(NAME)
    depths = history.commits["depth"].to_pylist()
    assert max(depths) <= MAX_DEPTH
    assert depths.count(0) >= 3
    assert [len(history.chain(commit)) - 1 for commit in repo.commits] == depths
    assert_trees(snapshot, repo, every=9)
    assert verify(vault, Level.DATA, Quiet()) == []


def test_an_empty_tree_can_be_a_checkpoint(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    for _ in range(MAX_DEPTH + 3):
        repo.commit({})
    snapshot = back_up(vault, repo)
    assert max(snapshot.repo(NAME).commits["depth"].to_pylist()) <= MAX_DEPTH
    assert_trees(snapshot, repo)


def test_branches_that_diverge_share_their_past(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    fork = repo.commit({"/a": b"1"})
    repo.commit({"/a": b"1", "/m": b"2"})
    repo.commit({"/a": b"1", "/s": b"3"}, branch="side", parent=fork)
    snapshot = back_up(vault, repo)
    assert_trees(snapshot, repo)
    assert {branch.name: branch.head for branch in snapshot.repo(NAME).record.branches} == repo.branches

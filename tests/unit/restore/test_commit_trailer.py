"""A restored commit is found again by its description, and only by the request that made it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from pachvault.cluster_project import BY_RESTORE
from pachvault.format.ids import RepoName, digest
from pachvault.pach.records import BranchInfo, CommitInfo
from pachvault.restore import commit_trailer, working_branches
from pachvault.restore.restore_messages import CommitStep

REPO = RepoName("p", "r-1_x")
REQUEST, LATER = digest(b"one").hex(), digest(b"two").hex()
OLD = "0123456789abcdef" * 2


def step(description: str = "", old: str = OLD) -> CommitStep:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    commit = CommitInfo(
        id=old, parent=None, origin="user", started_at=at, finished_at=None, description=description,
        error="", size_bytes=0,
    )  # fmt: skip
    return CommitStep(old=commit, content_parent=None)


def commit(description: str, number: int = 1) -> CommitInfo:
    return CommitInfo(
        id=f"new{number}", parent=None, origin="user", started_at=None, finished_at=None,
        description=description, error="", size_bytes=0,
    )  # fmt: skip


def found(description: str, request: str = REQUEST, repo: RepoName = REPO) -> dict[str, str]:
    return {old: new.id for old, new in commit_trailer.restored([commit(description)], request, repo).items()}


def test_a_restored_commit_is_found_by_its_request_and_repo() -> None:
    text = commit_trailer.description(REQUEST, REPO, step())
    assert found(text) == {OLD: "new1"}
    assert found(text, LATER) == {}
    assert found(text, repo=RepoName("p", "other")) == {}


def test_the_old_description_and_times_stay() -> None:
    text = commit_trailer.description(REQUEST, REPO, step("as it was\nover two lines"))
    assert text.startswith("as it was\nover two lines\n")
    assert "started 2026-01-02 03:04:05+00:00, finished unknown" in text
    assert found(text) == {OLD: "new1"}


def test_a_commit_restored_for_the_second_time_is_the_second_requests() -> None:
    first = commit_trailer.description(REQUEST, REPO, step("as it was"))
    second = commit_trailer.description(LATER, REPO, step(first))
    assert found(second, LATER) == {OLD: "new1"}
    assert found(second, REQUEST) == {}


def test_other_descriptions_and_appended_commits_are_no_restored_ones() -> None:
    assert found("restored by hand") == {}
    assert found(commit_trailer.appended(REQUEST, REPO, OLD)) == {}


def test_of_several_the_newest_counts() -> None:
    text = commit_trailer.description(REQUEST, REPO, step())
    newest_first = [commit(text, 2), commit(text, 1)]
    assert commit_trailer.restored(newest_first, REQUEST, REPO)[OLD].id == "new2"


def test_damaged_files_that_were_left_out_are_remembered() -> None:
    text = commit_trailer.description(REQUEST, REPO, step("as it was"), lost=3)
    assert found(text) == {OLD: "new1"}
    assert commit_trailer.left_out(commit(text)) == 3
    assert commit_trailer.left_out(commit(commit_trailer.description(REQUEST, REPO, step(text)))) == 0
    assert commit_trailer.left_out(commit("by hand")) == 0


def test_what_is_kept_as_differing_and_what_stands_on_it_does_not_count() -> None:
    def made(number: int, old: str, parent: int | None) -> CommitInfo:
        text = commit_trailer.description(REQUEST, REPO, step(old=old))
        return replace(commit(text, number), parent=f"new{parent}" if parent else None)

    def kept(*numbers: int, request: str = REQUEST) -> list[BranchInfo]:
        return [BranchInfo(f"{working_branches.differing(request)}{n}", f"new{n}", (), None) for n in numbers]

    def ids(commits: list[CommitInfo], branches: list[BranchInfo]) -> dict[str, str]:
        restored_commits = commit_trailer.restored(commits[::-1], REQUEST, REPO, branches)
        return {old: new.id for old, new in restored_commits.items()}

    first = [made(1, "a" * 32, None), made(2, "b" * 32, 1), made(3, "c" * 32, 2), made(4, "d" * 32, 1)]
    assert ids(first, []) == {"a" * 32: "new1", "b" * 32: "new2", "c" * 32: "new3", "d" * 32: "new4"}
    assert ids(first, kept(2)) == {"a" * 32: "new1", "d" * 32: "new4"}
    assert ids(first, kept(1)) == {}
    assert ids(first, kept(2, request=LATER)) == ids(first, [])
    again = [*first, made(5, "b" * 32, 1), made(6, "c" * 32, 5)]
    assert ids(again, kept(2)) == ids(again, [])
    assert ids(again, [])["c" * 32] == "new6"


def test_only_branches_on_which_commits_are_made_have_a_request() -> None:
    assert working_branches.request_of(working_branches.replayed(REQUEST) + OLD) == REQUEST[:12]
    for name in (
        working_branches.differing(REQUEST) + OLD,
        "master",
        "pachvault-replay-mine",
        f"x{working_branches.replayed(REQUEST)}",
    ):
        assert working_branches.request_of(name) is None


def test_what_a_restore_made_is_told_from_what_a_user_commits() -> None:
    for text in (
        commit_trailer.description(REQUEST, REPO, step()),
        commit_trailer.description(REQUEST, REPO, step("what it was for"), lost=2),
        commit_trailer.appended(REQUEST, REPO, OLD),
    ):
        assert BY_RESTORE.search(text)
    for text in ("", "restored by hand", "my policy, restored by pachvault, request unknown"):
        assert not BY_RESTORE.search(text)

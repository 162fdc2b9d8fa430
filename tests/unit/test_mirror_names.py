"""What people see of the mirror: the names of its branches, and the descriptions of its commits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pachvault.format.ids import RepoName
from pachvault.mirror import branch_of, mirror_note
from pachvault.pach.records import CommitInfo

CREATED = datetime(2026, 11, 27, 8, 0, 3, 500, tzinfo=UTC)


def test_a_mirror_branch_has_the_names_of_its_source_and_the_time_of_its_repo() -> None:
    name = branch_of(RepoName("shop", "count"), CREATED, "master")
    assert name == "shop--count--master--20261127-080003-000500"
    anew = branch_of(RepoName("shop", "count"), CREATED + timedelta(microseconds=1), "master")
    assert anew != name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a--b", "c", "d"), ("a", "b--c", "d")),
        (("a-", "b", "c"), ("a", "-b", "c")),
        (("a", "b", "x" * 200), ("a", "b", "x" * 201)),
    ],
)
def test_names_that_could_be_taken_for_others_differ(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    names = {branch_of(RepoName(project, repo), CREATED, branch) for project, repo, branch in (one, other)}
    assert len(names) == 2
    assert all(len(name) <= 120 for name in names)


@pytest.mark.parametrize("before", ["", "a/b@master as of commit c1, mirrored by pachvault\n"])
def test_the_note_of_a_mirror_commit_is_its_last_line(before: str) -> None:
    note = '{"source": "a/b", "branch": "master", "commit": "c1", "run": "r"}'
    info = CommitInfo("1", None, "user", CREATED, CREATED, f"{before}{note}", "", 0)
    assert (mirror_note(info) or {})["commit"] == "c1"
    assert mirror_note(replace(info, description="mine")) is None

"""DiffFile: what differs between two trees, worked out inside the server."""

from __future__ import annotations

from python_pachyderm.proto.v2.pfs import pfs_pb2

from .pach import Commit, Message, Pach, add, copy, delete, put, unknown_commit
from .projects import Project
from .recording import Recording, refusal


def _rows(pach: Pach, new: Commit, old: Commit | None = None, path: str = "/") -> list[list[str | None]]:
    """[path in new, path in old], either of them None."""
    return [
        [
            difference.new_file.file.path if difference.HasField("new_file") else None,
            difference.old_file.file.path if difference.HasField("old_file") else None,
        ]
        for difference in pach.diff(new, old, path)
    ]


def test_puts_deletes_and_appends(pach: Pach, repo: Message, recorded: Recording) -> None:
    old = pach.commit(
        repo,
        add("/a", b"1"),
        add("/d/x", b"1"),
        add("/d/y", b"1"),
        add("/e/f", b"1"),
        add("/same/s", b"1"),
        add("/z", b"1"),
    )
    new = pach.commit(
        repo, *put("/a", b"2"), delete("/d/x"), add("/d/y", b"more"), delete("/e/f"), add("/n/o", b"1")
    )
    rows = _rows(pach, new, old)
    assert rows == _rows(pach, new), "the parent is what one compares with, unless told"
    files = [row for row in rows if not str(row[0] or row[1]).endswith("/")]
    assert files == [["/a", "/a"], [None, "/d/x"], ["/d/y", "/d/y"], [None, "/e/f"], ["/n/o", None]]
    assert ["/same/", "/same/"] not in rows
    assert ["/d/", "/d/"] in rows, "the directories above what changed"
    recorded(rows)


def test_what_a_difference_tells(pach: Pach, repo: Message, recorded: Recording) -> None:
    old = pach.commit(repo, add("/a", b"1"))
    new = pach.commit(repo, add("/a", b"2"))
    differences = [
        [
            [
                info.file.path,
                info.size_bytes,
                info.hash.hex(),
                info.file.commit.id,
                pfs_pb2.FileType.Name(info.file_type),
            ]
            for info in (difference.new_file, difference.old_file)
        ]
        for difference in pach.diff(new, old)
    ]
    assert [row[0][:2] for row in differences] == [["/", 2], ["/a", 2]]
    assert differences[1][0][2] == pach.file(new, "/a").hash.hex()
    assert differences[1][1][3] == old.id
    recorded(differences)


def test_a_first_commit_differs_from_nothing(pach: Pach, repo: Message, recorded: Recording) -> None:
    first = pach.commit(repo, add("/d/a", b"1"), add("/b", b"2"))
    rows = _rows(pach, first)
    assert rows == [["/", None], ["/b", None], ["/d/", None], ["/d/a", None]]
    recorded(rows)


def test_equal_trees_do_not_differ(pach: Pach, repo: Message) -> None:
    first = pach.commit(repo, add("/a", b"1"))
    again = pach.commit(repo, *put("/a", b"1"))
    assert _rows(pach, first, first) == _rows(pach, again, first) == []


def test_to_and_from_an_empty_tree(pach: Pach, repo: Message, recorded: Recording) -> None:
    empty = pach.commit(repo)
    full = pach.commit(repo, add("/d/a", b"1"))
    emptied = pach.commit(repo, delete("/"))
    rows = {
        "filled": _rows(pach, full, empty),
        "emptied": _rows(pach, emptied, full),
        "both empty": _rows(pach, emptied, empty),
    }
    assert rows["filled"] == [["/", None], ["/d/", None], ["/d/a", None]]
    assert rows["emptied"] == [[None, "/"], [None, "/d/"], [None, "/d/a"]]
    assert rows["both empty"] == []
    recorded(rows)


def test_unrelated_commits_and_repos(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    other = project.repo("other")
    one = pach.commit(repo, add("/a", b"1"), add("/b", b"1"))
    branch = pach.commit(repo, add("/b", b"1"), add("/c", b"3"), branch="branch")
    two = pach.commit(other, add("/a", b"1"), add("/b", b"2"))
    rows = {
        "branch": _rows(pach, branch, one),
        "repo": _rows(pach, two, one),
        "backwards": _rows(pach, one, two),
    }
    assert rows["branch"][1:] == [[None, "/a"], ["/c", None]]
    assert ["/a", "/a"] not in rows["repo"]
    recorded(rows)


def test_what_a_directorys_hash_hides_is_told_by_its_files(
    pach: Pach, repo: Message, recorded: Recording
) -> None:
    old = pach.commit(repo, add("/d/a", b"1"), add("/d/b", b"2"))
    new = pach.commit(repo, copy(old, "/d/a", "/d/aa"), delete("/d/a"))
    assert pach.file(new, "/d").hash == pach.file(old, "/d").hash
    rows = _rows(pach, new, old)
    assert rows == [[None, "/d/a"], ["/d/aa", None]], "and its row is left out"
    recorded(rows)


def test_a_part_of_a_tree(pach: Pach, repo: Message, recorded: Recording) -> None:
    old = pach.commit(repo, add("/d/a", b"1"), add("/d/b", b"1"), add("/e/c", b"1"))
    new = pach.commit(repo, add("/d/a", b"2"), add("/e/c", b"2"))
    rows = {path: _rows(pach, new, old, path) for path in ("/d", "/d/", "/d/a", "/e")}
    assert ["/d/a", "/d/a"] in rows["/d"]
    assert ["/e/c", "/e/c"] not in rows["/d"]
    recorded(rows)


def test_the_order_of_differences(pach: Pach, repo: Message, recorded: Recording) -> None:
    old = pach.commit(repo, *(add(path, b"1") for path in ("/a/b", "/a.b", "/a0", "/a-", "/z/y/x", "/c")))
    new = pach.commit(
        repo, *(add(path, b"2") for path in ("/a/b", "/a.b", "/a0", "/z/y/x", "/b")), delete("/a-")
    )
    paths = [str(row[0] or row[1]) for row in _rows(pach, new, old)]
    assert paths == sorted(paths)
    recorded(paths)


def test_a_failed_commit_and_its_child_differ_from_their_parents(
    pach: Pach, repo: Message, recorded: Recording
) -> None:
    pach.commit(repo, add("/a", b"1"))
    failed = pach.start(repo)
    pach.modify(failed, add("/b", b"2"))
    pach.finish(failed, error="it went wrong")
    child = pach.commit(repo, add("/c", b"3"))
    rows = {"failed": _rows(pach, failed), "child": _rows(pach, child)}
    assert rows["failed"] == [["/", "/"], ["/b", None]]
    assert rows["child"] == [["/", "/"], [None, "/b"], ["/c", None]], "though /b was never inherited"
    recorded(rows)


def test_unknown_sides(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.commit(repo, add("/a", b"1"))
    unknown = unknown_commit(repo)
    answers = {
        "new": refusal(pach.diff, unknown, commit),
        "old": refusal(pach.diff, commit, unknown),
        "path": refusal(pach.diff, commit, commit, "/no"),
    }
    assert answers["new"] == answers["old"] == "NOT_FOUND: not found"
    recorded(answers)

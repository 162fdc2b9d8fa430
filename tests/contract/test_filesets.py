"""File sets: trees outside any commit, which move between repos without their data being read."""

from __future__ import annotations

import time
from typing import Any

import pytest
from python_pachyderm.proto.v2.pfs import pfs_pb2

from .pach import Commit, Message, Pach, add, delete, file_set_commit, put, unknown_commit
from .projects import Project
from .recording import Recording, refusal

_CHANGES = pytest.mark.since("2.9", "file sets of a commit's own change")


def _mirror(pach: Pach, to: Message, *file_sets: str, clear: bool = False, branch: str = "mirror") -> Commit:
    commit = pach.start(to, branch)
    if clear:
        pach.modify(commit, delete("/"))
    for file_set in file_sets:
        pach.add_file_set(commit, file_set)
    pach.finish(commit)
    return commit


def _chain(pach: Pach, repo: Message) -> list[Commit]:
    """Every kind of change: puts, deletes, appends, re-puts, a directory's delete."""
    return [
        pach.commit(repo, add("/a", b"1"), add("/d/x", b"x1"), add("/d/y", b"y1"), add("/e/f", b"f1")),
        pach.commit(repo, *put("/a", b"2"), add("/d/x", b"+"), delete("/d/y")),
        pach.commit(repo, delete("/e/"), add("/d/y", b"again"), add("/g", b"new")),
        pach.commit(repo, delete("/a"), add("/d/x", b"+"), *put("/g", b"newer")),
    ]


@_CHANGES
def test_a_diff_mirrors_a_commit_on_its_parents_mirror(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    backup = project.repo("backup")
    trees = []
    for source in _chain(pach, repo):
        mirror = _mirror(pach, backup, pach.file_set(source, diff=True))
        assert pach.tree(mirror) == pach.tree(source), "paths, sizes, hashes, the root's among them"
        assert pach.diff(mirror, source) == []
        assert pach.inspect(mirror).details.size_bytes == pach.inspect(source).details.size_bytes
        trees.append(pach.tree(mirror))
    recorded(trees)


def test_a_mirror_lives_in_another_project(pach: Pach, project: Project, repo: Message) -> None:
    elsewhere = Project.create(pach)
    try:
        source = pach.commit(repo, add("/a", b"1"))
        mirror = _mirror(pach, elsewhere.repo("backup"), pach.file_set(source, diff=True))
        pach.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo))
        assert pach.read(mirror, "/a") == b"1", "and outlives its source"
    finally:
        elsewhere.delete()


@_CHANGES
def test_several_diffs_in_order_give_the_last_ones_tree(pach: Pach, project: Project, repo: Message) -> None:
    backup = project.repo("backup")
    chain = _chain(pach, repo)
    mirror = _mirror(pach, backup, *(pach.file_set(source, diff=True) for source in chain))
    assert pach.tree(mirror) == pach.tree(chain[-1])


def test_a_diff_added_twice_doubles_what_was_appended(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    backup = project.repo("backup")
    source = pach.commit(repo, add("/a", b"one"), *put("/b", b"two"))
    file_set = pach.file_set(source, diff=True)
    mirror = _mirror(pach, backup, file_set, file_set)
    assert pach.read(mirror, "/a") == b"oneone"
    recorded([pach.read(mirror, path).decode() for path in ("/a", "/b")])


def test_clearing_an_open_mirror_takes_back_its_file_sets(
    pach: Pach, project: Project, repo: Message
) -> None:
    source = pach.commit(repo, add("/a", b"one"))
    mirror = pach.start(project.repo("backup"))
    pach.add_file_set(mirror, pach.file_set(source, diff=True))
    pach.pfs.ClearCommit(pfs_pb2.ClearCommitRequest(commit=mirror))
    pach.add_file_set(mirror, pach.file_set(source, diff=True))
    pach.finish(mirror)
    assert pach.tree(mirror) == pach.tree(source)


def test_total_after_deleting_everything_mirrors_any_commit(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    backup = project.repo("backup")
    chain = _chain(pach, repo)
    _mirror(pach, backup, pach.file_set(chain[0], diff=True))
    cleared = _mirror(pach, backup, pach.file_set(chain[2]), clear=True)
    assert pach.tree(cleared) == pach.tree(chain[2])
    not_cleared = _mirror(pach, backup, pach.file_set(chain[3]))
    assert pach.tree(not_cleared) != pach.tree(chain[3]), "without the delete, it is appended"
    recorded(pach.tree(not_cleared))


def test_a_diff_after_a_squash_is_still_the_commits_own(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    backup = project.repo("backup")
    chain = _chain(pach, repo)
    _mirror(pach, backup, pach.file_set(chain[0], diff=True))
    pach.pfs.SquashCommitSet(pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=chain[1].id)))
    assert pach.inspect(chain[2]).parent_commit.id == chain[0].id
    mirror = _mirror(pach, backup, pach.file_set(chain[2], diff=True))
    assert pach.tree(mirror) != pach.tree(chain[2]), "its parent's mirror has changed under it"
    recorded({"source": pach.paths(chain[2]), "mirror": pach.paths(mirror)})


@_CHANGES
def test_a_diff_on_a_failed_parent(pach: Pach, project: Project, repo: Message) -> None:
    first = pach.commit(repo, add("/a", b"1"))
    failed = pach.start(repo)
    pach.modify(failed, add("/b", b"2"))
    pach.finish(failed, error="it went wrong")
    child = pach.commit(repo, add("/c", b"3"))
    mirror = _mirror(
        pach, project.repo("backup"), *(pach.file_set(commit, diff=True) for commit in (first, child))
    )
    assert pach.tree(mirror) == pach.tree(child)


@_CHANGES
def test_a_file_set_is_read_like_a_commit(pach: Pach, repo: Message, recorded: Recording) -> None:
    chain = _chain(pach, repo)
    answers: dict[str, dict[str, Any]] = {}
    for name, diff in (("total", False), ("diff", True)):
        at = file_set_commit(pach.file_set(chain[1], diff=diff))
        root = pach.file(at)
        answers[name] = {
            "walk": pach.tree(at),
            "root": [root.size_bytes, root.hash.hex(), root.HasField("committed")],
            "tar": pach.tar_names(at, "/**"),
            "range": pach.tar_names(at, "/**", within=("/d/", "/e")),
            "braces": pach.tar_names(at, "/{a,d/x}"),
            "x": pach.read(at, "/d/x").decode(),
            "globbed": [
                f.file.path for f in pach.pfs.GlobFile(pfs_pb2.GlobFileRequest(commit=at, pattern="/*"))
            ],
            "against the commit": len(pach.diff(at, chain[1])),
        }
    assert answers["total"]["walk"] == pach.tree(chain[1])
    assert answers["diff"]["x"] == "+", "of an append, what was appended"
    assert [row[0] for row in answers["diff"]["walk"]] == ["/", "/a", "/d/", "/d/x"], "nothing of the delete"
    recorded(answers)


def test_an_empty_diff_is_read_like_an_empty_commit(pach: Pach, repo: Message, recorded: Recording) -> None:
    pach.commit(repo, add("/a", b"1"))
    deletes = pach.commit(repo, delete("/a"))
    at = file_set_commit(pach.file_set(deletes, diff=True))
    answers = {
        "walk": [refusal(pach.walk, at), len(pach.walk(at))],
        "tar": refusal(pach.tar, at, "/**"),
        "inspect": refusal(pach.file, at),
    }
    assert answers["tar"] == "NOT_FOUND: not found"
    recorded(answers)


def test_a_file_set_is_found_in_whatever_project(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    file_set = pach.file_set(pach.commit(repo, add("/a", b"1")))
    addresses = {
        "default": file_set_commit(file_set),
        "another project": pfs_pb2.Commit(repo=project.named("__filesets__"), id=file_set),
        "no project": pfs_pb2.Commit(repo=pfs_pb2.Repo(name="__filesets__", type="user"), id=file_set),
        "no type": pfs_pb2.Commit(
            repo=pfs_pb2.Repo(name="__filesets__", project=project.message), id=file_set
        ),
    }
    answers = {name: refusal(pach.walk, at) for name, at in addresses.items()}
    assert answers["default"] == answers["another project"] == "OK"
    recorded(answers)


def test_written_file_sets_compose_a_commit(pach: Pach, repo: Message, recorded: Recording) -> None:
    one = pach.create_file_set(add("/a", b"1"), add("/d/b", b"2"))
    two = pach.create_file_set(add("/d/c", b"3"), add("/a", b"+"))
    three = pach.create_file_set(delete("/d/b"))
    commit = pach.start(repo)
    for file_set in (one, two, three):
        pach.add_file_set(commit, file_set)
    pach.finish(commit)
    assert pach.read(commit, "/a") == b"1+"
    assert pach.paths(commit) == ["/", "/a", "/d/", "/d/c"]
    recorded(pach.tree(commit))


def test_file_sets_are_composed_and_renewed(pach: Pach, repo: Message, recorded: Recording) -> None:
    sets = [pach.create_file_set(add("/a", b"1")), pach.create_file_set(add("/b", b"2"))]
    composed = pach.pfs.ComposeFileSet(
        pfs_pb2.ComposeFileSetRequest(file_set_ids=sets, ttl_seconds=60)
    ).file_set_id
    assert pach.paths(file_set_commit(composed)) == ["/", "/a", "/b"]
    answers = {
        str(seconds): refusal(
            pach.pfs.RenewFileSet, pfs_pb2.RenewFileSetRequest(file_set_id=composed, ttl_seconds=seconds)
        )
        for seconds in (60, 600, 1800, 1801, 7200)
    }
    assert (answers["1800"], answers["1801"]) == ("OK", "UNKNOWN"), "half an hour at most"
    recorded(answers)


def test_an_expired_file_set_is_as_good_as_unknown(pach: Pach, repo: Message, recorded: Recording) -> None:
    """A real server forgets an expired one when it next looks, which may be half a minute later."""
    file_set = pach.create_file_set(add("/a", b"1"))
    renew = pfs_pb2.RenewFileSetRequest(file_set_id=file_set, ttl_seconds=1)
    assert refusal(pach.pfs.RenewFileSet, renew) == "OK"
    for seconds in (2, 40, 70):  # each renewal that comes before the server looks gives it another second
        time.sleep(seconds)
        answer = refusal(pach.pfs.RenewFileSet, renew)
        if answer != "OK":
            break
    commit = pach.start(repo)
    answers = {
        "renew": answer,
        "walk": refusal(pach.walk, file_set_commit(file_set)),
        "add": refusal(pach.add_file_set, commit, file_set),
    }
    assert answers["renew"] == "NOT_FOUND"
    assert "OK" not in answers.values()
    recorded(answers)


def test_unknown_file_sets(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.start(repo)
    unknown = "0123456789abcdef" * 2
    answers = {
        "add": refusal(pach.add_file_set, commit, unknown),
        "add nonsense": refusal(pach.add_file_set, commit, "nonsense"),
        "walk": refusal(pach.walk, file_set_commit(unknown)),
        "renew": refusal(
            pach.pfs.RenewFileSet, pfs_pb2.RenewFileSetRequest(file_set_id=unknown, ttl_seconds=60)
        ),
        "shard": refusal(pach.shards, unknown),
        "of an unknown commit": refusal(pach.file_set, unknown_commit(repo)),
        "diff of an unknown commit": refusal(pach.file_set, unknown_commit(repo), diff=True),
    }
    assert "OK" not in answers.values()
    recorded(answers)


def test_a_finished_commit_takes_no_file_set(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.commit(repo, add("/a", b"1"))
    answer = refusal(pach.add_file_set, commit, pach.create_file_set(add("/b", b"2")))
    assert answer != "OK"
    recorded(answer)


@_CHANGES
def test_a_file_set_of_an_open_commit(pach: Pach, repo: Message, recorded: Recording) -> None:
    pach.commit(repo, add("/a", b"1"))
    commit = pach.start(repo)
    pach.modify(commit, add("/b", b"2"))
    paths_of = {
        name: pach.paths(file_set_commit(pach.file_set(commit, diff=diff)))
        for name, diff in (("total", False), ("diff", True))
    }
    recorded(paths_of)
    assert paths_of == {"total": ["/", "/a", "/b"], "diff": ["/", "/b"]}


@_CHANGES
def test_the_file_sets_of_a_failed_commit(pach: Pach, repo: Message, recorded: Recording) -> None:
    pach.commit(repo, add("/a", b"1"))
    failed = pach.start(repo)
    pach.modify(failed, add("/b", b"2"))
    pach.finish(failed, error="it went wrong")
    paths_of = {
        name: pach.paths(file_set_commit(pach.file_set(failed, diff=diff)))
        for name, diff in (("total", False), ("diff", True))
    }
    assert paths_of["diff"] == ["/", "/b"]
    recorded(paths_of)


def test_a_branch_without_an_open_commit_takes_no_file_set(
    pach: Pach, repo: Message, recorded: Recording
) -> None:
    pach.commit(repo, add("/a", b"1"))
    branch = pfs_pb2.Commit(repo=repo, branch=pfs_pb2.Branch(repo=repo, name="master"))
    file_set = pach.create_file_set(add("/b", b"2"))
    answer = refusal(pach.add_file_set, branch, file_set)
    assert answer != "OK"
    recorded(answer)

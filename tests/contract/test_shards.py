"""ShardFileSet: path ranges of about a million files or a gigabyte.

The two fields that would cut finer are never sent: a real server keeps them for all later callers, and for
its own compaction, until it is restarted.
"""

from __future__ import annotations

from .pach import Message, Pach, add, file_set_commit
from .recording import Recording


def test_a_small_file_set_is_one_range_without_bounds(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.commit(repo, add("/a", b"1"), add("/b", b"2"))
    shards = {
        "total": pach.shards(pach.file_set(commit)),
        "diff": pach.shards(pach.file_set(commit, diff=True)),
        "one file": pach.shards(pach.create_file_set(add("/a", b"1"))),
    }
    assert all(ranges == [["", ""]] for ranges in shards.values())
    recorded(shards)


def test_an_empty_file_set_has_one_range_too(pach: Pach, repo: Message, recorded: Recording) -> None:
    empty = pach.commit(repo)
    shards = {
        "total": pach.shards(pach.file_set(empty)),
        "diff": pach.shards(pach.file_set(empty, diff=True)),
    }
    assert shards == {"total": [["", ""]], "diff": [["", ""]]}
    recorded(shards)


def test_a_range_without_bounds_reads_everything(pach: Pach, repo: Message) -> None:
    commit = pach.commit(repo, add("/a", b"1"), add("/d/b", b"2"))
    file_set = pach.file_set(commit)
    [[lower, upper]] = pach.shards(file_set)
    assert pach.tar_names(file_set_commit(file_set), "/**", within=(lower, upper)) == ["/a", "/d", "/d/b"]

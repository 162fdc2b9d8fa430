"""Writing files, and what is told of them."""

from __future__ import annotations

from typing import Any

from python_pachyderm import Client
from python_pachyderm.proto.v2.pfs import pfs_pb2

from .pach import Message, Pach, add, copy, delete, put
from .projects import Project
from .recording import Recording, refusal


def test_path_characters(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.start(repo)
    answers = {}
    for character in [*(chr(code) for code in range(32, 127)), "\t", "\n", "é", "\x00", "\x7f"]:
        path = f"/p{character}{ord(character)}"
        answers[character] = refusal(pach.modify, commit, add(path, b"x"))
    pach.finish(commit)
    legal = {c for c, answer in answers.items() if answer == "OK"}
    assert legal == {c for c in map(chr, range(32, 127)) if c not in "*?[]{}!()@+^"}
    assert len(pach.paths(commit)) == 1 + len(legal) + 1, "the root, the files, and one directory: p"
    recorded({"answers": answers, "told": pach.paths(commit)})


def test_paths_are_cleaned(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.start(repo)
    paths = [
        "a",
        "/b/",
        "//c",
        "/d//e",
        "/./f",
        "/g/../h",
        "",
        "/",
        " ",
        "/i ",
        "/.j",
        "/k.",
        "/...",
        "/~",
        "/l/./m",
    ]
    answers = [[path, refusal(pach.modify, commit, add(path, b"x"))] for path in paths]
    info = pach.finish(commit)
    recorded({"answers": answers, "error": bool(info.error), "told": pach.paths(commit)})
    assert dict(answers)["a"] == dict(answers)["/.j"] == "OK"
    assert dict(answers)["/g/../h"] != "OK"


def test_adding_appends(pach: Pach, repo: Message, recorded: Recording) -> None:
    first = pach.commit(repo, add("/a", b"one"), add("/a", b"two"))
    second = pach.commit(repo, add("/a", b"three"))
    assert pach.read(first, "/a") == b"onetwo"
    assert pach.read(second, "/a") == b"onetwothree"
    recorded([pach.tree(first), pach.tree(second)])


def test_deleting_then_adding_overwrites(pach: Pach, repo: Message) -> None:
    pach.commit(repo, add("/a", b"one"), add("/b", b"stays"))
    second = pach.commit(repo, *put("/a", b"two"))
    assert pach.read(second, "/a") == b"two"
    assert pach.read(second, "/b") == b"stays"


def test_python_pachyderm_overwrites_unless_told_to_append(
    client: Client, project: Project, repo: Message
) -> None:
    branch = (repo.name, "master")
    commit = {"project_name": project.name}
    with client.commit(*branch, **commit) as open_commit:
        client.put_file_bytes(open_commit, "/a", b"one", append=True)
        client.put_file_bytes(open_commit, "/b", b"one")
    with client.commit(*branch, **commit) as open_commit:
        client.put_file_bytes(open_commit, "/a", b"two", append=True)
        client.put_file_bytes(open_commit, "/b", b"two")
    assert client.get_file(open_commit, "/a").read() == b"onetwo"
    assert client.get_file(open_commit, "/b").read() == b"two"


def test_deleting_a_directory(pach: Pach, repo: Message, recorded: Recording) -> None:
    pach.commit(repo, add("/d/a", b"1"), add("/d/e/b", b"2"), add("/dd", b"3"), add("/d.", b"4"))
    second = pach.commit(repo, delete("/d/"))
    third = pach.commit(repo, delete("/"))
    assert pach.paths(second) == ["/", "/d.", "/dd"]
    assert pach.paths(third) == []
    recorded([pach.paths(second), refusal(pach.walk, third), pach.paths(third)])


def test_a_delete_without_the_slash_takes_no_directory(
    pach: Pach, repo: Message, recorded: Recording
) -> None:
    pach.commit(repo, add("/d/a", b"1"), add("/e", b"2"))
    second = pach.commit(repo, delete("/d"))
    third = pach.commit(repo, delete("/nothing"))
    recorded([pach.paths(second), pach.paths(third)])
    assert pach.paths(third) == pach.paths(second)
    assert pach.paths(second) == ["/", "/d/", "/d/a", "/e"]


def test_a_delete_takes_what_the_same_commit_added(pach: Pach, repo: Message) -> None:
    commit = pach.commit(repo, add("/a", b"1"), add("/b", b"2"), delete("/a"), add("/b", b"3"))
    assert pach.paths(commit) == ["/", "/b"]
    assert pach.read(commit, "/b") == b"23"


def test_copying(pach: Pach, project: Project, repo: Message, recorded: Recording) -> None:
    other = project.repo("other")
    source = pach.commit(other, add("/d/a", b"one"), add("/d/b", b"two"))
    pach.commit(repo, add("/x", b"old"), add("/y", b"old"))
    commit = pach.commit(
        repo,
        copy(source, "/d/a", "/x"),
        copy(source, "/d/a", "/y", append=True),
        copy(source, "/d", "/dir"),
    )
    assert pach.read(commit, "/x") == b"one"
    assert pach.read(commit, "/y") == b"oldone"
    assert pach.paths(commit, "/dir") == ["/dir/", "/dir/a", "/dir/b"]
    assert pach.file(commit, "/x").hash == pach.file(source, "/d/a").hash
    recorded(pach.tree(commit))


def test_what_a_file_tells(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.commit(repo, add("/d/a", b"12345"), add("/empty"))
    infos = {
        path: [
            pfs_pb2.FileType.Name(info.file_type),
            info.file.path,
            info.size_bytes,
            info.hash.hex(),
            info.HasField("committed"),
            info.file.commit.id == commit.id,
        ]
        for path in ("/d/a", "/empty", "/d", "/d/", "/")
        for info in [pach.file(commit, path)]
    }
    assert infos["/d/a"][:3] == ["FILE", "/d/a", 5]
    assert infos["/empty"][:3] == ["FILE", "/empty", 0]
    assert infos["/d"] == infos["/d/"]
    assert infos["/d"][0] == "DIR"
    recorded(infos)


def test_equal_content_has_equal_hashes_anywhere(pach: Pach, project: Project, repo: Message) -> None:
    other = project.repo("other")
    here = pach.commit(repo, add("/a", b"same"), add("/d/b", b"same"), add("/c", b"else"))
    there = pach.commit(other, add("/z", b"same"))
    hashes = {pach.file(commit, path).hash for commit, path in ((here, "/a"), (here, "/d/b"), (there, "/z"))}
    assert len(hashes) == 1
    assert pach.file(here, "/c").hash not in hashes


def test_the_hash_tells_content_however_it_was_put_together(
    pach: Pach, repo: Message, recorded: Recording
) -> None:
    whole = pach.commit(repo, add("/whole", b"onetwo"), add("/pieces", b"one"), add("/pieces", b"two"))
    pach.commit(repo, add("/later", b"one"))
    later = pach.commit(repo, add("/later", b"two"))
    files = [pach.file(whole, "/whole"), pach.file(whole, "/pieces"), pach.file(later, "/later")]
    assert len({info.hash for info in files}) == 1
    recorded([info.hash.hex() for info in files])


def test_a_directorys_hash_does_not_cover_names(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.commit(
        repo,
        add("/one/a", b"1"),
        add("/one/b", b"2"),
        add("/two/c", b"1"),
        add("/two/d", b"2"),
        add("/three/a", b"2"),
        add("/three/b", b"1"),
        add("/empty/a"),
        add("/four/a", b"1"),
        add("/four/aa"),
        add("/four/b", b"2"),
    )
    hashes = {
        name: pach.file(commit, name).hash.hex() for name in ("/one", "/two", "/three", "/four", "/empty")
    }
    assert hashes["/one"] == hashes["/two"], "an order-preserving rename"
    assert hashes["/one"] != hashes["/three"]
    recorded(hashes)


def test_the_order_of_a_walk(pach: Pach, repo: Message, recorded: Recording) -> None:
    names = [
        "/b",
        "/a",
        "/a-",
        "/a.txt",
        "/a0",
        "/aa/x",
        "/a/b",
        "/a/B",
        "/a b",
        "/A/z",
        "/a/b.d/c",
        "/~",
        "/a/b.d-e",
    ]
    names.remove("/a")
    commit = pach.commit(repo, *(add(name, b"x") for name in names))
    walked = pach.paths(commit)
    assert walked == sorted(walked), "as bytes, directories with their slash"
    assert walked[0] == "/"
    listed = [
        f.file.path
        for f in pach.pfs.ListFile(pfs_pb2.ListFileRequest(file=pfs_pb2.File(commit=commit, path="/")))
    ]
    assert set(listed) < set(walked)
    recorded({"walked": walked, "listed": listed})


def test_listing_pages_after_a_marker(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.commit(repo, *(add(f"/d{n}/f", b"x") for n in range(4)), add("/z", b"x"))

    def page(message: Any, call: Any, **asked: object) -> list[str]:
        request = message(file=pfs_pb2.File(commit=commit, path="/"), **asked)
        return [f.file.path for f in call(request)]

    marker = pfs_pb2.File(commit=commit, path="/d1/")
    pages = {
        "list two": page(pfs_pb2.ListFileRequest, pach.pfs.ListFile, number=2),
        "list after": page(pfs_pb2.ListFileRequest, pach.pfs.ListFile, number=2, paginationMarker=marker),
        "list the last": page(pfs_pb2.ListFileRequest, pach.pfs.ListFile, number=2, reverse=True),
        "walk three": page(pfs_pb2.WalkFileRequest, pach.pfs.WalkFile, number=3),
        "walk after": page(pfs_pb2.WalkFileRequest, pach.pfs.WalkFile, number=3, paginationMarker=marker),
    }
    assert pages["list two"] == ["/d0/", "/d1/"]
    assert pages["list after"] == ["/d2/", "/d3/"]
    recorded(pages)


def test_a_walk_of_nothing(pach: Pach, repo: Message, recorded: Recording) -> None:
    empty = pach.commit(repo)
    emptied = pach.commit(repo, add("/a", b"1"), delete("/a"), branch="emptied")
    answers = {
        "walk": refusal(pach.walk, empty),
        "walked": pach.tree(empty) if refusal(pach.walk, empty) == "OK" else None,
        "inspect": refusal(pach.file, empty),
        "emptied": refusal(pach.walk, emptied),
        "list": refusal(
            pach.pfs.ListFile, pfs_pb2.ListFileRequest(file=pfs_pb2.File(commit=empty, path="/"))
        ),
        "glob": refusal(pach.pfs.GlobFile, pfs_pb2.GlobFileRequest(commit=empty, pattern="/*")),
    }
    recorded(answers)
    assert answers["walk"] == answers["emptied"] == "OK"
    assert answers["walked"] == []
    assert answers["inspect"] == "NOT_FOUND: not found"


def test_globs(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.commit(repo, add("/a/x", b"1"), add("/a/y/z", b"1"), add("/b", b"1"), add("/c.txt", b"1"))
    patterns = [
        "/",
        "/*",
        "/**",
        "/a/*",
        "/a/**",
        "/a",
        "/a/",
        "/{b,c.txt}",
        "/{a/x,b}",
        "/*.txt",
        "*",
        "**",
        "/?",
        "/[ab]",
        "/(*)",
        "/no",
        "/no*",
        "/@(b|c.txt)",
        "/!(b)",
    ]
    matches = {
        pattern: [
            f.file.path for f in pach.pfs.GlobFile(pfs_pb2.GlobFileRequest(commit=commit, pattern=pattern))
        ]
        for pattern in patterns
    }
    assert matches["/"] == ["/"]
    assert matches["/*"] == ["/a/", "/b", "/c.txt"]
    recorded(matches)


def test_a_file_and_a_directory_of_one_name_fail_the_commit(
    pach: Pach, repo: Message, recorded: Recording
) -> None:
    commit = pach.start(repo)
    answer = refusal(pach.modify, commit, add("/a", b"1"), add("/a/b", b"2"))
    info = pach.finish(commit)
    recorded({"write": answer, "error": bool(info.error)})
    assert (answer, bool(info.error)) == ("OK", True), "not when written, but when finished"


def test_writing_to_a_branch_without_an_open_commit_makes_one(
    pach: Pach, repo: Message, recorded: Recording
) -> None:
    branch = pfs_pb2.Commit(repo=repo, branch=pfs_pb2.Branch(repo=repo, name="master"))
    pach.modify(branch, add("/a", b"1"))
    pach.modify(branch, add("/b", b"2"))
    commits = list(pach.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=repo)))
    assert len(commits) == 2
    assert pach.paths(commits[0].commit) == ["/", "/a", "/b"]
    recorded([pfs_pb2.OriginKind.Name(info.origin.kind) for info in commits])


def test_an_open_commit_is_read_as_it_is(pach: Pach, repo: Message, recorded: Recording) -> None:
    pach.commit(repo, add("/a", b"1"))
    commit = pach.start(repo)
    pach.modify(commit, add("/b", b"2"))
    recorded({"walk": pach.paths(commit), "size": pach.inspect(commit).details.size_bytes})
    assert pach.paths(commit) == ["/", "/a", "/b"]

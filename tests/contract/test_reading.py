"""Reading files out: GetFile, and GetFileTAR with its globs and ranges."""

from __future__ import annotations

import hashlib

from python_pachyderm import Client
from python_pachyderm.proto.v2.pfs import pfs_pb2

from .pach import Message, Pach, add, entries, unknown_commit
from .projects import Project
from .recording import Recording, refusal

_MIB = 1 << 20


def _tree(pach: Pach, repo: Message) -> Message:
    return pach.commit(
        repo, add("/a", b"1"), add("/d/x", b"22"), add("/d/y/z", b"333"), add("/e", b""), add("/f/g", b"4")
    )


def test_what_a_tar_holds(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = _tree(pach, repo)
    requests = [
        "/",
        "/**",
        "/*",
        "/a",
        "/d",
        "/d/",
        "/d/*",
        "/d/**",
        "/e",
        "/{a,e}",
        "/{d/x,f/g,none}",
        "/@(a|e)",
    ]
    held = {path: pach.tar_names(commit, path) for path in requests}
    assert held["/**"] == ["/a", "/d", "/d/x", "/d/y", "/d/y/z", "/e", "/f", "/f/g"], "all but the root"
    assert held["/d"] == held["/d/"] == ["/d", "/d/x", "/d/y", "/d/y/z"]
    assert held["/{d/x,f/g,none}"] == ["/d/x", "/f/g"], "what is not there is silently left out"
    recorded(held)


def test_the_headers_and_the_end_of_a_tar(pach: Pach, repo: Message, recorded: Recording) -> None:
    tar = pach.tar(_tree(pach, repo), "/**")
    headers = [
        {
            "name": entry.name,
            "type": entry.type.decode(),
            "mode": oct(entry.mode),
            "owner": [entry.uid, entry.gid, entry.uname, entry.gname],
            "size": entry.size,
            "has a time": entry.mtime > 0,
            "pax": sorted(entry.pax_headers),
            "offset": entry.offset,
        }
        for entry in entries(tar)
    ]
    assert [row["type"] for row in headers] == ["0", "5", "0", "5", "0", "0", "5", "0"]
    assert tar.endswith(bytes(1024))
    assert tar[:512].split(b"\0", 1)[0] == b"/a"
    recorded(
        {
            "entries": headers,
            "bytes": len(tar),
            "magic": tar[257:265].decode(),
            "second": tar[1024:1028].decode(),
        }
    )


def test_a_range_has_its_lower_bound_and_not_its_upper(
    pach: Pach, repo: Message, recorded: Recording
) -> None:
    commit = _tree(pach, repo)
    ranges = [
        ("", ""),
        ("/a", "/e"),
        ("/d/x", "/f/g"),
        ("/d/", "/d0"),
        ("/d", "/d/x"),
        ("/a", "/a\0"),
        ("/e", ""),
        ("", "/d/x"),
    ]
    held = [[list(within), pach.tar_names(commit, "/**", within=within)] for within in ranges]
    assert held[1][1] == ["/a", "/d", "/d/x", "/d/y", "/d/y/z"]
    assert held[5][1] == ["/a"]
    assert held[7][1] + pach.tar_names(commit, "/**", within=("/d/x", "")) == held[0][1]
    recorded(held)


def test_where_a_range_finds_nothing(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = _tree(pach, repo)
    answers = {
        "between": refusal(pach.tar, commit, "/**", within=("/b", "/c")),
        "the root": refusal(pach.tar, commit, "/", within=("/a", "/e")),
        "a directory": refusal(pach.tar, commit, "/d/", within=("/d/x", "/d/z")),
        "a file": refusal(pach.tar, commit, "/d/x", within=("/d/x", "/d/z")),
        "upside down": refusal(pach.tar, commit, "/**", within=("/e", "/a")),
    }
    assert answers["between"] == answers["the root"] == "NOT_FOUND: not found"
    assert answers["a file"] == "OK"
    recorded(answers)


def test_braces_within_a_range(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.commit(repo, *(add(f"/d{n}/f{k}", b"x") for n in range(4) for k in range(4)))
    glob = "/{d0/f1,d1/f0,d2/f3,d3/f3}"
    held = {
        "all": pach.tar_names(commit, glob),
        "up to the sentinel": pach.tar_names(commit, glob, within=("/d0/f1", "/d3/f3")),
        "from the second": pach.tar_names(commit, glob, within=("/d1/f0", "")),
        "in one directory": pach.tar_names(commit, "/d1/{f0,f2}"),
        "nested": pach.tar_names(commit, "/{d0/{f1,f2},d2/{f0,f3}}"),
    }
    assert held["all"] == ["/d0/f1", "/d1/f0", "/d2/f3", "/d3/f3"]
    assert held["up to the sentinel"] == held["all"][:-1]
    outside = refusal(pach.tar, commit, "{/d0/f1,/d1/f0}")
    assert outside == "NOT_FOUND: not found", "the slash must stand before the braces"
    recorded({**held, "slash within": outside})


def test_odd_names_in_globs(pach: Pach, repo: Message, recorded: Recording) -> None:
    r"""Legal in a path and special in a glob: the comma, the bar and the backslash, which escapes them."""
    names = [
        "/a,b",
        "/a|b",
        "/a\\b",
        "/a\\",
        "/a b",
        '/a"b',
        "/a'b",
        "/a",
        "/b",
        "/-",
        "/~",
        "/a,",
        "/$x",
        "/c:d",
    ]
    commit = pach.commit(repo, *(add(name, b"x") for name in names))
    escaped = {name: name.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|") for name in names}
    answers = {
        name: {
            "as it is": _tar_or_refusal(pach, commit, name),
            "escaped": _tar_or_refusal(pach, commit, escaped[name]),
            "escaped in braces": _tar_or_refusal(pach, commit, f"/{{none,{escaped[name][1:]}}}"),
            "as a range": _tar_or_refusal(pach, commit, "/**", (name, name + "\0")),
        }
        for name in names
    }
    assert all(answer["as a range"] == [name] for name, answer in answers.items())
    recorded(answers)


def _tar_or_refusal(pach: Pach, commit: Message, path: str, within: tuple[str, str] | None = None) -> object:
    answer = refusal(pach.tar, commit, path, within=within)
    return pach.tar_names(commit, path, within=within) if answer == "OK" else answer


def test_nothing_to_read(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.commit(repo)
    answers = {path: refusal(pach.tar, commit, path) for path in ("/", "/**", "/*", "/a")}
    assert set(answers.values()) == {"NOT_FOUND: not found"}
    recorded(answers)


def test_reading_what_is_not_there(pach: Pach, project: Project, repo: Message, recorded: Recording) -> None:
    commit = _tree(pach, repo)
    unknown = unknown_commit(repo)
    elsewhere = pfs_pb2.Commit(repo=project.named("no"), id=commit.id)
    answers = {
        "file by tar": refusal(pach.tar, commit, "/no"),
        "file": refusal(pach.read, commit, "/no"),
        "inspect": refusal(pach.file, commit, "/no"),
        "commit": refusal(pach.tar, unknown, "/**"),
        "walk of a commit": refusal(pach.walk, unknown),
        "repo": refusal(pach.tar, elsewhere, "/**"),
        "a directory by GetFile": refusal(pach.read, commit, "/d"),
        "two files by GetFile": refusal(pach.read, commit, "/*"),
        "a bad glob": refusal(pach.tar, commit, "/{a"),
        "walk of no path": refusal(pach.walk, commit, "/no"),
    }
    assert all(
        answers[kind] == "NOT_FOUND: not found"
        for kind in ("file by tar", "file", "inspect", "commit", "repo")
    )
    recorded(answers)


def test_long_names(pach: Pach, repo: Message, recorded: Recording) -> None:
    long = ["/" + "n" * 99, "/" + "n" * 100, "/" + "n" * 254, "/" + "n" * 300]
    deep = ["/" + "/".join(["d" * 60] * 3) + "/f", "/" + "/".join(["d" * 90] * 4) + "/f"]
    commit = pach.commit(repo, *(add(name, b"x") for name in [*long, *deep]))
    tar = pach.tar(commit, "/**")
    headers = [
        [len(entry.name), "pax" if entry.pax_headers else "plain", sorted(entry.pax_headers)]
        for entry in entries(tar)
    ]
    assert {entry.name for entry in entries(tar)} >= {*long, *deep}
    recorded({"entries": headers, "bytes": len(tar)})


def test_sizes_around_a_chunk(pach: Pach, repo: Message) -> None:
    block = hashlib.sha256(b"block").digest() * (_MIB // 32)
    sizes = [0, 1, 511, 512, 513, _MIB - 1, _MIB, 8 * _MIB + 1]
    commit = pach.start(repo)
    for size in sizes:
        whole, rest = divmod(size, _MIB)
        pach.modify(commit, add(f"/{size}"), *[add(f"/{size}", block)] * whole, add(f"/{size}", block[:rest]))
    pach.finish(commit)
    assert {f.file.path: f.size_bytes for f in pach.walk(commit)[1:]} == {f"/{size}": size for size in sizes}
    tar = pach.tar(commit, "/**")
    assert len(tar) == 512 * len(sizes) + sum(-(-size // 512) * 512 for size in sizes) + 1024
    for size in sizes:
        assert len(pach.read(commit, f"/{size}")) == size
    assert pach.read(commit, f"/{8 * _MIB + 1}", offset=8 * _MIB) == block[:1]


def test_a_file_of_more_than_a_message(pach: Pach, repo: Message) -> None:
    """Messages are at most 20 MiB, files are not; and the pieces make no difference to the hash."""
    pieces = [hashlib.sha256(bytes([n])).digest() * (_MIB // 32) for n in range(20)]
    commit = pach.start(repo)
    pach.modify(commit, *(add("/by-one", piece) for piece in pieces), add("/by-one", b"x"))
    pach.modify(
        commit,
        *(add("/by-five", b"".join(pieces[n : n + 5])) for n in range(0, 20, 5)),
        add("/by-five", b"x"),
    )
    pach.finish(commit)
    assert [f.size_bytes for f in pach.walk(commit)[1:]] == [20 * _MIB + 1] * 2
    assert len({f.hash for f in pach.walk(commit)[1:]}) == 1
    digest = hashlib.sha256(b"".join(pieces) + b"x").digest()
    assert hashlib.sha256(pach.read(commit, "/by-one")).digest() == digest
    assert hashlib.sha256(pach.tar(commit, "/by-five")[512 : 512 + 20 * _MIB + 1]).digest() == digest


def test_offsets_are_honoured_by_get_file_alone(pach: Pach, repo: Message) -> None:
    commit = pach.commit(repo, add("/a", b"0123456789"))
    assert pach.read(commit, "/a", offset=4) == b"456789"
    request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=commit, path="/a"), offset=4)
    tar = b"".join(piece.value for piece in pach.pfs.GetFileTAR(request))
    assert tar == pach.tar(commit, "/a")


def test_what_an_offset_past_the_end_gives(pach: Pach, repo: Message, recorded: Recording) -> None:
    commit = pach.commit(repo, add("/a", b"0123456789"), add("/empty"))
    recorded(
        {
            "at the end": [
                refusal(pach.read, commit, "/a", offset=10),
                len(pach.read(commit, "/a", offset=10)),
            ],
            "past it": refusal(pach.read, commit, "/a", offset=11),
            "empty": len(pach.read(commit, "/empty")),
        }
    )
    assert pach.read(commit, "/empty") == b""


def test_reading_by_branch_name(client: Client, project: Project, pach: Pach, repo: Message) -> None:
    _tree(pach, repo)
    branch = pfs_pb2.Commit(repo=repo, branch=pfs_pb2.Branch(repo=repo, name="master"))
    assert pach.read(branch, "/d/x") == b"22"
    with client.get_file_tar(branch, "/d") as tar:
        assert tar.getnames() == ["/d", "/d/x", "/d/y", "/d/y/z"]

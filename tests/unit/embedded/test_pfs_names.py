"""Names, paths and globs."""

from __future__ import annotations

import pytest

from embedded_pachyderm.pfs.content import glob
from embedded_pachyderm.pfs.metadata import names
from embedded_pachyderm.pfs.pfs_errors import PfsError


@pytest.mark.parametrize("name", ["a", "A-b_9", "_x", "-", "n" * 300])
def test_names_of_letters_digits_dashes_and_underscores_are_legal(name: str) -> None:
    names.check_name(name)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "é", "a/b", "a\n"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(PfsError, match="invalid"):
        names.check_name(name)


@pytest.mark.parametrize("name", ["", "-a", "_a", "a" * 52, "a.b"])
def test_projects_are_named_more_strictly(name: str) -> None:
    with pytest.raises(PfsError, match="invalid project name"):
        names.check_project_name(name)


@pytest.mark.parametrize("path", ["/a", "a b", "/~'\"\\;:<>,|#$%&=_-`", "/...", "//a//"])
def test_paths_of_printable_ascii_are_legal(path: str) -> None:
    names.check_path(path)


@pytest.mark.parametrize("path", ["", "/é", "/a\tb", "/..", "a/./b", *(f"/a{c}" for c in "*?[]{}!()@+^")])
def test_paths_that_a_glob_or_a_shell_would_misread_are_refused(path: str) -> None:
    with pytest.raises(PfsError, match="invalid"):
        names.check_path(path)


@pytest.mark.parametrize(
    ("path", "clean"), [("", "/"), ("/", "/"), ("a", "/a"), ("/a/", "/a"), ("a//b/", "/a/b"), ("//", "/")]
)
def test_a_path_has_one_form(path: str, clean: str) -> None:
    assert names.clean_path(path) == clean


@pytest.mark.parametrize(
    ("path", "parent"), [("/a", "/"), ("/a/b", "/a/"), ("/a/b/", "/a/"), ("/a/", "/"), ("/", "/")]
)
def test_every_path_has_a_parent(path: str, parent: str) -> None:
    assert names.parent_directory(path) == parent


PATHS = ["/a", "/b", "/ab", "/d/", "/d/a", "/d/e/", "/d/e/a", "/x1", "/a,b"]


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("/a", ["/a"]),
        ("/*", ["/a", "/b", "/ab", "/d/", "/x1", "/a,b"]),
        ("/**", PATHS),
        ("/**a", ["/a", "/d/a", "/d/e/a"]),
        ("/d/*", ["/d/a", "/d/e/"]),
        ("/?", ["/a", "/b", "/d/"]),
        ("/[ab]", ["/a", "/b"]),
        ("/[!ab]", ["/d/"]),
        ("/[a-b]*", ["/a", "/b", "/ab", "/a,b"]),
        ("/{a,d/a}", ["/a", "/d/a"]),
        ("/{a,{b,d/{a,e}}}", ["/a", "/b", "/d/a", "/d/e/"]),
        ("/{,a}b", ["/b", "/ab"]),
        ("/{none,a\\,b}", ["/a,b"]),
        ("/@(a|b)", ["/a", "/b"]),
        ("/!(a|b)", ["/ab", "/d/", "/x1", "/a,b"]),
        ("/+(a|b)", ["/a", "/b", "/ab"]),
        ("/?(a)b", ["/b", "/ab"]),
        ("/(a|b)", ["/a", "/b"]),
        ("/{a,b", ["/a", "/b"]),
        ("/x[0-9]", ["/x1"]),
    ],
)
def test_globs_match_as_pachyderms_do(pattern: str, matched: list[str]) -> None:
    match = glob.matcher(pattern)
    assert [path for path in PATHS if match(path)] == matched


def test_only_the_root_itself_matches_the_root() -> None:
    assert glob.matcher("/")("/")
    assert not glob.matcher("/**")("/")
    assert not glob.matcher("/")("/a")


def test_a_character_class_must_be_closed() -> None:
    with pytest.raises(PfsError, match="unexpected end"):
        glob.matcher("/[a")


def test_a_brace_of_many_paths_is_a_set() -> None:
    wanted = [f"/d{number}/f{number}" for number in range(5000)]
    match = glob.matcher("/{" + ",".join(path[1:] for path in wanted) + "}")
    assert all(map(match, wanted))
    assert not match("/d1/f2")

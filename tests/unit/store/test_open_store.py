"""Targets as users write them: the URL of a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from pachvault.errors import UsageError
from pachvault.store.folder_store import FolderStore
from pachvault.store.open_store import open_store


def root(url: str) -> Path:
    store = open_store(url)
    assert isinstance(store, FolderStore)
    return store.root


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file:///a/b", "/a/b"),
        ("file://localhost/a", "/a"),
        ("file:///a%20b", "/a b"),
        ("file:///50%25", "/50%"),
        ("/plain/path", "/plain/path"),
        ("/a b", "/a b"),
        ("/50%25?#", "/50%25?#"),
    ],
)
def test_file_urls_and_plain_paths_name_a_folder(url: str, folder: str) -> None:
    assert root(url) == Path(folder)


def test_a_relative_path_is_taken_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert root("vault") == tmp_path / "vault"
    assert root("./a/vault") == tmp_path / "a" / "vault"


@pytest.mark.parametrize("folder", ["/a b", "/50%", "/a#b?c", "/ü", "/x%20y", "/[1]"])
def test_a_stores_own_url_leads_back_to_it(folder: str) -> None:
    assert root(FolderStore(Path(folder)).url) == Path(folder)


def test_objects_are_listed_by_name_below_an_odd_folder(tmp_path: Path) -> None:
    folder = tmp_path / "x" / ".." / "a b%#?"
    store = FolderStore(folder)
    store.create()
    store.put("packs/aa/p", [b"x"], 1)
    assert [info.name for info in store.list("")] == ["packs/aa/p"]
    assert [info.name for info in open_store(store.url).list("packs")] == ["packs/aa/p"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://bucket/vault", "scheme 's3' is not supported"),
        ("https://host/vault", "scheme 'https' is not supported"),
        ("file://host/x", "needs an absolute path"),
        ("file:x", "needs an absolute path"),
        ("file:///a#b", "written %3F and %23"),
        ("file:///a?b", "written %3F and %23"),
        ("", "the target is empty"),
    ],
)
def test_any_other_target_is_bad_input_in_one_line(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_store(url)
    assert "\n" not in str(caught.value)

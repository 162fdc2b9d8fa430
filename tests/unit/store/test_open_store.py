"""Targets as users write them: the URL of a store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pachvault.errors import UsageError
from pachvault.store import bucket_url
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
    ("url", "same"),
    [
        ("s3://b", "s3://b"),
        ("s3://b/", "s3://b"),
        ("s3://b/a b/", "s3://b/a%20b"),
        ("s3://b/v?region=x&endpoint=http://h:1", "s3://b/v?endpoint=http://h:1&region=x"),
        ("gcs://b/v", "gs://b/v"),
        ("abfss://c@mine.dfs.core.windows.net/v", "az://c/v?account=mine"),
    ],
)
def test_a_buckets_url_has_one_form(url: str, same: str) -> None:
    assert str(bucket_url.parse(urlsplit(url))) == same


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sftp://host/vault", "scheme 'sftp' is not supported"),
        ("s3:///vault", "needs the bucket's name"),
        ("s3://user:password@bucket/v", "no user, password or port"),
        ("s3://bucket:80/v", "no user, password or port"),
        ("s3://b/v?regio=x", "s3 targets have no option 'regio'"),
        ("s3://b/v?secret_access_key=x", "holds no secrets"),
        ("s3://b/v?region=a&region=b", "there twice"),
        ("s3://b/v?region", "NAME=VALUE"),
        ("s3://b/v?endpoint=host", "begins with http"),
        ("s3://b/v?endpoint=http://user:password@host", "no user or password"),
        ("s3://b/v?sse=rot13", "one of AES256"),
        ("s3://b/v?sse_kms_key=k", "needs sse=aws:kms"),
        ("s3://b/a/../v", "empty component"),
        ("s3://b/v#x", "written %23"),
        ("gs://b/v?region=x", "gs targets have no option 'region'"),
        ("az://b/v?ca=/no/such/file", "cannot use this target"),
        ("abfss://c@account.example/v", "host ends with"),
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
    assert "password" not in str(caught.value).replace("no user, password or port", "").replace(
        "user or password", ""
    )

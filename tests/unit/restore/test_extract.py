"""Extracting to a plain folder: every file whole or not at all, nothing outside, damage named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from made import Repo, back_up, flip, new_vault
from pachvault.errors import DamageError, UsageError
from pachvault.format import layout, pack
from pachvault.format.ids import RepoName
from pachvault.progress import Quiet
from pachvault.restore.extract import Chosen, Extracted, check_destination, choose, extract
from pachvault.vault import blobs
from pachvault.vault.reader import BlobReader
from pachvault.vault.snapshots import Snapshot

LARGE = np.random.default_rng(3).bytes(5 * 2**20)
TREE = {
    "/a": b"1",
    "/empty": b"",
    "/deep/er/file": b"2",
    "/odd name,|%'": b"3",
    "/.hidden": b"4",
    "/large": LARGE,
}


def snapshot_of(folder: Path, tree: dict[str, bytes] | None = None, pack_bytes: int = 2**26) -> Snapshot:
    repo = Repo(RepoName("p", "r"))
    repo.commit(TREE if tree is None else tree)
    repo.commit({"/old": b"o"}, branch="v1", parent="none")
    other = Repo(RepoName("q", "s"))
    other.commit({"/x": b"x"})
    return back_up(new_vault(folder), repo, other, pack_bytes=pack_bytes)


def run(
    snapshot: Snapshot,
    out: Path,
    sources: Sequence[str] = (),
    includes: Sequence[str] = (),
    excludes: Sequence[str] = (),
) -> Extracted:
    reader = BlobReader(snapshot.vault, blobs.load(snapshot.vault))
    total = Extracted()
    for each in choose(snapshot, sources, includes, excludes):
        done = extract(reader, each, out, Quiet(), workers=2)
        total.files += done.files
        total.bytes += done.bytes
        total.failed += done.failed
        total.is_damaged |= done.is_damaged
    return total


def written(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_every_branch_is_written_below_its_name(tmp_path: Path) -> None:
    done = run(snapshot_of(tmp_path), tmp_path / "out")
    expected = {f"p/r/master{path}": data for path, data in TREE.items()}
    assert written(tmp_path / "out") == expected | {"p/r/v1/old": b"o", "q/s/master/x": b"x"}
    assert (done.files, done.bytes, done.failed) == (8, sum(map(len, TREE.values())) + 2, [])


@pytest.mark.parametrize(
    ("sources", "files"),
    [
        (["p/r@v1"], ["p/r/v1/old"]),
        (["q/*"], ["q/s/master/x"]),
        (["p/r@v1", "*/s"], ["p/r/v1/old", "q/s/master/x"]),
    ],
)
def test_sources_choose_branches(tmp_path: Path, sources: list[str], files: list[str]) -> None:
    run(snapshot_of(tmp_path), tmp_path / "out", sources)
    assert sorted(written(tmp_path / "out")) == files


def test_a_source_that_matches_nothing_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="matches 'p/none'"):
        run(snapshot_of(tmp_path), tmp_path / "out", ["p/r@v1", "p/none"])


@pytest.mark.parametrize(
    ("includes", "excludes", "files"),
    [
        (["/deep/*"], [], ["/deep/er/file"]),
        (["/a", "/e*"], [], ["/a", "/empty"]),
        ([], ["/large", "/.*", "/o*", "/deep/*"], ["/a", "/empty"]),
        (["*e*"], ["/deep*", "/large"], ["/.hidden", "/empty", "/odd name,|%'"]),
    ],
)
def test_includes_and_excludes_choose_paths(
    tmp_path: Path, includes: list[str], excludes: list[str], files: list[str]
) -> None:
    run(snapshot_of(tmp_path), tmp_path / "out", ["p/r@master"], includes, excludes)
    assert sorted(written(tmp_path / "out" / "p/r/master")) == [path[1:] for path in files]


def test_a_folder_with_something_in_it_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    check_destination(out, overwrite=False)
    check_destination(out, overwrite=False)
    (out / "mine").write_bytes(b"mine")
    with pytest.raises(UsageError, match="is not empty"):
        check_destination(out, overwrite=False)
    check_destination(out, overwrite=True)
    with pytest.raises(UsageError, match="is a file"):
        check_destination(out / "mine", overwrite=True)
    with pytest.raises(UsageError, match="cannot be written"):
        check_destination(out / "mine" / "below", overwrite=True)


def test_files_are_replaced_and_others_stay(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)
    out = tmp_path / "out"
    (out / "p/r/master").mkdir(parents=True)
    (out / "p/r/master/a").write_bytes(b"longer than before")
    (out / "p/r/master/mine").write_bytes(b"mine")
    run(snapshot, out)
    assert (out / "p/r/master/a").read_bytes() == b"1"
    assert (out / "p/r/master/mine").read_bytes() == b"mine"


def test_a_file_that_cannot_be_placed_is_named_and_the_others_are_written(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)
    out = tmp_path / "out"
    (out / "p/r/master/a").mkdir(parents=True)
    (out / "p/r/master/deep").write_bytes(b"in the way")
    done = run(snapshot, out)
    assert sorted(line.split(": ")[0] for line in done.failed) == [
        "p/r@master:/a",
        "p/r@master:/deep/er/file",
    ]
    assert not done.is_damaged
    assert done.files == 6


def test_a_branch_that_cannot_be_placed_is_one_line(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "p").write_bytes(b"in the way")
    with pytest.raises(UsageError, match="cannot be made"):
        run(snapshot, tmp_path / "out")


def test_a_damaged_file_is_named_not_written_and_the_others_are(tmp_path: Path) -> None:
    data = np.random.default_rng(5).bytes(6000)
    tree = {f"/{number}": data[number * 1000 : number * 1000 + 1000] for number in range(6)}
    snapshot = snapshot_of(tmp_path, tree)
    for info in snapshot.vault.store.list(layout.PACKS):
        path = tmp_path / "vault" / info.name
        at = path.read_bytes().find(tree["/3"])
        if at >= 0:
            flip(path, at + 500)
    out = tmp_path / "out"
    done = run(snapshot, out)
    assert done.is_damaged
    assert [line.split(": ")[0] for line in done.failed] == ["p/r@master:/3"]
    assert written(out / "p/r/master") == {path[1:]: tree[path] for path in tree if path != "/3"}


def test_a_large_file_with_a_missing_piece_leaves_nothing_half_written(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path, pack_bytes=2**20)
    packs = [tmp_path / "vault" / info.name for info in snapshot.vault.store.list(layout.PACKS)]
    largest = max(packs, key=lambda path: path.stat().st_size)
    flip(largest, len(pack.HEADER) + 5000)
    done = run(snapshot, tmp_path / "out")
    assert done.is_damaged
    assert any("/large" in line for line in done.failed)
    assert not (tmp_path / "out/p/r/master/large").exists()
    assert [path for path in (tmp_path / "out").rglob(".*") if path.name != ".hidden"] == []


def test_a_vault_of_nothing_but_empty_files_is_extracted(tmp_path: Path) -> None:
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"", "/b/c": b""})
    done = run(back_up(new_vault(tmp_path), repo), tmp_path / "out")
    assert done.failed == []
    assert written(tmp_path / "out") == {"p/r/master/a": b"", "p/r/master/b/c": b""}


@pytest.mark.parametrize("path", ["/../x", "/a/../../x", "..", "/", ""])
def test_a_path_that_would_leave_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    snapshot = snapshot_of(tmp_path)
    (chosen, *_) = choose(snapshot, ["p/r@master"], ["/a"], [])
    bad = Chosen(chosen.repo, chosen.branch, chosen.commit, [chosen.files[0] | {"path": path}])
    reader = BlobReader(snapshot.vault, blobs.load(snapshot.vault))
    done = extract(reader, bad, tmp_path / "out" / "in", Quiet(), workers=1)
    assert done.is_damaged
    assert "outside its folder" in done.failed[0]
    assert written(tmp_path / "out") == {}


def test_a_name_of_a_repo_that_would_leave_the_folder_is_refused(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)
    (chosen, *_) = choose(snapshot, ["p/r@master"], [], [])
    reader = BlobReader(snapshot.vault, blobs.load(snapshot.vault))
    for bad in (replace(chosen, repo=RepoName("..", "..")), replace(chosen, branch="../../../x")):
        with pytest.raises(DamageError, match="outside its folder"):
            extract(reader, bad, tmp_path / "out" / "in", Quiet(), workers=1)


def test_content_that_does_not_add_up_to_its_table_is_damage(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)
    (chosen, *_) = choose(snapshot, ["p/r@master"], ["/large"], [])
    row = chosen.files[0]
    reader = BlobReader(snapshot.vault, blobs.load(snapshot.vault))
    swapped = row | {"blobs": [row["blobs"][1], row["blobs"][0], *row["blobs"][2:]]}
    for bad in (row | {"blobs": row["blobs"][:-1]}, swapped, row | {"size": 7}):
        done = extract(reader, replace(chosen, files=[bad]), tmp_path / "out", Quiet(), workers=1)
        assert "do not add up" in done.failed[0]
        assert written(tmp_path / "out") == {}

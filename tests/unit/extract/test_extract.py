"""Extract to a plain folder: files are complete or absent, nothing is written outside, damage is named."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from made import Repo, back_up, flip, new_vault
from pachvault.errors import BusyError, UsageError
from pachvault.extract.extract import Chosen, Extracted, choose, extract
from pachvault.extract.folder import WORKING, opened
from pachvault.format import layout, pack
from pachvault.format.ids import RepoName
from pachvault.runtime.progress import Quiet
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.snapshots import Snapshot

ID = "0" * 64
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
    *,
    overwrite: bool = False,
    is_shared: bool = False,
) -> Extracted:
    reader = BlobReader(snapshot.vault, blob_index.load_places(snapshot.vault))
    total = Extracted()
    with opened(out, snapshot.name.id, overwrite=overwrite, is_shared=is_shared) as folder:
        for chosen in choose(snapshot, sources, includes, excludes):
            total.add(extract(reader, chosen, folder, Quiet(), workers=2))
    return total


def run_on(snapshot: Snapshot, chosen: Chosen, out: Path) -> Extracted:
    """One branch, as a test has changed it."""
    reader = BlobReader(snapshot.vault, blob_index.load_places(snapshot.vault))
    with opened(out, snapshot.name.id, overwrite=False) as folder:
        return extract(reader, chosen, folder, Quiet(), workers=1)


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
    for _ in range(2):
        with opened(out, ID, overwrite=False):
            pass
        assert list(out.iterdir()) == []
    (out / "mine").write_bytes(b"mine")
    with pytest.raises(UsageError, match="is not empty"), opened(out, ID, overwrite=False):
        pass
    assert [path.name for path in out.iterdir()] == ["mine"]
    with opened(out, ID, overwrite=True):
        pass
    with pytest.raises(UsageError, match="is a file"), opened(out / "mine", ID, overwrite=True):
        pass
    with (
        pytest.raises(UsageError, match="cannot be written"),
        opened(out / "mine" / "below", ID, overwrite=True),
    ):
        pass


def test_files_are_replaced_and_others_stay(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)
    out = tmp_path / "out"
    (out / "p/r/master").mkdir(parents=True)
    (out / "p/r/master/a").write_bytes(b"longer than before")
    (out / "p/r/master/mine").write_bytes(b"mine")
    run(snapshot, out, overwrite=True)
    assert (out / "p/r/master/a").read_bytes() == b"1"
    assert (out / "p/r/master/mine").read_bytes() == b"mine"


def test_a_file_that_cannot_be_placed_is_named_and_the_others_are_written(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)
    out = tmp_path / "out"
    (out / "p/r/master/a").mkdir(parents=True)
    (out / "p/r/master/deep").write_bytes(b"in the way")
    done = run(snapshot, out, overwrite=True)
    first, second = done.failed
    assert first.startswith("p/r@master:/a: ")
    assert second == (
        f"p/r@master: {out}/p/r/master/deep: cannot be made: a file is in the way: 1 files are not written"
    )
    assert not done.is_damaged
    assert done.files == 6


def test_a_branch_that_cannot_be_placed_is_one_line_and_the_others_are_written(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "p").write_bytes(b"in the way")
    done = run(snapshot, tmp_path / "out", overwrite=True)
    assert [line.split(": ")[0] for line in done.failed] == ["p/r@master", "p/r@v1"]
    assert done.files == 1


@pytest.mark.parametrize("planted", ["p", "p/r", "p/r/master", "p/r/master/deep", "p/r/master/deep/er"])
def test_nothing_is_written_through_a_link(tmp_path: Path, planted: str) -> None:
    snapshot = snapshot_of(tmp_path, {f"/deep/er/{number}": b"new" for number in range(200)})
    out, outside = tmp_path / "out", tmp_path / "outside"
    outside.mkdir()
    (outside / "0").write_bytes(b"mine")
    (out / planted).parent.mkdir(parents=True)
    (out / planted).symlink_to(outside)
    done = run(snapshot, out, ["p/r@master"], overwrite=True)
    assert written(outside) == {"0": b"mine"}
    (line,) = done.failed
    assert f"{out / planted}: is a link" in line
    assert done.files == 0


def test_a_link_in_a_file_s_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)
    (tmp_path / "outside").write_bytes(b"1")  # equal to what the file is to be
    out = tmp_path / "out"
    (out / "p/r/master").mkdir(parents=True)
    (out / "p/r/master/a").symlink_to(tmp_path / "outside")
    assert run(snapshot, out, ["p/r@master"], overwrite=True).kept == 0
    assert not (out / "p/r/master/a").is_symlink()
    assert (out / "p/r/master/a").read_bytes() == b"1"


def test_a_link_in_the_place_of_the_working_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / WORKING).symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="is a link"), opened(tmp_path / "out", ID, overwrite=False):
        pass
    assert written(tmp_path / "outside") == {}


def test_the_destination_itself_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    assert run(snapshot_of(tmp_path), tmp_path / "out").failed == []
    assert (tmp_path / "real/p/r/master/a").read_bytes() == b"1"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("is_shared", [False, True])
def test_what_is_extracted_is_private_unless_it_is_to_be_shared(
    tmp_path: Path, umask: int, is_shared: bool
) -> None:
    snapshot = snapshot_of(tmp_path)
    before = os.umask(umask)
    try:
        run(snapshot, tmp_path / "out", is_shared=is_shared)
    finally:
        os.umask(before)
    files, folders = (0o666, 0o777) if is_shared else (0o600, 0o700)
    for path in (tmp_path / "out").rglob("*"):
        assert path.stat().st_mode & 0o777 == (folders if path.is_dir() else files) & ~umask
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700 & ~umask


class Interrupted(Quiet):
    """Ctrl-C after so many files."""

    def __init__(self, files: int) -> None:
        self.files = files

    def add(self, _: int, files: int) -> None:
        self.files -= files
        if self.files < 0:
            raise KeyboardInterrupt


def test_an_interrupted_extraction_goes_on_and_keeps_what_is_there(tmp_path: Path) -> None:
    tree = {f"/{number}": str(number).encode() for number in range(300)}
    snapshot = snapshot_of(tmp_path, tree)
    out = tmp_path / "out"
    (chosen, *_) = choose(snapshot, ["p/r@master"], [], [])
    reader = BlobReader(snapshot.vault, blob_index.load_places(snapshot.vault))
    with pytest.raises(KeyboardInterrupt), opened(out, snapshot.name.id, overwrite=False) as folder:
        extract(reader, chosen, folder, Interrupted(100), workers=2)
    (out / WORKING / "0123456789abcdef").write_bytes(b"half a file of a killed process")
    there = {path: path.stat().st_ino for path in (out / "p/r/master").iterdir()}
    assert len(there) >= 100
    changed = min(there)
    changed.write_bytes(b"changed since")
    with pytest.raises(UsageError, match="is not empty"), opened(out, ID, overwrite=False):
        pass  # another snapshot
    done = run(snapshot, out, ["p/r@master"])
    assert done.kept == len(there) - 1
    (line,) = done.failed
    assert "something else is there (--overwrite replaces files)" in line
    assert {path: path.stat().st_ino for path in there} == there
    assert not (out / WORKING).exists()
    assert run(snapshot, out, ["p/r@master"], overwrite=True).kept == 299
    assert written(out / "p/r/master") == {path[1:]: data for path, data in tree.items()}


def test_one_extraction_at_a_time_in_a_folder(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "out", ID, overwrite=False),
        pytest.raises(BusyError, match="another extraction"),
        opened(tmp_path / "out", ID, overwrite=True),
    ):
        pass


def test_a_path_of_any_depth_is_written_and_one_that_no_system_holds_is_named(tmp_path: Path) -> None:
    deep = "/" + "/".join(["folder"] * 1000)
    snapshot = snapshot_of(tmp_path, {deep: b"deep", "/" + "n" * 300: b"long", "/ok": b"ok"})
    try:
        done = run(snapshot, tmp_path / "out", ["p/r@master"])
    finally:
        subprocess.run(["rm", "-r", tmp_path / "out"], check=True)  # too deep for pytest
    assert done.files == 2
    (line,) = done.failed
    assert "too long" in line
    (chosen, *_) = choose(snapshot, ["p/r@master"], ["/ok"], [])
    bad = replace(chosen, files=[chosen.files[0] | {"path": "/a\0b"}])
    assert "zero byte" in run_on(snapshot, bad, tmp_path / "nul").failed[0]


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
    done = run_on(snapshot, bad, tmp_path / "out" / "in")
    assert done.is_damaged
    assert "outside its folder" in done.failed[0]
    assert written(tmp_path / "out") == {}


def test_a_name_of_a_repo_that_would_leave_the_folder_is_refused(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)
    (chosen, *_) = choose(snapshot, ["p/r@master"], [], [])
    for bad in (replace(chosen, repo=RepoName("..", "..")), replace(chosen, branch="../../../x")):
        done = run_on(snapshot, bad, tmp_path / "out" / "in")
        assert done.is_damaged
        assert "outside its folder" in done.failed[0]
        assert written(tmp_path / "out") == {}


def test_content_that_does_not_add_up_to_its_table_is_damage(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)
    (chosen, *_) = choose(snapshot, ["p/r@master"], ["/large"], [])
    row = chosen.files[0]
    swapped = row | {"blobs": [row["blobs"][1], row["blobs"][0], *row["blobs"][2:]]}
    for number, bad in enumerate((row | {"blobs": row["blobs"][:-1]}, swapped, row | {"size": 7})):
        done = run_on(snapshot, replace(chosen, files=[bad]), tmp_path / str(number))
        assert "do not add up" in done.failed[0]
        assert written(tmp_path / str(number)) == {}

"""Rows that no writer makes, and files whose intact blobs are not the file: forged, and found by verify."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from made import Repo, back_up, flip, new_vault
from pachvault.cli.main import run
from pachvault.errors import CorruptError
from pachvault.format import documents, layout, table
from pachvault.format.ids import RepoName, digest
from pachvault.format.records import Segment
from pachvault.maintenance.verify import audits, known_damage
from pachvault.maintenance.verify.checks import verify_paths
from pachvault.maintenance.verify.findings import NAMED, Finding, Severity, exit_code
from pachvault.maintenance.verify.verify import Level, PackShare, examine, verify
from pachvault.runtime.progress import Quiet
from pachvault.vault import clock, snapshots
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault

NAME = RepoName("p", "r")
LARGE = np.random.default_rng(1).bytes(5_000_000)
Row = dict[str, object]


class Forged:
    """A vault of one commit with small files and a large one, whose snapshot is replaced by forged ones."""

    def __init__(self, folder: Path) -> None:
        self.vault: Vault = new_vault(folder)
        self.root = folder / "vault"
        repo = Repo(NAME)
        self.commit = repo.commit({"/a/b": b"one", "/a/c": b"two", "/empty": b"", "/large": LARGE})
        back_up(self.vault, repo, pack_bytes=1_500_000)
        self.history = snapshots.resolve(self.vault, "latest").repo(NAME)
        self.rows: dict[str, Row] = {row["path"]: row for row in self.history.tree(self.commit).to_pylist()}
        assert len(self.large_blobs) > 2

    @property
    def large_blobs(self) -> list[bytes]:
        blobs = self.rows["/large"]["blobs"]
        assert isinstance(blobs, list)
        return blobs

    def seal(self, *tables: Sequence[Row], head: str | None = None) -> SnapshotName:
        """Replace the snapshot by one whose commit has these rows."""
        old = snapshots.resolve(self.vault, "latest")
        names = [
            self.vault.put_table(table.encode_files(pa.Table.from_pylist(list(rows), table.FILES))).digest
            for rows in tables
        ]
        (commit,) = self.history.commits.to_pylist()
        changed = {"tables": names, "rows": sum(map(len, tables))}
        commits = pa.Table.from_pylist([commit | changed], table.COMMITS)
        segment = Segment(table=self.vault.put_table(table.encode_commits(commits)).digest, commits=1)
        (branch,) = self.history.record.branches
        branch = branch.model_copy(update={"head": head or branch.head})
        record = self.history.record.model_copy(update={"segments": [segment], "branches": [branch]})
        entry = old.manifest.repos[0].model_copy(update={"record": self.vault.put_record(record)})
        data = documents.encode(old.manifest.model_copy(update={"repos": [entry]}))
        path = layout.snapshot_path(old.manifest.frozen_at, old.manifest.sequence, digest(data))
        self.vault.delete(old.name.path)
        self.vault.store.put(path, [data], len(data))
        return snapshots.resolve(self.vault, "latest").name

    def with_large(self, blobs: list[bytes], path: str = "/large") -> Row:
        return self.rows["/large"] | {"path": path, "blobs": blobs}

    def found(self, level: Level = Level.STRUCTURE) -> Finding:
        """The one finding there is."""
        (finding,) = verify(self.vault, level, Quiet())
        return finding

    def file(self, path: str) -> str:
        return f"{NAME}@{self.commit}:{path}"

    def pack_of(self, blob: bytes) -> str:
        return layout.pack_path(BlobReader(self.vault, blob_index.load_places(self.vault)).place(blob).pack)


@pytest.fixture
def forged(tmp_path: Path) -> Forged:
    return Forged(tmp_path)


@pytest.mark.parametrize("level", Level)
def test_what_writers_make_has_no_finding(forged: Forged, level: Level) -> None:
    forged.seal([*forged.rows.values()])
    assert verify(forged.vault, level, Quiet()) == []


def test_blobs_in_another_order_are_found_at_level_data_with_the_file(forged: Forged) -> None:
    name = forged.seal([forged.rows["/a/b"], forged.with_large(forged.large_blobs[::-1])])
    for level in (Level.STRUCTURE, Level.PACKS):
        assert verify(forged.vault, level, Quiet()) == []
    finding = forged.found(Level.DATA)
    assert (finding.kind, finding.severity) == ("file-wrong", Severity.DAMAGE)
    assert (finding.files, finding.files_count) == ((forged.file("/large"),), 1)
    assert finding.snapshots == (name.id[:12],)
    assert forged.file("/large") in finding.message
    assert exit_code([finding]) == 13


def test_each_wrong_file_is_named_and_what_other_files_share_is_not(forged: Forged) -> None:
    wrong = [forged.with_large(forged.large_blobs[::-1], f"/wrong/{number}") for number in range(NAMED + 5)]
    forged.seal([*forged.rows.values(), *wrong[:3]], wrong[3:])
    findings = verify(forged.vault, Level.DATA, Quiet())
    assert [finding.kind for finding in findings] == ["file-wrong", "file-wrong"]
    assert sorted(finding.files_count for finding in findings) == [3, NAMED + 2]
    assert all("/wrong/" in file for finding in findings for file in finding.files)


def test_a_wrong_number_of_blobs_is_found_at_every_level(forged: Forged) -> None:
    for blobs in (forged.large_blobs[:-1], [*forged.large_blobs, forged.large_blobs[0]]):
        forged.seal([forged.with_large(blobs)])
        kinds = [finding.kind for finding in verify(forged.vault, Level.DATA, Quiet())]
        assert kinds == ["sizes-wrong", "file-wrong"]
        finding = forged.found()
        assert (finding.kind, finding.files) == ("sizes-wrong", (forged.file("/large"),))


def test_one_blob_in_place_of_another_of_its_size_is_found(forged: Forged) -> None:
    """A list of one blob that is not the file's."""
    row = forged.rows["/a/b"] | {"blobs": [forged.rows["/a/c"]["digest"]]}
    forged.seal([row])
    assert forged.found(Level.DATA).files == (forged.file("/a/b"),)


def test_of_a_share_only_files_that_begin_in_it_are_read_and_the_pack_is_remembered(forged: Forged) -> None:
    forged.seal([forged.with_large(forged.large_blobs[::-1])])
    first = forged.pack_of(forged.large_blobs[-1])
    by_share = {}
    for number in (1, 2, 3):
        result = examine(forged.vault, Level.DATA, Quiet(), share=PackShare(number, 3))
        by_share[number] = [finding.kind for finding in result.findings]
        audits.record(forged.vault, Level.DATA, result.audited, result.manifests)
    expected = {number: ["file-wrong"] * PackShare(number, 3).holds(first) for number in by_share}
    assert by_share == expected
    # a later verification of less depth does not make it good
    result = examine(forged.vault, Level.PACKS, Quiet())
    audits.record(forged.vault, Level.PACKS, result.audited, result.manifests)
    known = known_damage.known(forged.vault, audits.load(forged.vault), clock.store_now(forged.vault))
    assert [audited.name for audited in known.damaged] == [first]
    assert "/large" in known.damaged[0].message


def test_a_file_with_a_damaged_blob_is_a_finding_of_its_pack_only(forged: Forged) -> None:
    flip(forged.root / forged.pack_of(forged.large_blobs[1]), 1000)
    finding = forged.found(Level.DATA)
    assert (finding.kind, finding.files) == ("frame-damaged", (forged.file("/large"),))


def test_a_damaged_blob_in_another_share_is_named_with_the_file(forged: Forged) -> None:
    packs = {forged.pack_of(blob): blob for blob in forged.large_blobs}
    first = forged.pack_of(forged.large_blobs[0])
    other = next(name for name in packs if name != first)
    flip(forged.root / other, 1000)
    result = examine(forged.vault, Level.DATA, Quiet(), packs=[first])
    assert [finding.kind for finding in result.findings] == ["file-wrong"]
    assert "damaged" in result.findings[0].message or "checksum" in result.findings[0].message


BAD_PATHS = ["", "/", "a", "a/b", "//a", "/a//b", "/a/", "/.", "/..", "/a/./b", "/a/../b", "/a/..", "/a\0b"]
GOOD_PATHS = ["/a", "/...", "/.a", "/a.", "/..a/b", "/a\nb", "/d/b:c", "/ ", "/d/.b/c..", "/ä"]


@pytest.mark.parametrize("path", BAD_PATHS, ids=repr)
def test_a_path_that_no_writer_makes_is_found(forged: Forged, path: str) -> None:
    name = forged.seal([*forged.rows.values()], [forged.rows["/a/b"] | {"path": path}])
    findings = [
        finding for finding in verify(forged.vault, Level.STRUCTURE, Quiet()) if finding.kind == "paths-wrong"
    ]
    assert [(finding.severity, finding.files) for finding in findings] == [
        (Severity.DAMAGE, (forged.file(path),))
    ]
    assert findings[0].snapshots == (name.id[:12],)


def test_unusual_paths_are_no_finding(forged: Forged) -> None:
    forged.seal([forged.rows["/a/b"] | {"path": path} for path in GOOD_PATHS])
    assert verify(forged.vault, Level.STRUCTURE, Quiet()) == []


@pytest.mark.parametrize("are_in_one_table", [True, False])
def test_a_path_twice_in_a_commit_is_found(forged: Forged, *, are_in_one_table: bool) -> None:
    rows, again = [*forged.rows.values()], forged.rows["/a/b"] | {"digest": forged.rows["/a/c"]["digest"]}
    forged.seal([*rows, again]) if are_in_one_table else forged.seal(rows, [again])
    finding = forged.found()
    assert (finding.kind, finding.severity) == ("paths-repeated", Severity.DAMAGE)
    assert (finding.files, finding.files_count) == ((forged.file("/a/b"),), 1)
    assert finding.commits_count == 1


@pytest.mark.parametrize("are_in_one_table", [True, False])
@pytest.mark.parametrize("below", ["/a/b/c", "/a/b/c/d/e/f"])
def test_a_file_that_is_also_a_folder_is_found(forged: Forged, below: str, *, are_in_one_table: bool) -> None:
    rows, inside = [*forged.rows.values()], forged.rows["/a/c"] | {"path": below}
    forged.seal([*rows, inside]) if are_in_one_table else forged.seal([inside], rows)
    finding = forged.found()
    assert (finding.kind, finding.severity) == ("paths-conflict", Severity.DAMAGE)
    assert finding.files == (forged.file("/a/b"),)


def test_a_file_that_a_folder_replaces_in_a_delta_is_no_finding(forged: Forged) -> None:
    deleted = {"kind": table.DELETED, "size": 0, "digest": None, "blobs": None}
    forged.seal([forged.rows["/a/b"] | deleted, forged.rows["/a/c"] | {"path": "/a/b/c"}])
    assert verify(forged.vault, Level.STRUCTURE, Quiet()) == []


def test_the_same_paths_in_other_commits_and_repos_are_no_finding(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    one, two = Repo(NAME), Repo(RepoName("p", "other"))
    one.commit({"/a": b"1"})
    one.commit({"/a/b": b"1"})
    two.commit({"/a/b": b"1"})
    back_up(vault, one, two)
    assert verify(vault, Level.DATA, Quiet()) == []


def test_many_repeated_paths_are_counted(forged: Forged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_paths, "_SUSPECTS", 10)
    rows = [forged.rows["/a/b"] | {"path": f"/{number}"} for number in range(50)]
    forged.seal([*rows, *rows])
    finding = forged.found()
    assert (finding.kind, finding.files_count) == ("paths-repeated", 50)
    assert len(finding.files) == 10


def test_a_head_that_is_in_no_commit_list_is_found(forged: Forged) -> None:
    name = forged.seal([*forged.rows.values()], head="f" * 32)
    finding = forged.found()
    assert (finding.kind, finding.severity) == ("head-wrong", Severity.DAMAGE)
    assert finding.snapshots == (name.id[:12],)
    assert finding.repos == ("p/r",)
    assert "master has commit ffff" in finding.message


def test_the_reader_gives_what_is_there_and_then_refuses(forged: Forged) -> None:
    reader = BlobReader(forged.vault, blob_index.load_places(forged.vault))
    assert b"".join(reader.file(len(LARGE), digest(LARGE), forged.large_blobs)) == LARGE
    assert list(reader.file(0, digest(b""), [])) == []
    assert list(reader.file(3, digest(b"one"), [])) == [b"one"]
    content = reader.file(len(LARGE), digest(LARGE), forged.large_blobs[::-1])
    for blob in forged.large_blobs[::-1]:
        assert digest(next(content)) == blob
    with pytest.raises(CorruptError, match="do not make up the file"):
        next(content)


def test_cat_writes_a_wrong_file_and_says_so(
    forged: Forged, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    command = ["--vault", str(forged.root), "cat", "latest", "p/r@master:/large"]
    assert run(command) == 0
    assert capfdbinary.readouterr().out == LARGE
    forged.seal([forged.with_large(forged.large_blobs[::-1])])
    assert run(command) == 13
    out, err = capfdbinary.readouterr()
    assert len(out) == len(LARGE)
    assert err.decode().count("\n") == 1
    assert (
        "/large: its blobs are intact, but they do not make up the file: the output is wrong" in err.decode()
    )

"""Golden vaults, written by earlier versions and kept readable for ever (docs/format.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from pachvault.errors import DamageError
from pachvault.extract.extract import choose, extract
from pachvault.extract.folder import opened
from pachvault.format.ids import RepoName
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.runtime.progress import Quiet
from pachvault.store.open_store import open_store
from pachvault.vault import snapshots
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.vault import Vault, open_vault

VERSIONS = sorted(path.parent for path in Path(__file__).parent.glob("*/expected.json"))
Expected = list[dict[str, Any]]


def golden(folder: Path) -> tuple[Vault, Expected]:
    vault = open_vault(open_store((folder / "vault").as_uri()))
    return vault, json.loads((folder / "expected.json").read_text())


def commits_of(expected: dict[str, Any]) -> list[tuple[RepoName, str, dict[str, list[Any]]]]:
    commits = []
    for key, tree in expected["trees"].items():
        repo, _, commit = key.partition("@")
        commits.append((RepoName.parse(repo), commit, tree))
    return commits


def test_there_is_a_golden_vault_of_every_format() -> None:
    assert [folder.name for folder in VERSIONS] == ["v1"]


@pytest.fixture(params=VERSIONS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_its_snapshots_are_found_in_their_order(folder: Path) -> None:
    vault, expected = golden(folder)
    assert [name.id for name in snapshots.names(vault)] == [
        expected_snapshot["snapshot"] for expected_snapshot in expected
    ]
    assert snapshots.resolve(vault, "latest").name.id == expected[-1]["snapshot"]


def test_every_commit_has_the_tree_that_was_committed(folder: Path) -> None:
    vault, expected = golden(folder)
    for expected_snapshot in expected:
        snapshot = snapshots.resolve(vault, expected_snapshot["snapshot"])
        assert not snapshot.manifest.partial
        for repo, commit, tree in commits_of(expected_snapshot):
            rows = snapshot.repo(repo).tree(commit).to_pylist()
            assert {row["path"]: [row["size"], row["digest"].hex()] for row in rows} == tree
        for place, head in expected_snapshot["branches"].items():
            repo, _, branch = place.partition("@")
            assert snapshot.repo(RepoName.parse(repo)).branch(branch).head == head
        for key, error in expected_snapshot["failed"].items():
            repo, _, commit = key.partition("@")
            assert snapshot.repo(RepoName.parse(repo)).commit(commit)["error"] == error


def test_its_pipeline_definitions_are_there(folder: Path) -> None:
    vault, expected = golden(folder)
    manifest = snapshots.resolve(vault, expected[0]["snapshot"]).manifest
    (pipeline,) = vault.pipelines_record(manifest.pipelines).pipelines
    assert (pipeline.project, pipeline.name) == ("golden", "count")
    assert json.loads(pipeline.spec_json)["input"]["pfs"]["repo"] == "notes"


def test_it_holds_what_makes_a_vault_hard_to_read(folder: Path) -> None:
    """Deltas, deletions, pieces, failed and empty commits: or else its other tests prove little."""
    vault, expected = golden(folder)
    snapshot = snapshots.resolve(vault, expected[-1]["snapshot"])
    lists = [history.commits.to_pylist() for _, history in snapshot.repos()]
    rows = [row for rows_of_list in lists for row in rows_of_list]
    assert any(row["base"] for row in rows)
    assert any(row["error"] for row in rows)
    assert any(not row["size"] for row in rows)
    tables = [vault.file_table(name).to_pylist() for row in rows for name in row["tables"]]
    files = [row for file_table in tables for row in file_table]
    assert {row["kind"] for row in files} == {0, 1}
    assert any(row["blobs"] for row in files)
    assert any(row["kind"] == 1 and not row["size"] for row in files)


def test_every_byte_of_it_has_its_digest_and_is_left_as_it_is(folder: Path) -> None:
    vault, _ = golden(folder)
    before = {info.name: (info.size, info.modified_at) for info in vault.store.list("")}
    assert verify(vault, Level.DATA, Quiet()) == []
    assert {info.name: (info.size, info.modified_at) for info in vault.store.list("")} == before


def test_it_is_extracted_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    vault, expected = golden(folder)
    reader = BlobReader(vault, blob_index.load_places(vault))
    for expected_snapshot in expected:
        out = tmp_path / expected_snapshot["snapshot"]
        with opened(out, expected_snapshot["snapshot"], overwrite=False) as into:
            for chosen in choose(snapshots.resolve(vault, expected_snapshot["snapshot"]), [], [], []):
                assert extract(reader, chosen, into, Quiet(), workers=1).failed == []
        trees = {commit: tree for _, commit, tree in commits_of(expected_snapshot)}
        for place, head in expected_snapshot["branches"].items():
            root = out / place.replace("@", "/")
            files = [path for path in root.rglob("*") if path.is_file()]
            assert {
                "/" + str(path.relative_to(root)): [
                    path.stat().st_size,
                    blake3(path.read_bytes()).hexdigest(),
                ]
                for path in files
            } == trees[head]


def test_a_golden_blob_that_is_not_there_is_still_damage(folder: Path) -> None:
    vault, _ = golden(folder)
    with pytest.raises(DamageError, match="in no usable pack"):
        BlobReader(vault, blob_index.load_places(vault)).read(bytes(32))

"""What the vault has already: commits to build deltas on, and content that is not read again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from made import CLUSTER, Repo, back_up, flip, new_vault, tree_of
from pachvault.backup import base_lookup, run_records
from pachvault.backup.base_lookup import (
    KnownContent,
    NewestRecords,
    chain_links,
    known_contents,
    newest_records,
    sealed_layers,
)
from pachvault.backup.run_records import Tick
from pachvault.format import layout, table
from pachvault.format.ids import RepoName, digest
from pachvault.format.problem_kinds import INDEX_HEALED, METADATA_LOST
from pachvault.pach.records import Change
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.snapshots import Snapshot

NAME, OTHER = RepoName("p", "r"), RepoName("p", "other")


def record_of(snapshot: Snapshot, repo: RepoName) -> bytes:
    return next(entry.record for entry in snapshot.manifest.repos if entry.repo == repo.repo)


def test_the_newest_record_of_each_repo_is_found_whichever_snapshot_has_it(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo, other = Repo(NAME), Repo(OTHER)
    repo.commit({"/a": b"1"})
    other.commit({"/o": b"1"})
    first = back_up(vault, repo, other)
    repo.commit({"/a": b"2"})
    second = back_up(vault, repo)
    newest = newest_records(vault, CLUSTER.id, [NAME, OTHER, RepoName("p", "never")])
    assert {name: sealed.digest for name, sealed in newest.records.items()} == {
        NAME: record_of(second, NAME),
        OTHER: record_of(first, OTHER),
    }
    assert newest.snapshot is not None
    assert newest.snapshot.name == second.name
    assert newest.notes == []


def test_another_clusters_records_are_not_built_on(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    repo.commit({"/a": b"1"})
    back_up(vault, repo)
    assert newest_records(vault, "another cluster", [NAME]) == NewestRecords({}, None, [])


def damage_manifest(snapshot: Snapshot) -> str:
    return snapshot.name.path


def damage_record(snapshot: Snapshot) -> str:
    return layout.record_path(record_of(snapshot, NAME))


def damage_commit_list(snapshot: Snapshot) -> str:
    return layout.table_path(snapshot.repo(NAME).record.segments[-1].table)


@pytest.mark.parametrize("damaged", [damage_manifest, damage_record, damage_commit_list])
def test_a_backup_goes_on_from_what_is_whole(tmp_path: Path, damaged: Callable[[Snapshot], str]) -> None:
    """Damage in the newest snapshot is passed over: the next one is whole and needs none of it."""
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    repo.commit({"/a": b"1"})
    first = back_up(vault, repo)
    repo.commit({"/a": b"1", "/b": b"2"})
    flip(tmp_path / "vault" / damaged(back_up(vault, repo)), 30)
    newest = newest_records(vault, CLUSTER.id, [NAME])
    assert newest.records[NAME].digest == record_of(first, NAME)
    assert [note.kind for note in newest.notes] == [METADATA_LOST]
    repo.commit({"/c": b"3"})
    third = back_up(vault, repo)
    assert not third.manifest.partial
    assert [problem.kind for problem in third.manifest.problems] == [METADATA_LOST]
    for commit, tree in repo.trees.items():
        assert tree_of(third, NAME, commit) == {
            path: (len(data), digest(data)) for path, data in tree.items()
        }


@pytest.mark.parametrize("harm", ["lost", "flipped", "cut"])
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("is_changed", [False, True])
def test_a_file_table_that_is_lost_is_made_again_by_the_next_backup(
    tmp_path: Path, harm: str, which: int, *, is_changed: bool
) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    for number in range(3):
        repo.commit({f"/{index}": b"x%d" % index for index in range(number + 1)})
        before = back_up(vault, repo)
    name = before.repo(NAME).commits["tables"][which].as_py()[0]
    file = tmp_path / "vault" / layout.table_path(name)
    if harm == "lost":
        file.unlink()
    elif harm == "flipped":
        flip(file, 200)
    else:
        file.write_bytes(file.read_bytes()[:50])
    if is_changed:
        repo.commit({"/new": b"3"})
    after = back_up(vault, repo)
    assert not after.manifest.partial
    (note,) = after.manifest.problems
    assert (note.kind, note.repo) == (METADATA_LOST, str(NAME))
    assert f"{3 - which} commits" in note.message
    for commit, tree in repo.trees.items():
        assert tree_of(after, NAME, commit) == {
            path: (len(data), digest(data)) for path, data in tree.items()
        }
    assert back_up(vault, repo).manifest.problems == []


def test_commits_whose_tables_are_lost_and_that_cannot_be_read_again_make_a_snapshot_partial(
    tmp_path: Path,
) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    first, second = repo.commit({"/a": b"1"}), repo.commit({"/a": b"2"})
    before = back_up(vault, repo)
    name = before.repo(NAME).commits["tables"][1].as_py()[0]
    (tmp_path / "vault" / layout.table_path(name)).unlink()
    after = back_up(vault, repo, unreadable=frozenset({first, second}))
    assert after.manifest.partial
    assert {problem.commit for problem in after.manifest.problems} >= {second}
    assert [branch.head for branch in after.repo(NAME).record.branches] != [second]


@pytest.mark.parametrize("harm", ["lost", "flipped"])
def test_an_index_object_that_is_lost_is_made_again_by_the_next_backup(tmp_path: Path, harm: str) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    for number in range(2):
        repo.commit({"/a": b"content %d" % number})
        back_up(vault, repo)
    file = next((tmp_path / "vault" / layout.INDEX).iterdir())
    if harm == "lost":
        file.unlink()
    else:
        flip(file, 30)
    repo.commit({"/a": b"content 0"})
    after = back_up(vault, repo)
    assert not after.manifest.partial
    assert [problem.kind for problem in after.manifest.problems] == [INDEX_HEALED]
    assert len(blob_index.unindexed_rows(vault)) == 0
    reader = BlobReader(vault, blob_index.load_places(vault))
    for number in range(2):
        assert reader.read(digest(b"content %d" % number)) == b"content %d" % number
    repo.commit({"/a": b"content 1"})
    assert back_up(vault, repo).manifest.problems == []


def test_a_damaged_snapshot_covers_no_tick(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    repo.commit({"/a": b"1"})
    name = back_up(vault, repo).name
    tick = Tick(name.frozen_at, name.frozen_at, timedelta(hours=1))
    assert run_records.covering(vault, "default", "mine", tick, CLUSTER.id) is not None
    flip(tmp_path / "vault" / name.path, 30)
    assert run_records.covering(vault, "default", "mine", tick, CLUSTER.id) is None


def test_a_chain_names_the_tables_that_fold_to_the_tree(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    for number in range(4):
        repo.commit({f"/{index}": b"x" for index in range(number)})
    history = back_up(vault, repo).repo(NAME)
    head = repo.branches["master"]
    links = chain_links(history, head)
    assert [link.commit for link in links] == list(repo.commits)
    assert table.fold(sealed_layers(vault, NAME, links)).equals(history.tree(head))


def test_damaged_tables_know_nothing(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    repo.commit({"/a": b"1"})
    history = back_up(vault, repo).repo(NAME)
    links = chain_links(history, repo.branches["master"])
    flip(tmp_path / "vault" / layout.table_path(links[0].tables[0]), 30)
    assert sealed_layers(vault, NAME, links) == []


def layer(*files: tuple[str, bytes, bytes | None]) -> pa.Table:
    rows = [
        {"path": path, "kind": table.FILE, "size": 1, "digest": content, "pfs_hash": noted}
        for path, content, noted in files
    ]
    return pa.Table.from_pylist(rows, schema=table.FILES)


A, B = digest(b"a"), digest(b"b")


def contents(layers: list[pa.Table], *changes: Change) -> dict[bytes, KnownContent]:
    return known_contents(lambda: layers, changes)


def test_a_renamed_file_is_known_by_its_old_path() -> None:
    changes = [Change("/old", -1, b"", 1, b"hash"), Change("/new", 1, b"hash", -1, b"")]
    assert contents([layer(("/old", A, None), ("/other", B, None))], *changes) == {
        b"hash": KnownContent(A, None)
    }


def test_content_is_known_by_a_hash_that_a_table_noted() -> None:
    contents_found = contents(
        [layer(("/x", A, b"hash")), layer(("/y", B, b"other"))], Change("/new", 1, b"hash", -1, b"")
    )
    assert contents_found == {b"hash": KnownContent(A, None)}


def test_new_content_is_not_known() -> None:
    changes = [Change("/a", 1, b"new", 1, b"old"), Change("/gone", -1, b"", 1, b"gone")]
    assert contents([layer(("/a", A, b"old"), ("/gone", B, b"gone"))], *changes) == {}


def test_the_newest_layer_says_what_an_old_path_held() -> None:
    changes = [Change("/old", -1, b"", 1, b"hash"), Change("/new", 1, b"hash", -1, b"")]
    assert contents([layer(("/old", B, None)), layer(("/old", A, None))], *changes) == {
        b"hash": KnownContent(A, None)
    }


def test_where_only_deletions_are_wanted_no_table_is_read() -> None:
    def unwanted() -> list[pa.Table]:
        raise AssertionError("nothing needed to be read")

    assert base_lookup.known_contents(unwanted, [Change("/gone", -1, b"", 1, b"hash")]) == {}
    assert base_lookup.known_contents(unwanted, [Change("/empty", 0, b"hash", -1, b"")]) == {}

"""What the vault already knows: records to build on, and content that needs no reading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from made import BEGAN, CLUSTER, Repo, back_up, flip, new_vault, tree_of
from pachvault.backup import known, runs
from pachvault.backup.known import Content, chain_links, known_contents, newest_records, sealed_layers
from pachvault.format import layout, table
from pachvault.format.ids import RepoName, digest
from pachvault.pach.records import Change
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
    found, newest = newest_records(vault, CLUSTER.id, [NAME, OTHER, RepoName("p", "never")])
    assert {name: record for name, (record, _) in found.items()} == {
        NAME: record_of(second, NAME),
        OTHER: record_of(first, OTHER),
    }
    assert newest is not None
    assert newest.name == second.name


def test_another_clusters_records_are_not_built_on(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    repo.commit({"/a": b"1"})
    back_up(vault, repo)
    assert newest_records(vault, "another cluster", [NAME]) == ({}, None)


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
    found, _ = newest_records(vault, CLUSTER.id, [NAME])
    assert found[NAME][0] == record_of(first, NAME)
    repo.commit({"/c": b"3"})
    third = back_up(vault, repo)
    for commit, tree in repo.trees.items():
        assert tree_of(third, NAME, commit) == {
            path: (len(data), digest(data)) for path, data in tree.items()
        }


def test_a_damaged_snapshot_covers_no_tick(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    repo.commit({"/a": b"1"})
    flip(tmp_path / "vault" / back_up(vault, repo).name.path, 30)
    assert runs.covering(vault, "default", "mine", BEGAN, CLUSTER.id) is None


def test_a_chain_names_the_tables_that_fold_to_the_tree(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    for number in range(4):
        repo.commit({f"/{each}": b"x" for each in range(number)})
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


def contents(layers: list[pa.Table], *changes: Change) -> dict[bytes, Content]:
    return known_contents(lambda: layers, changes)


def test_a_renamed_file_is_known_by_its_old_path() -> None:
    changes = [Change("/old", -1, b"", 1, b"hash"), Change("/new", 1, b"hash", -1, b"")]
    assert contents([layer(("/old", A, None), ("/other", B, None))], *changes) == {b"hash": Content(A, None)}


def test_content_is_known_by_a_hash_that_a_table_noted() -> None:
    found = contents(
        [layer(("/x", A, b"hash")), layer(("/y", B, b"other"))], Change("/new", 1, b"hash", -1, b"")
    )
    assert found == {b"hash": Content(A, None)}


def test_new_content_is_not_known() -> None:
    changes = [Change("/a", 1, b"new", 1, b"old"), Change("/gone", -1, b"", 1, b"gone")]
    assert contents([layer(("/a", A, b"old"), ("/gone", B, b"gone"))], *changes) == {}


def test_the_newest_layer_says_what_an_old_path_held() -> None:
    changes = [Change("/old", -1, b"", 1, b"hash"), Change("/new", 1, b"hash", -1, b"")]
    assert contents([layer(("/old", B, None)), layer(("/old", A, None))], *changes) == {
        b"hash": Content(A, None)
    }


def test_where_only_deletions_are_wanted_no_table_is_read() -> None:
    def unwanted() -> list[pa.Table]:
        raise AssertionError("nothing needed to be read")

    assert known.known_contents(unwanted, [Change("/gone", -1, b"", 1, b"hash")]) == {}
    assert known.known_contents(unwanted, [Change("/empty", 0, b"hash", -1, b"")]) == {}

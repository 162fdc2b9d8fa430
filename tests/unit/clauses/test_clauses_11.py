"""docs/format.md, section 11: what is written after what, what is checked first, what is deleted first."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from made import CLUSTER, Repo, back_up
from pachvault.backup import run_records
from pachvault.backup.backup_messages import Plan, Receipt, WrittenObject
from pachvault.backup.seal.seal import seal
from pachvault.errors import DamageError, TakenError, UsageError
from pachvault.format import documents, index, layout, table
from pachvault.format.ids import RepoName, digest
from pachvault.format.manifest import Manifest
from pachvault.format.records import RepoRecord
from pachvault.maintenance.prune.prune_plan import PruneAction
from pachvault.store.folder_store import FolderStore
from pachvault.vault import vault
from pachvault.vault.index import blob_index
from pachvault.vault.snapshots import Snapshot
from stored import CONTENT
from timed import GRACE, Journal, Timed, made

NOW = datetime.fromisoformat("2026-01-01T01:00:00+00:00")
PLAN = Plan(
    status="work", summary="", run_id="run", cluster=CLUSTER, freeze_began_at=NOW, frozen_at=NOW, shares=1
)
KEY = digest(b"share").hex()


# 11.1 the order of writes


def named_by(story: Timed, name: str) -> set[str]:
    """The objects that an object names."""
    data = story.store.get(name)
    folder = name.partition("/")[0]
    if folder == layout.INDEX:
        return set(map(layout.pack_path, index.packs_of(data)[0]))
    if folder == layout.SNAPSHOTS:
        manifest = documents.decode(Manifest, data)
        return {
            layout.record_path(digest) for digest in (manifest.pipelines, *(r.record for r in manifest.repos))
        }
    if folder == layout.RECORDS and b'"type": "repo"' in data:
        record = documents.decode(RepoRecord, data)
        return {layout.table_path(segment.table) for segment in record.segments}
    if folder == layout.TABLES and not is_file_table(data):
        return set(map(layout.table_path, table.tables_of(table.decode_commits(data))))
    return set()


def is_file_table(data: bytes) -> bool:
    return b"pfs_hash" in data


def test_clause_11_1_a_run_writes_packs_index_tables_lists_records_and_the_manifest_last() -> None:
    story, *_ = made()
    repo = Repo(RepoName("p", "large"))
    repo.commit({f"/{number}": np.random.default_rng(number).bytes(700_000) for number in range(3)})
    repo.commit({"/0": b"small"})
    back_up(story.vault, repo, pack_bytes=1000, number=9)
    written = [name for name in story.store.written() if not name.startswith(layout.RUNS)]
    for at, name in enumerate(written):
        later = set(written[at + 1 :])
        assert not named_by(story, name) & later, f"{name} names what is written after it"
    kinds = [name.partition("/")[0] for name in written]
    order = [layout.PACKS, layout.INDEX, layout.RECORDS, layout.SNAPSHOTS]
    assert kinds.count(layout.PACKS) > 1
    assert [kind for kind in dict.fromkeys(kinds) if kind != layout.TABLES] == order
    assert [kinds[::-1].index(kind) for kind in order] == sorted(
        (kinds[::-1].index(kind) for kind in order), reverse=True
    ), "the last of each kind comes before the last of the next"
    assert kinds[-1] == layout.SNAPSHOTS
    assert kinds.count(layout.SNAPSHOTS) == 1


def test_clause_11_1_durable_means_synced_renamed_and_the_folder_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path)
    store.put("packs/first", [b"1"], 1)
    events: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        events.append(
            "sync the folder" if path.is_dir() else f"sync {'a' if path.name[0] == '.' else 'the'} file"
        )
        fsync(handle)

    def renamed(source: str, target: str, **folders: int) -> None:
        assert source.startswith("."), "under a temporary name"
        assert target == "second"
        events.append("rename")
        rename(source, target, **folders)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    store.put("packs/second", [b"22"], 2)
    assert events == ["sync a file", "rename", "sync the folder"]
    assert store.get("packs/second") == b"22"


def test_clause_11_1_of_two_that_make_a_vault_at_once_one_succeeds() -> None:
    class Late(Journal):
        """Another one makes the vault between the look and the write."""

        def put_new(self, name: str, data: bytes) -> None:
            super().put_new(name, b"the other's")
            super().put_new(name, data)

    store = Late()
    with pytest.raises(UsageError, match="another `init` has just created a vault here") as raised:
        vault.create(store)
    assert isinstance(raised.value.__cause__, TakenError)
    assert store.get(layout.CONFIG) == b"the other's"


# 11.2 what is checked before the manifest


def begun() -> tuple[Timed, Receipt]:
    """A run that has announced itself and stored a pack, an index object and a file table."""
    story, *_ = made()
    before = story.objects()
    snapshot = story.back_up(3, 20, 21)
    story.store.delete(snapshot.name.path)
    new = story.objects() - before
    run_records.announce(story.vault, "run", "default", CLUSTER.id, NOW)
    kinds: dict[str, list[WrittenObject]] = {layout.PACKS: [], layout.INDEX: [], layout.TABLES: []}
    for name in sorted(new):
        data = story.store.get(name)
        folder = name.partition("/")[0]
        if folder in kinds and (folder != layout.TABLES or is_file_table(data)):
            kinds[folder].append(WrittenObject(digest=layout.named_digest(name) or b"", size=len(data)))
    story.store.calls.clear()
    return story, Receipt(run_id="run", number=0, key=KEY, items=[], **kinds)


def path_of(receipt: Receipt, kind: str) -> str:
    path = {"packs": layout.pack_path, "index": layout.index_path, "tables": layout.table_path}[kind]
    return path(getattr(receipt, kind)[0].digest)


def change(story: Timed, name: str, how: str) -> None:
    data, at = story.store.objects.pop(name)
    if how != "missing":
        story.store.objects[name] = (
            {"short": data[:-1], "long": data + b"x", "flipped": data[:-1] + b"?"}[how],
            at,
        )


def assert_not_sealed(story: Timed, receipt: Receipt) -> None:
    with pytest.raises(DamageError):
        seal(story.vault, PLAN, [receipt])
    assert not any(name.startswith(layout.SNAPSHOTS) for name in story.store.written())


def test_clause_11_2_a_run_whose_objects_are_as_written_is_sealed() -> None:
    story, receipt = begun()
    assert seal(story.vault, PLAN, [receipt]).manifest.run_id == "run"


@pytest.mark.parametrize("how", ["missing", "short", "long"])
def test_clause_11_2_every_pack_must_have_its_size(how: str) -> None:
    story, receipt = begun()
    change(story, path_of(receipt, "packs"), how)
    assert_not_sealed(story, receipt)


@pytest.mark.parametrize("how", ["missing", "short", "long", "flipped"])
@pytest.mark.parametrize("kind", ["index", "tables"])
def test_clause_11_2_index_objects_and_tables_must_have_their_digests(kind: str, how: str) -> None:
    story, receipt = begun()
    change(story, path_of(receipt, kind), how)
    assert_not_sealed(story, receipt)


@pytest.mark.parametrize("how", ["missing", "short"])
def test_clause_11_2_every_blob_must_lie_in_a_pack_that_is_there_and_long_enough(how: str) -> None:
    """Also one that an earlier run wrote: the run does not name that pack as its own."""
    story, receipt = begun()
    name = path_of(receipt, "packs")
    if how == "missing":
        change(story, name, how)
    else:
        data, at = story.store.objects[name]
        story.store.objects[name] = data[:100], at
    assert_not_sealed(story, receipt.model_copy(update={"packs": []}))


def test_clause_11_2_what_a_run_was_not_sealed_for_is_stored_again_by_the_next_one() -> None:
    story, receipt = begun()
    run_records.keep_receipt(story.vault, receipt)
    assert run_records.kept_receipt(story.vault, KEY) == receipt
    change(story, path_of(receipt, "packs"), "missing")
    assert_not_sealed(story, receipt)
    assert layout.receipt_path(KEY) not in story.store.objects


@pytest.mark.parametrize("how", ["missing", "short"])
def test_clause_11_2_a_writer_does_not_rely_on_a_pack_that_is_missing_or_shorter(how: str) -> None:
    story, _, gone, alone = made()
    (pack,) = [name for name in alone if name.startswith(layout.PACKS)]
    data, at = story.store.objects.pop(pack)
    if how == "short":
        story.store.objects[pack] = data[:300], at
    again = story.back_up(5, 10, 11)
    assert again.manifest.totals.blobs_new == 2
    assert not blob_index.load_places(story.vault).find_all([digest(CONTENT[10])]).min() < 0
    assert gone.name.path in story.store.objects


def inherited(story: Timed) -> str:
    """A file table that the next run of the same repo inherits."""
    return next(name for name in story.names(layout.TABLES) if digest(CONTENT[10]) in story.store.get(name))


def back_up_again(story: Timed, store: Journal) -> Snapshot:
    """The repo of the second snapshot as it was, by another run."""
    name, commit, tree = story.trees["run-2"]
    repo = Repo(name)
    assert repo.commit(tree) == commit
    story.trees["run-9"] = story.trees["run-2"]
    return back_up(vault.open_vault(store), repo, number=9)


@pytest.mark.parametrize("how", ["missing", "replaced"])
def test_clause_11_2_a_table_that_is_inherited_must_be_there_and_one_written_since_is_read(how: str) -> None:
    story, *_ = made()
    name = inherited(story)
    data, _ = story.store.objects.pop(name)
    if how == "replaced":
        story.store.objects[name] = data[:-1] + b"?", story.store.now + timedelta(seconds=1)
    again = back_up_again(story, story.store)
    kinds = {problem.kind for problem in again.manifest.problems}
    assert kinds == {"metadata-lost"}
    repo, commit, tree = story.trees["run-2"]
    paths = again.repo(repo).tree(commit)["path"].to_pylist()
    assert set(paths) == set(tree), "written anew from the cluster"


def test_clause_11_2_a_table_that_an_unchanged_repo_inherits_must_be_there_at_the_seal() -> None:
    """It goes after the plan was made, so that only the seal can notice."""
    story, *_ = made()
    name = inherited(story)

    lost = Journal(now=story.store.now, objects=story.store.objects)
    asked = 0
    plain = lost.list

    def listed(folder: str) -> object:
        nonlocal asked
        asked += folder == layout.MARKS
        if asked == 2:  # export reads them, then seal
            lost.objects.pop(name, None)
        return plain(folder)

    lost.list = listed  # type: ignore[assignment,method-assign]
    with pytest.raises(DamageError, match="file tables have gone since the freeze"):
        back_up_again(story, lost)
    assert not any(written.startswith(layout.SNAPSHOTS) for written in lost.written())


def test_clause_11_2_an_index_object_is_written_for_packs_that_none_is_about() -> None:
    story, *_ = made()
    for name in story.names(layout.INDEX):
        del story.store.objects[name]
    again = story.back_up(6, 20)
    assert [problem.kind for problem in again.manifest.problems] == ["index-healed"]
    assert not again.manifest.partial
    rows = blob_index.all_rows(story.vault, ())
    assert len(rows.packs) == len(story.names(layout.PACKS))
    story.check()


# 11.3 the order of deletion


def test_clause_11_3_deletion_goes_manifests_records_and_tables_index_packs() -> None:
    story, kept, gone, _ = made()
    other = story.back_up(3, 20, 21)
    story.pass_by(timedelta(days=8))
    story.forget(gone)
    story.prune()
    story.pass_by(GRACE)
    story.forget(other)
    story.prune()  # deletes the objects of the one, marks those of the other and the one's index object
    story.pass_by(GRACE)
    planned = story.plan()
    doomed = {planned_object.name.partition("/")[0] for planned_object in planned.of(PruneAction.DELETE)}
    assert doomed == {layout.RECORDS, layout.TABLES, layout.INDEX, layout.PACKS}
    assert len(planned.expired) == 1
    story.store.calls.clear()
    story.prune(planned)
    order = {layout.FORGOTTEN: 0, layout.RECORDS: 1, layout.TABLES: 1, layout.INDEX: 2, layout.PACKS: 3}
    kinds = [name.partition("/")[0] for name in story.store.deleted()]
    places = [order[kind] for kind in kinds if kind in order]
    assert set(places) == {0, 1, 2, 3}
    assert places == sorted(places)
    assert kept.name.path in story.store.objects
    story.check()


@pytest.mark.parametrize("nth", range(1, 9))
def test_clause_11_3_a_prune_that_dies_between_deletions_leaves_nothing_that_names_what_is_gone(
    nth: int,
) -> None:
    story, _, gone, alone = made()
    story.pass_by(timedelta(days=8))
    story.forget(gone)
    story.prune()
    story.pass_by(GRACE)
    planned = story.plan()
    left = nth

    class StoppedError(Exception):
        pass

    delete = story.store.delete

    def dies(name: str) -> None:
        nonlocal left
        if name in alone | {layout.forgotten_path(gone.name.path)}:
            left -= 1
            if not left:
                raise StoppedError
        delete(name)

    story.store.delete = dies  # type: ignore[method-assign]
    try:
        story.prune(planned)
    except StoppedError:
        pass
    else:
        assert nth > len(alone) + 1
    there = set(story.store.objects)
    for name in there:
        if name.startswith((layout.SNAPSHOTS, layout.RECORDS)):
            assert named_by(story, name) <= there
    tables = [name for name in there & alone if name.startswith(layout.TABLES)]
    assert not tables or any(name.startswith(layout.PACKS) for name in there & alone)
    story.store.delete = delete  # type: ignore[method-assign]
    story.prune()
    story.check()


# 11.4 receipts


@pytest.mark.parametrize("how", ["missing", "short", "long", "marked"])
@pytest.mark.parametrize("kind", ["packs", "index", "tables"])
def test_clause_11_4_a_receipt_counts_only_while_every_object_is_there_with_its_size(
    kind: str, how: str
) -> None:
    story, receipt = begun()
    run_records.keep_receipt(story.vault, receipt)
    assert run_records.kept_receipt(story.vault, KEY) == receipt
    name = path_of(receipt, kind)
    opened = story.vault
    if how == "marked":
        opened = vault.Vault(story.store, story.vault.config, frozenset({name}))
    else:
        change(story, name, how)
    assert run_records.kept_receipt(opened, KEY) is None


def test_clause_11_4_a_receipt_of_another_share_does_not_count() -> None:
    story, receipt = begun()
    run_records.keep_receipt(story.vault, receipt)
    assert run_records.kept_receipt(story.vault, digest(b"another").hex()) is None
    assert RepoName("p", "r2") == story.trees["run-2"][0]

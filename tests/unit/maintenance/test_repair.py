"""Repair on vaults damaged by hand: it rebuilds what it can, reports what stays lost, and loses nothing."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from damaged import CONTENT, NAME, Damaged, from_memory
from made import Repo, age_all, back_up, flip, new_vault, tree_of
from pachvault.errors import DamageError, NoVaultError
from pachvault.format import documents, layout, pack
from pachvault.format.ids import RepoName, digest
from pachvault.format.maintenance_documents import Audit
from pachvault.format.manifest import Manifest
from pachvault.maintenance.prune import prune, prune_plan
from pachvault.maintenance.repair import repair
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.runtime.progress import Quiet
from pachvault.store.folder_store import FolderStore
from pachvault.store.store import Store
from pachvault.vault import clock, pending_deletes, snapshots, vault
from pachvault.vault.pack_writer import PackWriter


@pytest.fixture
def made(tmp_path: Path) -> Damaged:
    return Damaged(tmp_path)


def test_a_whole_vault_is_left_as_it_is(made: Damaged) -> None:
    before = made.objects()
    assert repair.plan(made.vault.store, Level.DATA, Quiet()).is_intact
    assert made.repaired().is_intact
    assert made.objects() == before


def test_planning_changes_nothing(made: Damaged) -> None:
    made.holding("/0").unlink()
    flip(made.holding("/3"), 100)
    flip(made.files(layout.INDEX)[0], 40)
    before = made.objects()
    assert not repair.plan(made.vault.store, Level.DATA, Quiet()).is_intact
    assert made.objects() == before


@pytest.mark.parametrize("which", [slice(0, 1), slice(1, 2), slice(None)])
def test_a_lost_index_is_rebuilt_from_the_packs(made: Damaged, which: slice) -> None:
    for file in made.files(layout.INDEX)[which]:
        file.unlink()
    done = made.repaired()
    assert done.is_intact
    assert done.indexed in (6, 12)
    made.assert_whole()


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_corrupt_index_is_replaced(made: Damaged, *, is_cut: bool) -> None:
    """Also where the new one would have the name of the old one."""
    for file in made.files(layout.INDEX):
        if is_cut:
            file.write_bytes(file.read_bytes()[:100])
        else:
            flip(file, 60)
    with pytest.raises(DamageError, match="pachvault repair") as refused:
        prune_plan.plan(made.vault, prune_plan.PruneLimits(), clock.store_now(made.vault), Quiet())
    assert refused.value.where.endswith(made.files(layout.INDEX)[0].name)
    assert made.repaired().indexed == 12
    for file in made.files(layout.INDEX):
        assert digest(file.read_bytes()) == layout.named_digest(f"{layout.INDEX}/{file.name}")
    made.assert_whole()


def test_index_rows_that_no_pack_bears_out_are_replaced(made: Damaged) -> None:
    """Rows of a pack that nobody needs and that is gone."""
    with PackWriter(made.vault) as writer:
        writer.add(pack.Frame(b"stray", 5, pack.CODEC_RAW, (digest(b"stray"),), (5,)))
        [stale] = writer.finish()
    made.vault.store.delete(layout.pack_path(writer.packs[0].digest))
    plan = repair.plan(made.vault.store, Level.STRUCTURE, Quiet())
    assert plan.replaced == [layout.index_path(stale.digest)]
    made.repaired(level=Level.STRUCTURE)
    assert made.vault.store.stat(layout.index_path(stale.digest)) is None
    made.assert_whole()


def test_a_flipped_frame_is_healed_and_the_rest_of_its_pack_is_saved(made: Damaged) -> None:
    bad = made.holding("/0")
    flip(bad, bad.read_bytes().index(CONTENT["/0"]) + 10)
    done = made.repaired(from_memory)
    assert done.is_intact
    assert (done.healed, done.copied) == (1, 2)
    assert done.marked == [str(bad.relative_to(made.root))]
    assert bad.exists(), "only prune deletes packs"
    assert str(bad.relative_to(made.root)) in pending_deletes.for_writing(made.vault).pending_deletes
    made.assert_whole()


def test_what_nobody_can_give_back_is_named_and_recorded(made: Damaged) -> None:
    made.holding("/0").unlink()
    done = made.repaired()
    hit = {want.path for want in done.lost_files}
    assert hit == {"/0", "/1", "/2"}
    assert done.healed == 0
    (file,) = made.files(layout.AUDITS)
    audit = documents.decode(Audit, file.read_bytes())
    assert audit.level == "repair"
    assert {entry.name.partition(":")[2] for entry in audit.objects} == hit
    made.assert_reads({path: data for path, data in CONTENT.items() if path not in hit})
    assert made.repaired().lost_files == done.lost_files
    assert made.files(layout.AUDITS) == [file], "the same is not said twice"


def test_a_pack_that_comes_back_is_found_again(made: Damaged) -> None:
    """Its index rows are kept as long as something of it is lost."""
    file = made.holding("/0")
    data = file.read_bytes()
    file.unlink()
    made.repaired()
    file.write_bytes(data)
    made.assert_whole()


def test_a_missing_pack_is_healed(made: Damaged) -> None:
    made.holding("/11").unlink()
    done = made.repaired(from_memory)
    assert (done.healed, done.is_intact) == (3, True)
    made.assert_whole()


def test_a_cut_pack_is_saved_as_far_as_it_reads(made: Damaged) -> None:
    file = made.holding("/0")
    first = sorted(("/0", "/1", "/2"), key=lambda path: file.read_bytes().index(CONTENT[path]))[0]
    file.write_bytes(file.read_bytes()[:4000])
    done = made.repaired()
    assert done.copied == 1
    assert {want.path for want in done.lost_files} == {"/0", "/1", "/2"} - {first}
    assert made.repaired(from_memory).healed == 2
    made.assert_whole()


def test_a_pack_without_its_trailer_is_saved_by_the_index(made: Damaged) -> None:
    file = made.holding("/0")
    file.write_bytes(file.read_bytes()[:-1])
    done = made.repaired()
    assert (done.copied, done.lost_files) == (3, [])
    made.assert_whole()


def test_swapped_packs_are_saved_from_where_they_lie(made: Damaged) -> None:
    one, other = made.holding("/0"), made.holding("/11")
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    done = made.repaired()
    assert (done.copied, done.lost_files) == (6, [])
    made.assert_whole()


def test_content_that_a_later_backup_stored_again_needs_no_repair(made: Damaged) -> None:
    file = made.holding("/0")
    flip(file, file.read_bytes().index(CONTENT["/0"]))
    assert made.repaired().lost_files
    other = Repo(RepoName("p", "copy"))
    other.commit({path: CONTENT[path] for path in ("/0", "/1", "/2")})
    back_up(pending_deletes.for_writing(made.vault), made.repo, other)
    assert made.repaired().is_intact
    assert made.damages() == []
    made.assert_reads(CONTENT)


@pytest.mark.parametrize("how", ["gone", "empty", "garbage", "other"])
def test_a_lost_configuration_is_rebuilt_from_the_manifests(made: Damaged, how: str) -> None:
    file = made.root / layout.CONFIG
    old = json.loads(file.read_text())
    del old["checksum"]  # as an earlier version wrote it
    file.unlink()
    if how != "gone":
        changed_config = json.dumps(old | {"vault_id": "f" * 32, "grace_seconds": 99})
        file.write_text({"empty": "", "garbage": "\x00{", "other": changed_config}[how])
    plan = repair.plan(made.vault.store, Level.STRUCTURE, Quiet())
    assert plan.config is not None
    assert not file.exists() or how != "gone"
    assert made.repaired().is_intact
    config = vault.open_vault(made.vault.store).config
    assert config.vault_id == old["vault_id"]
    assert config.grace == (timedelta(seconds=99) if how == "other" else timedelta(days=7))
    assert config.cutting == made.vault.config.cutting
    made.assert_whole()


def test_a_lost_grace_is_that_of_the_newest_manifest(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "vault")
    created = vault.create(store, timedelta(days=30))
    repo = Repo(NAME)
    for number in range(2):
        repo.commit({f"/{number}": b"1"})
        back_up(created, repo)
    store.delete(layout.CONFIG)
    plan = repair.plan(store, Level.STRUCTURE, Quiet())
    assert plan.config is not None
    assert plan.config.is_grace_known
    done = repair.execute(plan, None, Quiet())
    assert done.config == plan.config
    config = vault.open_vault(store).config
    assert config.grace == timedelta(days=30)
    assert config.created_at == min(manifest.freeze_began_at for manifest in manifests(store))


def test_a_grace_that_no_manifest_says_is_said_to_be_assumed(made: Damaged) -> None:
    """As manifests were before they named it."""
    for file in made.files(layout.SNAPSHOTS):
        fields = json.loads(file.read_text())
        del fields["grace_seconds"]
        data = json.dumps(fields).encode()
        file.with_name(file.name[:17] + digest(data).hex() + ".json").write_bytes(data)
        file.unlink()
    (made.root / layout.CONFIG).unlink()
    config = made.repaired().config
    assert config is not None
    assert (config.is_grace_known, config.config.grace) == (False, timedelta(days=7))


def manifests(store: Store) -> list[Manifest]:
    return [documents.decode(Manifest, store.get(info.name)) for info in store.list(layout.SNAPSHOTS)]


def test_a_configuration_is_not_made_up_where_nothing_says_whose_it_is(tmp_path: Path) -> None:
    opened = new_vault(tmp_path)
    opened.store.delete(layout.CONFIG)
    with pytest.raises(NoVaultError, match="no manifest"):
        repair.plan(opened.store, Level.STRUCTURE, Quiet())


def test_a_newer_format_is_no_damage(made: Damaged) -> None:
    file = made.root / layout.CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 99}))
    before = made.objects()
    with pytest.raises(NoVaultError, match="format 99"):
        made.repaired()
    assert made.objects() == before


@pytest.mark.parametrize("is_gone", [False, True])
@pytest.mark.parametrize("folder", [layout.SNAPSHOTS, layout.RECORDS, layout.TABLES])
def test_objects_that_cannot_be_rebuilt_are_named_with_what_is_lost(
    made: Damaged, folder: str, *, is_gone: bool
) -> None:
    rebuilt = []
    for file in made.files(folder):
        before = file.read_bytes()
        if is_gone:
            file.unlink()
        else:
            flip(file, 30)
        done = made.repaired()
        if folder == layout.SNAPSHOTS and is_gone:
            assert done.is_intact, "nothing tells of it any more"
        elif done.rebuilt:
            assert done.is_intact
            assert [made.root / name for name in done.rebuilt] == [file]
            assert file.read_bytes() == before
            rebuilt.append(file)
        else:
            (loss,) = done.lost_objects
            assert made.root / loss.object == file
            assert loss.snapshots
            assert loss.what
        if not is_gone:
            assert file.exists()
        file.write_bytes(before)
    assert made.repaired().is_intact
    assert len(rebuilt) == (folder == layout.TABLES), "the older commit list is in the newer one"


def test_a_backup_goes_on_after_a_record_was_damaged(made: Damaged) -> None:
    for file in made.files(layout.RECORDS):
        flip(file, 30)
    assert made.repaired().lost_objects
    made.repo.commit({"/new": b"new"})
    snapshot = back_up(pending_deletes.for_writing(made.vault), made.repo)
    commit = made.repo.branches["master"]
    assert tree_of(snapshots.load(made.vault, snapshot.name), NAME, commit) == {"/new": (3, digest(b"new"))}


def test_several_damages_at_once(made: Damaged) -> None:
    made.holding("/0").unlink()
    flip(made.holding("/3"), 100)
    file = made.holding("/6")
    file.write_bytes(file.read_bytes()[:-70])
    for index_file in made.files(layout.INDEX):
        flip(index_file, 50)
    (made.root / layout.CONFIG).unlink()
    done = made.repaired(from_memory)
    # without index and TOC nothing says where the blobs of the third pack are; all was to be had elsewhere
    assert done.is_intact
    made.assert_whole()


def pruned(made: Damaged) -> None:
    now = clock.store_now(made.vault)
    prune.execute(made.vault, prune_plan.plan(made.vault, prune_plan.PruneLimits(), now, Quiet()), Quiet())


def test_prune_deletes_the_damaged_packs_after_the_grace_and_nothing_that_is_needed(made: Damaged) -> None:
    flipped, cut = made.holding("/0"), made.holding("/3")
    flip(flipped, flipped.read_bytes().index(CONTENT["/0"]))
    cut.write_bytes(cut.read_bytes()[:-1])
    assert made.repaired(from_memory).is_intact
    for days in (0, 6, 9):
        age_all(made.vault, timedelta(days=days))
        pruned(made)
        made.assert_reads(CONTENT)
        assert flipped.exists() == cut.exists() == (days < 9)
    made.assert_whole()
    assert repair.plan(made.vault.store, Level.DATA, Quiet()).is_intact
    made.repaired()
    assert verify(made.vault, Level.DATA, Quiet()) == [], "the index names no pack any more that is gone"


def test_a_damaged_pack_that_stays_needed_is_not_deleted(made: Damaged) -> None:
    file = made.holding("/0")
    flip(file, file.read_bytes().index(CONTENT["/0"]))
    assert made.repaired().lost_files
    age_all(made.vault, timedelta(days=30))
    pruned(made)
    assert file.exists()
    assert made.repaired(from_memory).is_intact


def test_no_writer_relies_on_lost_content_however_long_ago_the_repair_was(made: Damaged) -> None:
    """The source is gone, the file stays lost; when it comes back years later it is stored again."""
    file = made.holding("/0")
    flip(file, file.read_bytes().index(CONTENT["/0"]))
    assert [want.path for want in made.repaired().lost_files] == ["/0"]
    for days in (0, 9, 9, 900):
        age_all(made.vault, timedelta(days=days))
        pruned(made)
    other = Repo(RepoName("p", "again"))
    other.commit({"/0": CONTENT["/0"]})
    back_up(made.vault, made.repo, other)
    assert made.damages() == []
    made.assert_reads(CONTENT)
    assert made.repaired().is_intact

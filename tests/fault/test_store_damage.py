"""What lies in a store is lost, cut, changed, swapped, spoofed: it is named, and nobody makes it worse."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import stored
from pachvault.errors import DamageError, NoVaultError
from pachvault.format import documents, index, layout
from pachvault.format.ids import digest
from pachvault.format.manifest import Manifest
from pachvault.vault import pending_deletes, snapshots, vault
from stored import CONTENT, Stored, attempt


def the_pack(story: Stored) -> str:
    """That which alone holds content of the first snapshot."""
    (name_of_pack,) = [name for name in story.names(layout.PACKS) if CONTENT[2] in story.store.get(name)]
    return name_of_pack


def the_index(story: Stored) -> str:
    """That which says so, and that stays."""
    opened = pending_deletes.for_writing(vault.open_vault(story.store))
    (name_of_index,) = [
        name
        for name in story.names(layout.INDEX)
        if name not in opened.pending_deletes
        and layout.named_digest(the_pack(story)) in index.decode(opened.read(name))["pack"].to_pylist()
    ]
    return name_of_index


def the_record(story: Stored) -> str:
    manifest = snapshots.load(vault.open_vault(story.store), story.kept[0]).manifest
    return layout.record_path(manifest.repos[0].record)


def the_commit_list(story: Stored) -> str:
    snapshot = snapshots.load(vault.open_vault(story.store), story.kept[0])
    [(_, history)] = snapshot.repos()
    return layout.table_path(history.record.segments[0].table)


def the_table(story: Stored) -> str:
    snapshot = snapshots.load(vault.open_vault(story.store), story.kept[0])
    [(_, history)] = snapshot.repos()
    return layout.table_path(history.commits["tables"][0].as_py()[0])


def the_manifest(story: Stored) -> str:
    return story.kept[0].path


def is_lost(story: Stored, name: str) -> None:
    story.store.delete(name)


def is_cut(story: Stored, name: str) -> None:
    data, written_at = story.store.objects[name]
    story.store.objects[name] = data[: len(data) * 2 // 3], written_at


def is_flipped(story: Stored, name: str) -> None:
    stored.flip(story.store, name, len(story.store.get(name)) // 2)


def is_swapped(story: Stored, name: str) -> None:
    """It has the bytes of another of its kind, and that one has its."""
    objects = story.store.objects
    folder = name.partition("/")[0]
    other = next(other_name for other_name in story.names(folder) if other_name != name)
    objects[name], objects[other] = objects[other], objects[name]


Harm = Callable[[Stored, str], None]
WHAT: dict[str, Callable[[Stored], str]] = {
    "pack": the_pack,
    "index": the_index,
    "record": the_record,
    "commit list": the_commit_list,
    "table": the_table,
    "manifest": the_manifest,
}
HARMS: dict[str, Harm] = {"lost": is_lost, "cut": is_cut, "flipped": is_flipped, "swapped": is_swapped}
ALL = [(what, harm) for what in WHAT for harm in HARMS if (what, harm) != ("manifest", "lost")]


@pytest.mark.parametrize(("what", "harm"), ALL)
def test_damage_is_named_and_whatever_is_done_nothing_else_goes(what: str, harm: str) -> None:
    story = stored.made()
    sound = dict(story.store.objects)
    HARMS[harm](story, WHAT[what](story))
    hurt = [name for name, stored_object in sound.items() if story.store.objects.get(name) != stored_object]
    assert attempt("verify", story, story.store) is not None
    for command in ("back up", "forget", "bring back", "prune", "repair", "prune"):
        attempt(command, story, story.store)
    assert what == "index" or harm == "swapped" or story.has_done("back up")
    for name in hurt:  # from a copy of the vault: then all is well again
        story.store.objects[name] = sound[name]
    story.check()
    story.again("back up")


@pytest.mark.parametrize(("what", "harm"), [case for case in ALL if case[0] in ("pack", "index")])
def test_repair_heals_packs_and_index(what: str, harm: str) -> None:
    story = stored.made()
    HARMS[harm](story, WHAT[what](story))
    story.again("repair")
    story.again("back up")
    story.let_grace_pass()
    story.again("prune")


@pytest.mark.parametrize("harm", ["lost", "cut"])
def test_vault_json_is_lost_and_made_anew(harm: str) -> None:
    story = stored.made()
    HARMS[harm](story, layout.CONFIG)
    before = dict(story.store.objects)
    for command in ("verify", "back up", "forget", "bring back", "prune"):
        assert isinstance(attempt(command, story, story.store), NoVaultError)
    assert story.store.objects == before
    story.again("repair")
    story.again("prune")


def test_an_index_object_that_is_stale_misleads_nobody() -> None:
    """It places blobs in packs that prune has deleted since."""
    story = stored.made()
    old = {name: story.store.objects[name] for name in story.names(layout.INDEX)}
    for _ in range(2):
        story.again("prune")
        story.let_grace_pass()
    story.again("prune")
    gone = old.keys() - story.store.objects.keys()
    assert gone
    story.store.objects.update({name: old[name] for name in gone})
    story.check()
    story.again("back up")
    story.again("prune")


def spoofed(story: Stored, vault_id: str) -> Manifest:
    opened = vault.open_vault(story.store)
    manifest = snapshots.load(opened, story.kept[0]).manifest
    return manifest.model_copy(update={"vault_id": vault_id, "run_id": "run-0"})


@pytest.mark.parametrize("how", ["of another vault", "of another time", "edited"])
def test_a_manifest_that_is_not_what_it_seems_is_refused(how: str) -> None:
    story = stored.made()
    vault_id = vault.open_vault(story.store).config.vault_id
    manifest = spoofed(story, "0" * 32 if how == "of another vault" else vault_id)
    data = documents.encode(manifest)
    at = story.kept[0].frozen_at.replace(year=2031 if how == "of another time" else 2026)
    path = layout.snapshot_path(at, manifest.sequence, digest(data))
    if how == "edited":
        data = data.replace(b'"partial": false', b'"partial": true ')
    story.store.put(path, [data], len(data))
    name = snapshots.parse_path(path)
    assert name is not None
    with pytest.raises(DamageError):
        snapshots.load(vault.open_vault(story.store), name)
    [finding] = story.damages()
    assert (finding.kind, finding.object) == ("manifest-damaged", path)
    before = dict(story.store.objects)
    assert isinstance(attempt("prune", story, story.store), DamageError)
    assert story.store.objects == before
    assert attempt("back up", story, story.store) is None
    stored.forget_named(story.store, name)
    story.again("prune")

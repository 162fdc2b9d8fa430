"""Erasures that are killed: at every moment each snapshot is there, old or new; doing it again finishes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from erasable import PEOPLE, SELECTION, Kept
from fault.dying import DyingStore, killed
from made import tree_of
from pachvault.maintenance import pins
from pachvault.maintenance.erase import erase, erase_plan
from pachvault.maintenance.forget import forget
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.runtime.progress import Quiet
from pachvault.store.folder_store import FolderStore
from pachvault.store.store import Store
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault, open_vault


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """One snapshot of three is forgotten, another one pinned."""
    kept = Kept(tmp_path)
    first, second, _ = snapshots.names(kept.vault)
    forget.execute(kept.vault, forget.plan_named(kept.vault, [first.id]))
    pins.pin(kept.vault, second.id, "audit")
    return kept


def erased(store: Store) -> None:
    vault = open_vault(store)
    erase.execute(erase_plan.plan(vault, SELECTION, Quiet()), Quiet())


def assert_no_snapshot_is_lost(kept: Kept, vault: Vault) -> None:
    """Each freeze still has its snapshot, whole, with or without the files; and its pin."""
    names = snapshots.names(vault)
    assert len({name.frozen_at for name in names}) == 2
    assert len({forgotten_snapshot.name.frozen_at for forgotten_snapshot in forget.forgotten(vault)}) == 1
    assert {pin.reason for pin in pins.load(vault).values()} == {"audit"}
    assert pins.load(vault).keys() & {name.id for name in names}
    assert [
        finding for finding in verify(vault, Level.STRUCTURE, Quiet()) if finding.severity == "damage"
    ] == []
    for name in names:
        snapshot = snapshots.load(vault, name)
        for commit in snapshot.repo(PEOPLE).by_id:
            paths = tree_of(snapshot, PEOPLE, commit).keys()
            whole = kept.people.trees[commit].keys()
            assert paths in (whole, {path for path in whole if not path.startswith("/people/42/")})


@pytest.mark.slow
@pytest.mark.parametrize("third", [0, 1, 2])
def test_killed_after_every_write_and_deletion(kept: Kept, tmp_path: Path, third: int) -> None:
    nth = third - 2
    while True:
        nth += 3
        there = tmp_path / f"again{nth}/vault"
        shutil.copytree(kept.root, there)
        vault = replace(kept.vault, store=FolderStore(there))
        if not killed(vault.store, nth, "after", erased):
            break
        assert_no_snapshot_is_lost(kept, vault)
        erased(vault.store)
        after = Kept.__new__(Kept)
        after.vault, after.root, after.people, after.other = vault, there, kept.people, kept.other
        after.assert_erased()
        assert erase_plan.plan(vault, SELECTION, Quiet()).is_empty
        shutil.rmtree(there)
    assert nth > 20


def test_killed_again_and_again_it_ends(kept: Kept) -> None:
    """Each attempt dies one write later than the one before, and goes on where that one was."""
    nth = 1
    while killed(kept.vault.store, nth, ("after", "before")[nth % 2], erased):
        assert_no_snapshot_is_lost(kept, kept.vault)
        nth += 1
        assert nth < 60
    kept.assert_erased()
    assert erase_plan.plan(kept.vault, SELECTION, Quiet()).is_empty


def test_nothing_is_written_or_deleted_where_there_is_nothing_to_erase(kept: Kept) -> None:
    erased(kept.vault.store)
    store = DyingStore(kept.vault.store)
    assert erase_plan.plan(open_vault(store), SELECTION, Quiet()).is_empty
    assert store.calls == 0

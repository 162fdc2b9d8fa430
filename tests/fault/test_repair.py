"""Repairs that are killed, run twice at once, or run out of room: never worse, and the next one completes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from damaged import CONTENT, Damaged, from_memory
from fault.dying import Answer, DyingStore, killed
from made import flip
from pachvault.errors import FullError, PachvaultError
from pachvault.format import documents, layout
from pachvault.format.ids import digest
from pachvault.maintenance.repair import repair
from pachvault.maintenance.repair.repair import Repaired
from pachvault.maintenance.verify.verify import Level
from pachvault.runtime.progress import Quiet
from pachvault.store.folder_store import FolderStore
from pachvault.store.store import Store
from pachvault.vault import vault


@pytest.fixture
def made(tmp_path: Path) -> Damaged:
    """A missing pack, a flipped one, a corrupt index object, and no vault.json."""
    damaged = Damaged(tmp_path)
    flip(damaged.holding("/0"), damaged.holding("/0").read_bytes().index(CONTENT["/0"]))
    damaged.holding("/3").unlink()
    flip(damaged.files(layout.INDEX)[0], 60)
    (damaged.root / layout.CONFIG).unlink()
    return damaged


def repaired(store: Store) -> Repaired:
    return repair.execute(repair.plan(store, Level.DATA, Quiet()), from_memory, Quiet())


@pytest.mark.parametrize("how", ["before", "after"])
def test_killed_at_every_write(made: Damaged, tmp_path: Path, how: str) -> None:
    nth = 0
    while True:
        nth += 1
        there = tmp_path / f"again{nth}/vault"
        shutil.copytree(made.root, there)
        store = FolderStore(there)
        packs = [info.name for info in store.list(layout.PACKS)]
        was_killed = killed(store, nth, how, repaired)
        assert all(store.stat(name) for name in packs)
        assert repaired(store).is_intact
        assert repair.plan(store, Level.DATA, Quiet()).is_intact
        made.vault = vault.open_vault(store)
        made.assert_reads(CONTENT)
        assert made.damages() == []
        if not was_killed:
            break
    assert nth > 5


def test_killed_again_and_again(made: Damaged) -> None:
    """Each one that dies leaves the vault a little better."""
    nth = 0
    while killed(made.vault.store, nth // 3 + 1, ("before", "after")[nth % 2], repaired):
        nth += 1
        assert nth < 60
    made.assert_whole()


class Doubled(DyingStore):
    """Before its n-th write another repair runs from beginning to end."""

    def _counted(self, call: Callable[[], Answer]) -> Answer:
        self.calls += 1
        if self.calls == self._nth:
            assert repaired(self._inner).is_intact
        return call()


def test_two_repairs_at_once(made: Damaged, tmp_path: Path) -> None:
    nth = 0
    while True:
        nth += 1
        there = tmp_path / f"again{nth}/vault"
        shutil.copytree(made.root, there)
        store = Doubled(FolderStore(there), nth)
        assert repaired(store).is_intact
        made.vault = vault.open_vault(FolderStore(there))
        made.assert_reads(CONTENT)
        assert made.damages() == []
        if store.calls < nth:
            break
    assert nth > 5


class FullStore(DyingStore):
    """A disk without room for any write from the n-th on."""

    def _counted(self, call: Callable[[], Answer]) -> Answer:
        self.calls += 1
        if self.calls >= self._nth:
            raise FullError("the target is full", where=self.url, hint="make room and run again")
        return call()


def test_a_disk_that_runs_full_costs_nothing(made: Damaged) -> None:
    index = {info.name for info in made.vault.store.list(layout.INDEX)}
    for nth in range(1, 4):
        before = {info.name for info in made.vault.store.list("")}
        with pytest.raises(PachvaultError, match="full"):
            repaired(FullStore(made.vault.store, nth))
        after = {info.name for info in made.vault.store.list("")}
        assert after >= before - index
        assert all(info.name in after for info in made.vault.store.list(layout.PACKS))
    repaired(made.vault.store)
    made.assert_whole()


def test_blobs_that_were_readable_stay_so_throughout(made: Damaged) -> None:
    """At whatever write it stops: what no damage hit is read from there."""
    (made.root / layout.CONFIG).write_bytes(documents.encode(made.vault.config))
    for file in made.files(layout.INDEX):
        if digest(file.read_bytes()) != layout.named_digest(f"{layout.INDEX}/{file.name}"):
            flip(file, 60)  # as it was
    untouched = {path: data for path, data in CONTENT.items() if path not in ("/0", "/3", "/4", "/5")}
    nth = 1
    while killed(made.vault.store, nth, "after", repaired):
        made.assert_reads(untouched)
        nth += 1
    assert nth > 2
    made.assert_whole()

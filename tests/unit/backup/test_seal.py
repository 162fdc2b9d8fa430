"""Sealing: once, only with every receipt of its own run, only on objects that are there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from made import BEGAN, CLUSTER, Repo, back_up, new_vault
from pachvault.backup.freeze import refused
from pachvault.backup.seal import seal
from pachvault.backup.work import Object, Plan, Receipt
from pachvault.errors import DamageError, PachvaultError
from pachvault.format import layout
from pachvault.format.ids import RepoName, digest
from pachvault.vault import blobs, snapshots
from pachvault.vault.reader import BlobReader

NOW = BEGAN + timedelta(hours=1)
PLAN = Plan(
    status="work", summary="", run_id="run", cluster=CLUSTER, freeze_began_at=BEGAN, frozen_at=NOW, shares=2
)


def receipt(number: int, run_id: str = "run", **objects: list[Object]) -> Receipt:
    return Receipt(run_id=run_id, number=number, key=f"k{number}", items=[], **objects)


def test_sealing_again_gives_the_same_snapshot(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    first = seal(vault, PLAN, [receipt(0), receipt(1)])
    again = seal(vault, PLAN, [receipt(1), receipt(0)])
    assert first.name == again.name
    assert len(snapshots.names(vault)) == 1


@pytest.mark.parametrize(
    "receipts",
    [
        [],
        [receipt(0)],
        [receipt(0), receipt(0)],
        [receipt(0), receipt(1), receipt(2)],
        [receipt(0), receipt(1, "earlier")],
    ],
)
def test_a_missing_a_repeated_or_a_strange_receipt_seals_nothing(
    tmp_path: Path, receipts: list[Receipt]
) -> None:
    vault = new_vault(tmp_path)
    with pytest.raises(PachvaultError, match="receipt"):
        seal(vault, PLAN, receipts)
    assert snapshots.names(vault) == []


def test_a_plan_that_does_nothing_seals_nothing(tmp_path: Path) -> None:
    with pytest.raises(PachvaultError, match="status refused seals nothing"):
        seal(new_vault(tmp_path), refused("run", "bad policy").plan, [])


@pytest.mark.parametrize("size", [None, 4])
def test_a_missing_or_short_pack_seals_nothing(tmp_path: Path, size: int | None) -> None:
    vault = new_vault(tmp_path)
    name = digest(b"pack")
    if size is not None:
        vault.store.put(layout.pack_path(name), [bytes(size)], size)
    with pytest.raises(DamageError, match="the run is not sealed"):
        seal(vault, PLAN, [receipt(0, packs=[Object(digest=name, size=5)]), receipt(1)])
    assert snapshots.names(vault) == []


def test_a_damaged_index_or_table_seals_nothing(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    name = digest(b"promised")
    for path, kind in ((layout.index_path(name), "index"), (layout.table_path(name), "tables")):
        vault.store.put(path, [b"x"], 1)
        with pytest.raises(DamageError, match="not what its name promises"):
            seal(vault, PLAN, [receipt(0, **{kind: [Object(digest=name, size=1)]}), receipt(1)])
        vault.store.delete(path)
    assert snapshots.names(vault) == []


def test_what_a_lost_pack_of_an_earlier_run_held_is_stored_again(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"kept by an earlier run"})
    back_up(vault, repo)
    pack = next(iter(vault.store.list(layout.PACKS)))
    vault.store.delete(pack.name)
    repo.commit({"/b": b"kept by an earlier run"})
    back_up(vault, repo)
    assert BlobReader(vault, blobs.load(vault)).read(digest(b"kept by an earlier run"))
    assert len(snapshots.names(vault)) == 2


def test_nothing_new_seals_a_snapshot_that_shares_everything(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"1"})
    first = back_up(vault, repo)
    second = back_up(vault, repo)
    assert [entry.record for entry in first.manifest.repos] == [
        entry.record for entry in second.manifest.repos
    ]
    assert second.manifest.totals.commits_new == 0

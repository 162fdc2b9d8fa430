"""Sealing: once, only with every receipt of its own run, only on objects that are there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from made import BEGAN, CLUSTER, Repo, age, back_up, new_vault
from pachvault.backup import run_records
from pachvault.backup.backup_messages import Plan, Receipt, WrittenObject
from pachvault.backup.freeze.freeze import refused
from pachvault.backup.seal.seal import seal
from pachvault.errors import BusyError, DamageError, PachvaultError, UsageError
from pachvault.format import layout
from pachvault.format.ids import RepoName, digest
from pachvault.format.maintenance_documents import PendingDelete
from pachvault.vault import pending_deletes, snapshots
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.vault import Vault

NOW = BEGAN + timedelta(hours=1)
PLAN = Plan(
    status="work", summary="", run_id="run", cluster=CLUSTER, freeze_began_at=BEGAN, frozen_at=NOW, shares=2
)


def receipt(number: int, run_id: str = "run", **objects: list[WrittenObject]) -> Receipt:
    return Receipt(run_id=run_id, number=number, key=digest(b"%d" % number).hex(), items=[], **objects)


def begun(folder: Path) -> Vault:
    """A vault in which the run has frozen."""
    vault = new_vault(folder)
    run_records.announce(vault, "run", "default", CLUSTER.id, NOW)
    return vault


def test_sealing_again_gives_the_same_snapshot(tmp_path: Path) -> None:
    vault = begun(tmp_path)
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
    vault = begun(tmp_path)
    with pytest.raises(PachvaultError, match="receipt"):
        seal(vault, PLAN, receipts)
    assert snapshots.names(vault) == []


def test_a_plan_that_does_nothing_seals_nothing(tmp_path: Path) -> None:
    with pytest.raises(PachvaultError, match="status refused seals nothing"):
        seal(new_vault(tmp_path), refused("run", UsageError("bad policy")).plan, [])


@pytest.mark.parametrize("size", [None, 4])
def test_a_missing_or_short_pack_seals_nothing(tmp_path: Path, size: int | None) -> None:
    vault = begun(tmp_path)
    name = digest(b"pack")
    if size is not None:
        vault.store.put(layout.pack_path(name), [bytes(size)], size)
    with pytest.raises(DamageError, match="the run is not sealed"):
        seal(vault, PLAN, [receipt(0, packs=[WrittenObject(digest=name, size=5)]), receipt(1)])
    assert snapshots.names(vault) == []


def test_a_damaged_index_or_table_seals_nothing(tmp_path: Path) -> None:
    vault = begun(tmp_path)
    name = digest(b"promised")
    for path, kind in ((layout.index_path(name), "index"), (layout.table_path(name), "tables")):
        vault.store.put(path, [b"x"], 1)
        with pytest.raises(DamageError, match="does not have the digest in its name"):
            seal(vault, PLAN, [receipt(0, **{kind: [WrittenObject(digest=name, size=1)]}), receipt(1)])
        vault.store.delete(path)
    assert snapshots.names(vault) == []


def test_what_a_lost_pack_of_an_earlier_run_held_is_stored_again(tmp_path: Path) -> None:
    vault = begun(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"kept by an earlier run"})
    back_up(vault, repo)
    pack = next(iter(vault.store.list(layout.PACKS)))
    vault.store.delete(pack.name)
    repo.commit({"/b": b"kept by an earlier run"})
    back_up(vault, repo)
    assert BlobReader(vault, blob_index.load_places(vault)).read(digest(b"kept by an earlier run"))
    assert len(snapshots.names(vault)) == 2


def test_nothing_new_seals_a_snapshot_that_shares_everything(tmp_path: Path) -> None:
    vault = begun(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"1"})
    first = back_up(vault, repo)
    second = back_up(vault, repo)
    assert [entry.record for entry in first.manifest.repos] == [
        entry.record for entry in second.manifest.repos
    ]
    assert second.manifest.totals.commits_new == 0


def test_a_run_older_than_half_the_grace_seals_nothing(tmp_path: Path) -> None:
    vault = begun(tmp_path)
    age(vault, layout.announcement_path("run"), vault.config.grace / 2 + timedelta(seconds=5))
    with pytest.raises(BusyError, match="more than 3 days 12 hours ago"):
        seal(vault, PLAN, [receipt(0), receipt(1)])
    assert snapshots.names(vault) == []


def test_a_run_of_almost_half_the_grace_is_sealed(tmp_path: Path) -> None:
    vault = begun(tmp_path)
    age(vault, layout.announcement_path("run"), vault.config.grace / 2 - timedelta(minutes=5))
    seal(vault, PLAN, [receipt(0), receipt(1)])
    assert len(snapshots.names(vault)) == 1


def test_a_run_whose_announcement_was_collected_seals_nothing(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    with pytest.raises(BusyError, match="its announcement is missing"):
        seal(vault, PLAN, [receipt(0), receipt(1)])


def test_a_marked_pack_seals_nothing(tmp_path: Path) -> None:
    vault = begun(tmp_path)
    name = digest(b"pack")
    vault.store.put(layout.pack_path(name), [bytes(5)], 5)
    pending_deletes.write(vault, [PendingDelete(name=layout.pack_path(name), reason="unreferenced")])
    with pytest.raises(BusyError, match="became a pending delete"):
        seal(vault, PLAN, [receipt(0, packs=[WrittenObject(digest=name, size=5)]), receipt(1)])
    assert snapshots.names(vault) == []


def test_a_snapshot_on_a_vault_that_lost_a_pack_says_so(tmp_path: Path) -> None:
    vault, repo = new_vault(tmp_path), Repo(RepoName("p", "r"))
    repo.commit({"/a": b"content"})
    assert not back_up(vault, repo).manifest.partial
    [pack] = list(vault.store.list(layout.PACKS))
    vault.store.delete(pack.name)
    manifest = back_up(vault, repo).manifest
    assert manifest.partial
    assert [problem.kind for problem in manifest.problems] == ["packs-lost"]
    assert pack.name in manifest.problems[0].message

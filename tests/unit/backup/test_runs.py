"""What runs leave for each other: receipts that hold only while their objects do, and announcements."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from made import BEGAN, CLUSTER, Repo, back_up, new_vault
from pachvault.backup import runs, work
from pachvault.backup.runs import Announcement, Tick
from pachvault.backup.work import Object, Receipt
from pachvault.errors import PachvaultError
from pachvault.format import layout
from pachvault.format.documents import Problem
from pachvault.format.ids import RepoName, digest
from pachvault.vault.vault import Vault

KEY = digest(b"work").hex()


def tick(at: datetime, now: datetime) -> Tick:
    return Tick(at, now, timedelta(hours=1))


def receipt(vault: Vault) -> Receipt:
    """A receipt of a share that wrote one of each kind."""
    written = {}
    for kind, path in (
        ("tables", layout.table_path),
        ("index", layout.index_path),
        ("packs", layout.pack_path),
    ):
        name = digest(kind.encode())
        vault.store.put(path(name), [b"12345"], 5)
        written[kind] = [Object(digest=name, size=5)]
    return Receipt(run_id="run", number=0, key=KEY, items=[], **written)


def test_a_receipt_is_kept_and_found_by_its_key(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    made = receipt(vault)
    assert runs.kept_receipt(vault, KEY) is None
    runs.keep_receipt(vault, made)
    assert runs.kept_receipt(vault, KEY) == made
    assert runs.kept_receipt(vault, digest(b"other").hex()) is None


@pytest.mark.parametrize("kind", ["tables", "index", "packs"])
def test_a_receipt_is_not_used_once_an_object_is_gone_or_short(tmp_path: Path, kind: str) -> None:
    vault = new_vault(tmp_path)
    made = receipt(vault)
    runs.keep_receipt(vault, made)
    path = next((tmp_path / "vault" / kind).rglob(digest(kind.encode()).hex() + "*"))
    path.write_bytes(b"1234")
    assert runs.kept_receipt(vault, KEY) is None
    path.write_bytes(b"12345")
    assert runs.kept_receipt(vault, KEY) == made
    path.unlink()
    assert runs.kept_receipt(vault, KEY) is None


def test_an_unreadable_receipt_is_as_good_as_none(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    vault.store.put(layout.run_path(f"share-{KEY}"), [b"{"], 1)
    assert runs.kept_receipt(vault, KEY) is None


def test_a_newer_receipt_replaces_an_outdated_one_and_can_be_dropped(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    made = receipt(vault)
    runs.keep_receipt(vault, made)
    newer = made.model_copy(update={"files_read": 7})
    runs.keep_receipt(vault, newer)
    assert runs.kept_receipt(vault, KEY) == newer
    runs.drop_receipt(vault, KEY)
    runs.drop_receipt(vault, KEY)
    assert runs.kept_receipt(vault, KEY) is None


def test_a_tick_is_covered_by_a_whole_snapshot_frozen_after_it(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"1"})
    snapshot = back_up(vault, repo)
    frozen_at = snapshot.manifest.frozen_at

    def covering(at: datetime, policy: str = "default", cluster: str = CLUSTER.id) -> str | None:
        return runs.covering(vault, policy, "mine", tick(at, frozen_at), cluster)

    assert covering(frozen_at) == f"snapshot {snapshot.short_id}"
    assert covering(frozen_at - timedelta(hours=3)) == f"snapshot {snapshot.short_id}"
    assert covering(frozen_at + timedelta(seconds=1)) is None
    assert covering(frozen_at, policy="other") is None
    assert covering(frozen_at, cluster="other") is None


def test_a_partial_snapshot_covers_no_tick(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"1"})
    at = back_up(vault, repo, problems=(Problem(repo="p/x", kind="gone", message="deleted"),)).name.frozen_at
    assert runs.covering(vault, "default", "mine", tick(at, at), CLUSTER.id) is None


def test_another_run_that_has_frozen_covers_until_it_has_sealed(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    said = Announcement(run_id="other", policy="default", cluster_id=CLUSTER.id, frozen_at=BEGAN).encode()
    vault.store.put(layout.run_path("frozen-other"), [said], len(said))

    def covering(at: datetime, run_id: str) -> str | None:
        return runs.covering(vault, "default", run_id, tick(at, datetime.now(UTC)), CLUSTER.id)

    assert "run other" in (covering(BEGAN, "mine") or "")
    assert covering(BEGAN, "other") is None
    assert covering(BEGAN + timedelta(seconds=1), "mine") is None
    runs.finish(vault, "other")
    assert covering(BEGAN, "mine") is None


def test_documents_between_stages_are_strict() -> None:
    made = Receipt(run_id="run", number=0, key=KEY, items=[])
    assert Receipt.read(made.encode(), "x") == made
    with pytest.raises(PachvaultError, match=r"receipts/0\.json: not a Receipt"):
        Receipt.read(made.encode().replace(b'"key"', b'"cay"'), "receipts/0.json")
    with pytest.raises(PachvaultError, match="not a Share"):
        work.Share.read(b"", "x")

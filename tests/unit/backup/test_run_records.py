"""Run records: receipts count only while their objects exist; announcements; covered ticks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from made import BEGAN, CLUSTER, Repo, back_up, new_vault
from memory import MemoryStore
from pachvault.backup import backup_messages, run_records
from pachvault.backup.backup_messages import Receipt, WrittenObject
from pachvault.backup.run_records import Announcement, Tick
from pachvault.errors import PachvaultError
from pachvault.format import layout
from pachvault.format.ids import RepoName, digest
from pachvault.format.manifest import Problem
from pachvault.vault import clock
from pachvault.vault.vault import Vault, create
from stored import flip

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
        written[kind] = [WrittenObject(digest=name, size=5)]
    return Receipt(run_id="run", number=0, key=KEY, items=[], **written)


def test_a_receipt_is_kept_and_found_by_its_key(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    own_receipt = receipt(vault)
    assert run_records.kept_receipt(vault, KEY) is None
    run_records.keep_receipt(vault, own_receipt)
    assert run_records.kept_receipt(vault, KEY) == own_receipt
    assert run_records.kept_receipt(vault, digest(b"other").hex()) is None


@pytest.mark.parametrize("kind", ["tables", "index", "packs"])
def test_a_receipt_is_not_used_once_an_object_is_gone_or_short(tmp_path: Path, kind: str) -> None:
    vault = new_vault(tmp_path)
    own_receipt = receipt(vault)
    run_records.keep_receipt(vault, own_receipt)
    path = next((tmp_path / "vault" / kind).rglob(digest(kind.encode()).hex() + "*"))
    path.write_bytes(b"1234")
    assert run_records.kept_receipt(vault, KEY) is None
    path.write_bytes(b"12345")
    assert run_records.kept_receipt(vault, KEY) == own_receipt
    path.unlink()
    assert run_records.kept_receipt(vault, KEY) is None


def test_an_unreadable_receipt_is_as_good_as_none(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    vault.store.put(layout.receipt_path(KEY), [b"{"], 1)
    assert run_records.kept_receipt(vault, KEY) is None


def test_a_newer_receipt_replaces_an_outdated_one_and_can_be_dropped(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    own_receipt = receipt(vault)
    run_records.keep_receipt(vault, own_receipt)
    newer = own_receipt.model_copy(update={"files_read": 7})
    run_records.keep_receipt(vault, newer)
    assert run_records.kept_receipt(vault, KEY) == newer
    run_records.drop_receipt(vault, KEY)
    run_records.drop_receipt(vault, KEY)
    assert run_records.kept_receipt(vault, KEY) is None


def test_a_tick_is_covered_by_a_whole_snapshot_frozen_after_it(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"1"})
    snapshot = back_up(vault, repo)
    frozen_at = snapshot.manifest.frozen_at

    def covering(at: datetime, policy: str = "default", cluster: str = CLUSTER.id) -> str | None:
        return run_records.covering(vault, policy, "mine", tick(at, frozen_at), cluster)

    assert covering(frozen_at) == f"snapshot {snapshot.short_id}"
    assert covering(frozen_at - timedelta(hours=3)) == f"snapshot {snapshot.short_id}"
    assert covering(frozen_at + timedelta(seconds=1)) is None
    assert covering(frozen_at, policy="other") is None
    assert covering(frozen_at, cluster="other") is None


def test_a_tick_is_not_covered_by_a_snapshot_or_run_of_another_selection(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"1"})
    at = back_up(vault, repo).manifest.frozen_at
    run_records.announce(vault, "other", "default", CLUSTER.id, BEGAN, "added")

    def covering(selection: str) -> str | None:
        return run_records.covering(vault, "default", "mine", tick(at, at), CLUSTER.id, selection)

    assert (covering("") or "").startswith("snapshot")
    assert covering("added") is None  # the snapshot is of another, and the run froze before the tick
    early = tick(BEGAN, datetime.now(UTC))
    by_run = run_records.covering(vault, "default", "mine", early, CLUSTER.id, "added")
    assert (by_run or "").startswith("run other")
    assert run_records.covering(vault, "default", "mine", early, CLUSTER.id, "third") is None


def test_a_partial_snapshot_covers_no_tick(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"1"})
    at = back_up(vault, repo, problems=(Problem(repo="p/x", kind="gone", message="deleted"),)).name.frozen_at
    assert run_records.covering(vault, "default", "mine", tick(at, at), CLUSTER.id) is None


def test_another_run_that_has_frozen_covers_until_it_has_sealed(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    announcement = Announcement(
        run_id="other", policy="default", cluster_id=CLUSTER.id, frozen_at=BEGAN
    ).encode()
    vault.store.put(layout.announcement_path("other"), [announcement], len(announcement))

    def covering(at: datetime, run_id: str) -> str | None:
        return run_records.covering(vault, "default", run_id, tick(at, datetime.now(UTC)), CLUSTER.id)

    assert "run other" in (covering(BEGAN, "mine") or "")
    assert covering(BEGAN, "other") is None
    assert covering(BEGAN + timedelta(seconds=1), "mine") is None
    run_records.finish(vault, "other")
    assert covering(BEGAN, "mine") is None


def test_documents_between_stages_are_strict() -> None:
    written = Receipt(run_id="run", number=0, key=KEY, items=[])
    assert Receipt.read(written.encode(), "x") == written
    with pytest.raises(PachvaultError, match=r"receipts/0\.json: not a valid receipt"):
        Receipt.read(written.encode().replace(b'"key"', b'"cay"'), "receipts/0.json")
    with pytest.raises(PachvaultError, match="not a valid export share"):
        backup_messages.ExportShare.read(b"", "x")


SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("age", "is_covered"),
    [
        (-clock.TOLERANCE - TICK, False),
        (-clock.TOLERANCE, True),
        (timedelta(), True),
        (timedelta(hours=3), True),
        (timedelta(hours=3) + TICK, False),
    ],
)
def test_a_snapshot_covers_a_tick_between_just_now_and_half_the_interval(
    age: timedelta, *, is_covered: bool
) -> None:
    asked = Tick(at=BEGAN - timedelta(days=30), now=BEGAN, interval=timedelta(hours=6))
    assert asked.is_covered_by(BEGAN - age) == is_covered


def test_a_snapshot_covers_no_tick_that_is_later_than_its_freeze() -> None:
    asked = Tick(at=BEGAN, now=BEGAN, interval=timedelta(hours=6))
    assert asked.is_covered_by(BEGAN)
    assert not asked.is_covered_by(BEGAN - TICK)


@pytest.mark.parametrize(
    ("age", "is_covered"),
    [
        (-clock.TOLERANCE - TICK, False),
        (-clock.TOLERANCE, True),
        (timedelta(hours=24), True),
        (timedelta(hours=24) + TICK, False),
    ],
)
def test_a_run_covers_a_tick_for_a_day_after_it_announced_itself(age: timedelta, *, is_covered: bool) -> None:
    asked = Tick(at=BEGAN - timedelta(days=30), now=BEGAN, interval=timedelta(hours=6))
    assert asked.is_covered_by_run(BEGAN, BEGAN - age) == is_covered


def test_one_that_covers_no_tick_or_does_not_read_hides_none_that_does() -> None:
    store = MemoryStore()
    vault = create(store)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"1"})
    good, unreadable, future = (back_up(vault, repo, number=number) for number in (1, 2, 900))
    flip(store, unreadable.name.path, 30)
    asked = tick(good.manifest.frozen_at, good.manifest.frozen_at)
    assert run_records.covering(vault, "default", "mine", asked, CLUSTER.id) == f"snapshot {good.short_id}"
    assert future.manifest.frozen_at > asked.now + clock.TOLERANCE
    for snapshot in (good, unreadable, future):
        store.delete(snapshot.name.path)
    at = good.manifest.frozen_at
    store.now = asked.now
    store.put(layout.announcement_path("a"), [b"{"], 1)
    store.put(layout.clock_path(16 * "0"), [b"{}"], 2)
    run_records.announce(vault, "late", "default", CLUSTER.id, at - SECOND)
    run_records.announce(vault, "other", "default", CLUSTER.id, at)
    assert "run other" in (run_records.covering(vault, "default", "mine", asked, CLUSTER.id) or "")


def test_names_tell_seconds_and_the_manifest_decides() -> None:
    """A snapshot frozen in the second of the tick may be of before it, or after."""
    vault = create(MemoryStore())
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"1"})
    frozen_at = back_up(vault, repo).manifest.frozen_at
    for by, is_covered in ((-TICK, True), (timedelta(), True), (TICK, False)):
        covering = run_records.covering(vault, "default", "mine", tick(frozen_at + by, frozen_at), CLUSTER.id)
        assert (covering is not None) == is_covered


def test_a_worker_that_was_quicker_with_the_receipt_is_no_error() -> None:
    class Quicker(MemoryStore):
        """Another one's receipt comes after the old one was deleted."""

        def delete(self, name: str) -> None:
            super().delete(name)
            self.objects[name] = b"another worker's receipt, and longer" * 50, self.now

    vault = create(Quicker())
    run_records.keep_receipt(vault, Receipt(run_id="run", number=0, key=KEY, items=[]))

"""Prune on vaults made by hand, with time passing by the store's clock: what goes when, what never does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from made import Repo, age, age_all, back_up, new_vault
from pachvault.errors import DamageError, PachvaultError, UsageError
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.format.maintenance_documents import PendingDelete
from pachvault.maintenance.prune import prune
from pachvault.maintenance.prune.prune import PruneOutcome
from pachvault.maintenance.prune.prune_plan import PruneAction, PruneLimits, PrunePlan, plan
from pachvault.maintenance.verify.findings import Severity
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.runtime.progress import Quiet
from pachvault.vault import clock, pending_deletes, snapshots
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault

NAME = RepoName("p", "r")
GRACE = timedelta(days=7)
NEVER = PruneLimits(max_dead=1.0)
EMPTIED = PruneLimits(max_dead=1.0, may_empty=True)


def content(number: int, size: int = 3000) -> bytes:
    return np.random.default_rng(number).bytes(size)


class Story:
    """Snapshots of a repo whose content changes altogether each time, unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        self.vault: Vault = new_vault(folder)
        self.trees: dict[str, dict[str, bytes]] = {}
        self.count = 0

    def back_up(self, *numbers: int, pack_bytes: int = 7000) -> Snapshot:
        """A snapshot of a new repo with these files; each is 3000 bytes that do not compress."""
        self.count += 1
        repo = Repo(RepoName("p", f"r{self.count}"))
        tree = {f"/{number}": content(number) for number in numbers}
        repo.commit(tree)
        snapshot = back_up(self.vault, repo, pack_bytes=pack_bytes)
        self.trees[snapshot.name.path] = tree
        return snapshot

    def forget(self, snapshot: Snapshot) -> None:
        data = self.vault.store.get(snapshot.name.path)
        self.vault.store.put(layout.forgotten_path(snapshot.name.path), [data], len(data))
        self.vault.store.delete(snapshot.name.path)

    def pass_time(self, days: float) -> None:
        age_all(self.vault, timedelta(days=days))

    def plan(self, limits: PruneLimits = NEVER) -> PrunePlan:
        return plan(self.vault, limits, clock.store_now(self.vault), Quiet())

    def prune(self, limits: PruneLimits = NEVER) -> PruneOutcome:
        return prune.execute(self.vault, self.plan(limits), Quiet())

    def names(self, folder: str) -> set[str]:
        return {info.name for info in self.vault.store.list(folder)}

    def check(self) -> None:
        """Every snapshot that is there reads back, and nothing is amiss."""
        assert verify_all(self.vault) == []
        reader = BlobReader(self.vault, blob_index.load_places(self.vault))
        for name in snapshots.names(self.vault):
            [(_, history)] = snapshots.load(self.vault, name).repos()
            head = history.record.branches[0].head
            assert head
            rows = history.tree(head).to_pylist()
            contents = {row["path"]: reader.read(row["digest"]) for row in rows}
            assert contents == self.trees[name.path]


def verify_all(vault: Vault) -> list[object]:
    """Findings; a note is that the index still places blobs, which nobody needs, in packs that are gone."""
    findings = verify(vault, Level.DATA, Quiet())
    return [
        finding
        for finding in getattr(findings, "findings", findings)
        if finding.severity is not Severity.NOTE
    ]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def test_nothing_goes_that_a_snapshot_needs(story: Story) -> None:
    story.back_up(1, 2, 3)
    story.back_up(2, 3, 4)
    before = story.names("")
    story.pass_time(30)
    done = story.prune()
    assert (done.marked, done.deleted_bytes) == (0, 0)
    assert before - story.names("") == {name for name in before if name.startswith(layout.RUNS)}
    story.check()


def test_what_was_forgotten_is_marked_at_once_and_goes_after_the_grace(story: Story) -> None:
    gone, kept = story.back_up(1, 2), story.back_up(3, 4)
    story.pass_time(8)
    story.forget(gone)
    before = story.names("")
    assert story.prune().marked == 4, "a pack, a file table, a commit list, a record"
    story.pass_time(6.9)
    assert story.prune().deleted.total() == 0
    story.pass_time(0.2)
    done = story.prune()
    assert done.deleted == {"forgotten": 1, "packs": 1, "tables": 2, "records": 1}
    assert [name.path for name in snapshots.names(story.vault)] == [kept.name.path]
    story.check()
    resting = {entry.name for pending in pending_deletes.load(story.vault) for entry in pending.mark.objects}
    assert {name for name in resting if not name.startswith(layout.INDEX)} == {
        name for name in before - story.names("") if name.startswith(("packs", "tables", "records"))
    }
    for _ in range(2):
        story.pass_time(7.1)
        story.prune()
    assert story.names(layout.MARKS) == set()


def test_what_was_brought_back_and_forgotten_again_has_its_grace(story: Story) -> None:
    gone = story.back_up(1, 2)
    story.pass_time(8)
    story.forget(gone)
    story.prune()
    story.pass_time(6)
    data = story.vault.store.get(layout.forgotten_path(gone.name.path))
    story.vault.store.put(gone.name.path, [data], len(data))
    story.vault.store.delete(layout.forgotten_path(gone.name.path))
    story.forget(gone)
    story.pass_time(2)
    assert story.prune().deleted_bytes == 0, "marked for 8 days, but forgotten for 2"
    story.vault.store.put(gone.name.path, [data], len(data))
    story.check()


def test_what_young_runs_wrote_is_left_alone_and_what_dead_ones_wrote_is_not(story: Story) -> None:
    snapshot = story.back_up(1, 2)
    story.vault.store.delete(snapshot.name.path)  # as if the run had died before it sealed
    assert story.prune(EMPTIED).marked == 0
    story.pass_time(3.4)
    assert story.prune(EMPTIED).marked == 0
    story.pass_time(3.8)  # its receipt no longer counts
    assert story.prune(EMPTIED).marked == 5
    story.pass_time(7.1)
    assert story.prune(EMPTIED).deleted["packs"] == 1
    for _ in range(2):
        story.pass_time(7.1)
        story.prune(EMPTIED)
    assert story.names("") == {layout.CONFIG}


def test_a_marked_pack_that_is_needed_again_is_spared(story: Story) -> None:
    story.back_up(1, 2)
    story.pass_time(1)
    [pack] = story.names(layout.PACKS)
    pending_deletes.write(story.vault, [PendingDelete(name=pack, reason="by mistake")])
    assert [planned_pack.action for planned_pack in story.plan().packs] == [PruneAction.WAIT]
    story.pass_time(7.1)
    assert [planned_pack.action for planned_pack in story.plan().packs] == [PruneAction.SPARE]
    story.prune()
    assert story.names(layout.MARKS) == set()
    story.check()


def test_after_forgetting_all_the_same_content_is_stored_anew(story: Story) -> None:
    first = story.back_up(1, 2)
    story.forget(first)
    story.pass_time(7.1)
    story.prune()
    old = story.names(layout.PACKS)
    again = story.back_up(1, 2)
    assert story.names(layout.PACKS) > old, "under another name"
    story.pass_time(7.1)
    assert story.prune().deleted["packs"] == 1
    assert not story.names(layout.PACKS) & old
    assert [name.path for name in snapshots.names(story.vault)] == [again.name.path]
    story.check()


def test_a_mostly_dead_pack_is_repacked_and_goes_in_its_turn(story: Story) -> None:
    gone = story.back_up(1, 2, 3, 4, pack_bytes=100_000)
    story.back_up(1, 9, pack_bytes=100_000)
    story.forget(gone)
    [old] = [planned_pack.name for planned_pack in story.plan().packs if planned_pack.blob_bytes == 12_000]
    story.pass_time(7.1)
    done = story.prune(PruneLimits(max_dead=0.7))
    assert (done.repacked, done.repacked_bytes) == (1, 3000)
    story.check()
    story.pass_time(7.1)
    done = story.prune(PruneLimits(max_dead=0.7))
    assert old not in story.names(layout.PACKS)
    assert done.repacked == 0
    story.check()


def test_repack_stays_within_its_budget_and_takes_the_emptiest_first(story: Story) -> None:
    gone = [story.back_up(*range(at, at + 4), pack_bytes=100_000) for at in (10, 20)]
    story.back_up(10, 20, 21, pack_bytes=100_000)
    for snapshot in gone:
        story.forget(snapshot)
    story.pass_time(7.1)
    pack_of_live = {
        planned_pack.live_bytes: planned_pack
        for planned_pack in story.plan(PruneLimits(0.4, repack_bytes=4000)).packs
    }
    assert pack_of_live[3000].action is PruneAction.REPACK
    assert pack_of_live[6000].action is PruneAction.KEEP
    assert "beyond the budget" in pack_of_live[6000].reason


def test_a_copy_elsewhere_that_cannot_be_read_saves_the_pack(story: Story) -> None:
    """Content stored twice: the copy that counts is damaged, so the marked one stays."""
    gone = story.back_up(1, 2, 3, 4, pack_bytes=100_000)
    story.back_up(1, 9, pack_bytes=100_000)
    story.forget(gone)
    story.pass_time(7.1)
    before = story.names(layout.PACKS)
    story.prune(PruneLimits(max_dead=0.7))
    [new] = story.names(layout.PACKS) - before
    path = Path(story.vault.store.url.removeprefix("file://")) / new
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    story.pass_time(7.1)
    done = story.prune(PruneLimits(max_dead=0.7))
    assert before <= story.names(layout.PACKS)
    assert "has no other readable copy" in done.problems[0]
    assert done.deleted["packs"] == 0


def test_a_damaged_vault_is_not_pruned(story: Story) -> None:
    snapshot, gone = story.back_up(1, 2), story.back_up(5, 6)
    story.forget(gone)
    story.pass_time(30)
    before = story.names("")
    [(_, history)] = snapshot.repos()
    table = layout.table_path(history.commits["tables"][0].as_py()[0])
    data = story.vault.store.get(table)
    story.vault.store.delete(table)
    with pytest.raises(DamageError, match="nothing is deleted"):
        story.prune()
    assert story.names("") == before - {table}
    story.vault.store.put(table, [data], len(data))
    story.prune()
    story.check()


def test_a_lost_pack_stops_prune(story: Story) -> None:
    story.back_up(1, 2)
    story.vault.store.delete(min(story.names(layout.PACKS)))
    with pytest.raises(DamageError, match="2 needed blobs are in no pack"):
        story.prune()


def test_a_target_that_refuses_deletion_is_refused_before_anything_happens(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = story.back_up(1, 2)
    story.forget(gone)
    story.pass_time(30)
    before = story.names("")

    def refuse(name: str) -> None:
        raise PachvaultError("locked", where=name)

    monkeypatch.setattr(story.vault.store, "delete", refuse)
    with pytest.raises(PachvaultError, match="does not allow deletion"):
        story.prune()
    assert {name for name in story.names("") - before if "clock" not in name} == set()
    assert before <= story.names("")


def test_a_crowded_index_becomes_one_object(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachvault.maintenance.prune.prune_plan.INDEX_OBJECTS", 3)
    for number in range(5):
        story.back_up(number)
    story.pass_time(4)
    story.prune()
    assert len(story.names(layout.INDEX)) == 6
    story.check()
    story.pass_time(7.1)
    story.prune()
    assert len(story.names(layout.INDEX)) == 1
    assert len(blob_index.load_places(story.vault)) == 5
    story.check()


def test_a_plan_that_is_out_of_date_does_no_harm(story: Story) -> None:
    """Planned, then brought back, then executed."""
    gone = story.back_up(1, 2)
    story.pass_time(8)
    data = story.vault.store.get(gone.name.path)
    story.vault.store.delete(gone.name.path)
    story.prune(EMPTIED)
    story.pass_time(7.1)
    planned = story.plan(EMPTIED)
    assert len(planned.of(PruneAction.DELETE)) == 5
    story.vault.store.put(gone.name.path, [data], len(data))
    done = prune.execute(story.vault, planned, Quiet())
    assert done.deleted_bytes == 0
    story.check()


def test_what_comes_from_the_future_is_young(story: Story) -> None:
    snapshot = story.back_up(1, 2)
    story.vault.store.delete(snapshot.name.path)
    story.pass_time(30)
    for name in story.names(layout.PACKS):
        age(story.vault, name, timedelta(days=-300))
    assert {planned_pack.action for planned_pack in story.plan(EMPTIED).packs} == {PruneAction.KEEP}


def test_aborted_writes_are_swept_when_they_are_old(story: Story) -> None:
    root = Path(story.vault.store.url.removeprefix("file://"))
    left = root / "packs" / f".{'a' * 64}.0123abcd.part"  # not where packs are
    ours = root / "packs" / "aa" / left.name
    ours.parent.mkdir(parents=True, exist_ok=True)
    for file in (left, ours):
        file.write_bytes(b"half")
    story.prune()
    assert ours.exists()
    for file in (left, ours):
        age(story.vault, str(file.relative_to(root)), GRACE + timedelta(hours=1))
    story.prune()
    assert left.exists()
    assert not ours.exists()


def test_a_name_that_was_deleted_rests_while_a_slower_prune_may_delete_it_again(story: Story) -> None:
    gone = story.back_up(1, 2)
    story.pass_time(8)
    story.forget(gone)
    story.prune()
    story.pass_time(7.1)
    slow = story.plan()
    doomed = {planned_object.name for planned_object in slow.of(PruneAction.DELETE)}
    story.prune()
    snapshot = story.back_up(1, 2)
    assert not doomed & story.names("")
    for name in doomed:
        story.vault.store.delete(name)
    assert snapshot.name in snapshots.names(story.vault)
    story.check()


def test_a_vault_whose_snapshots_are_gone_is_not_emptied(story: Story) -> None:
    snapshot = story.back_up(1, 2)
    story.vault.store.delete(snapshot.name.path)
    story.pass_time(30)
    before = story.names("")
    with pytest.raises(UsageError, match="no snapshot, forgotten or not"):
        story.prune()
    assert story.names("") == before


def test_nothing_is_deleted_beside_a_snapshot_that_lost_its_name(story: Story) -> None:
    snapshot, _ = story.back_up(1, 2), story.back_up(3)
    store, wrong = story.vault.store, f"{layout.SNAPSHOTS}/mine.json"
    data = store.get(snapshot.name.path)
    store.put(wrong, [data], len(data))
    store.delete(snapshot.name.path)
    story.pass_time(30)
    before = story.names("")
    with pytest.raises(DamageError, match=f"rename it to {snapshot.name.path}"):
        story.prune()
    assert story.names("") == before
    store.put(snapshot.name.path, [data], len(data))
    story.prune()  # a copy is no snapshot without a name
    story.check()


def test_a_pack_that_repair_marked_stays_marked_while_it_is_there(story: Story) -> None:
    story.back_up(1, 2)
    [pack] = story.names(layout.PACKS)
    pending_deletes.write(
        story.vault, [PendingDelete(name=pack, reason=f"{pending_deletes.DAMAGED}wrong checksum")]
    )
    story.pass_time(8)
    assert [planned_pack.action for planned_pack in story.plan().packs] == [PruneAction.SPARE]
    story.prune()
    assert pack in pending_deletes.for_writing(story.vault).pending_deletes


def test_what_prune_deleted_is_not_taken_for_lost(story: Story) -> None:
    gone = story.back_up(1, 2)
    story.back_up(3, 4)
    story.pass_time(8)
    story.forget(gone)
    for _ in range(5):
        story.prune()
        assert blob_index.lost_packs(pending_deletes.for_writing(story.vault)) == []
        story.pass_time(7.1)

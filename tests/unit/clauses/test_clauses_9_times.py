"""docs/format.md, section 9: what maintenance may do when. Each time is tried just before and at its end."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from made import CLUSTER
from pachvault.backup import run_records
from pachvault.backup.backup_messages import Plan, Receipt, WrittenObject
from pachvault.backup.seal.seal import seal
from pachvault.errors import BusyError, DamageError, UsageError
from pachvault.format import documents, layout
from pachvault.format.ids import digest
from pachvault.format.maintenance_documents import Mark, PendingDelete, Pin
from pachvault.maintenance import pins
from pachvault.maintenance.forget import forget
from pachvault.maintenance.forget.retention import RetentionAction as Fate
from pachvault.maintenance.prune import prune
from pachvault.maintenance.prune.prune_plan import PruneAction
from pachvault.policy import Retention
from pachvault.vault import clock, pending_deletes, snapshots, vault
from pachvault.vault.vault import Vault
from stored import CONTENT, flip
from timed import GRACE, TICK, Timed, made

HALF = GRACE / 2


# 9.1 the grace, and the clock that counts


def configure(story: Timed, grace_seconds: float | None) -> None:
    """Write `vault.json` anew: with this grace, or as a version without graces and checksums did."""
    config = story.vault.config
    data = config.model_copy(update={"grace_seconds": grace_seconds}).encode()
    if grace_seconds is None:
        fields = config.model_dump(mode="json")
        del fields["grace_seconds"]
        data = json.dumps(fields).encode()
    story.store.objects[layout.CONFIG] = data, story.store.objects[layout.CONFIG][1]


def test_clause_9_1_the_grace_is_that_of_the_vault_and_a_week_where_it_says_none() -> None:
    story, *_ = made()
    assert story.vault.config.grace == timedelta(seconds=604800)
    configure(story, 99)
    assert story.vault.config.grace == timedelta(seconds=99)
    configure(story, None)
    assert story.vault.config.grace == timedelta(seconds=604800)


def test_clause_9_1_a_vault_with_another_grace_is_pruned_by_it() -> None:
    story, _, gone, alone = made()
    configure(story, 86400)
    story.pass_by(timedelta(days=1))
    story.forget(gone)
    story.prune()
    story.pass_by(timedelta(days=1) - TICK)
    story.prune()
    assert alone <= story.objects()
    story.pass_by(TICK)
    story.prune()
    assert not alone & story.objects()


def test_clause_9_1_the_time_is_that_of_an_object_written_just_now_and_taken_away_again() -> None:
    story, *_ = made()
    before = set(story.store.objects)
    assert clock.store_now(story.vault) == story.store.now
    assert set(story.store.objects) == before


@pytest.mark.parametrize("ahead", [-timedelta(days=400), timedelta(days=400)])
def test_clause_9_1_what_forgets_marks_or_deletes_counts_with_the_earlier_of_two_clocks(
    monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    story, *_ = made()

    class Here:
        @staticmethod
        def now(zone: object) -> datetime:
            assert zone is UTC
            return story.store.now + ahead

    monkeypatch.setattr(clock, "datetime", Here)
    clocks = clock.read(story.vault)
    assert (clocks.store, clocks.here) == (story.store.now, story.store.now + ahead)
    assert clocks.earlier == min(story.store.now, story.store.now + ahead)


@pytest.mark.parametrize("behind", [timedelta(0), GRACE])
def test_clause_9_1_a_forget_by_a_clock_that_is_behind_takes_nothing_left_over_for_stale(
    monkeypatch: pytest.MonkeyPatch, behind: timedelta
) -> None:
    """What an earlier forget left is written anew where it is stale: by the earlier clock it is not."""
    story, _, gone, _ = made()
    there = layout.forgotten_path(gone.name.path)
    data = story.store.get(gone.name.path)
    story.store.put(there, [data], len(data))
    left_at = story.store.now
    story.pass_by(GRACE / 10 + TICK)

    class Here:
        @staticmethod
        def now(_: object) -> datetime:
            return story.store.now - behind

    monkeypatch.setattr(clock, "datetime", Here)
    story.forget(gone)
    stale = not behind
    assert story.store.objects[there][1] == (story.store.now if stale else left_at)
    assert [forgotten_snapshot.name.id for forgotten_snapshot in forget.forgotten(story.vault)] == [
        gone.name.id
    ]


def test_clause_9_2_what_an_interrupted_forget_left_is_written_anew_after_a_tenth_of_the_grace() -> None:
    """Its age counts from there; but just before, it may be that of another forget, under way."""
    for late in (timedelta(0), TICK):
        story, _, gone, _ = made()
        there = layout.forgotten_path(gone.name.path)
        data = story.store.get(gone.name.path)
        story.store.put(there, [data], len(data))
        left_at = story.store.now
        story.pass_by(GRACE / 10 + late)
        story.forget(gone)
        assert story.store.objects[there][1] == (story.store.now if late else left_at)


def test_clause_9_1_an_age_below_zero_counts_as_young() -> None:
    story, _, gone, alone = made()
    story.pass_by(timedelta(days=8))
    story.forget(gone)
    story.prune()
    story.pass_by(GRACE)
    for name, (data, at) in list(story.store.objects.items()):
        if name.startswith(layout.MARKS):
            story.store.objects[name] = data, at + timedelta(days=300)
    story.prune()
    assert alone <= story.objects(), "marked in the future"


def test_clause_9_1_what_was_forgotten_in_the_future_may_be_brought_back() -> None:
    story, _, gone, alone = made()
    story.pass_by(timedelta(days=8))
    story.forget(gone)
    story.prune()
    path = layout.forgotten_path(gone.name.path)
    data, _ = story.store.objects[path]
    story.pass_by(GRACE)
    story.store.objects[path] = data, story.store.now + timedelta(days=300)
    story.prune()
    assert alone <= story.objects()
    assert path in story.store.objects
    story.bring_back(gone)
    story.check()


# 9.2 forgotten


def test_clause_9_2_a_manifest_is_written_in_the_new_place_before_it_goes_from_the_old_one() -> None:
    story, _, gone, _ = made()
    here, there = gone.name.path, layout.forgotten_path(gone.name.path)
    story.forget(gone)
    assert story.store.position("put", there) < story.store.position("delete", here)
    story.store.calls.clear()
    story.bring_back(gone)
    assert story.store.position("put", here) < story.store.position("delete", there)


def test_clause_9_2_one_in_both_places_is_not_forgotten() -> None:
    story, _, gone, alone = made()
    data = story.store.get(gone.name.path)
    story.store.put(layout.forgotten_path(gone.name.path), [data], len(data))
    assert forget.forgotten(story.vault) == []
    for _ in range(3):
        story.pass_by(GRACE)
        story.prune()
    assert alone <= story.objects()
    assert gone.name in snapshots.names(story.vault)
    story.check()


@pytest.mark.parametrize("late", [-TICK, timedelta(0), TICK, GRACE / 10])
def test_clause_9_2_it_is_brought_back_before_nine_tenths_of_the_grace_and_not_later(late: timedelta) -> None:
    story, _, gone, _ = made()
    story.forget(gone)
    story.pass_by(GRACE * 0.9 + late)
    if late < timedelta(0):
        assert forget.bring_back(story.vault, gone.name.id) == gone.name
        story.check()
        return
    before = dict(story.store.objects)
    with pytest.raises(UsageError, match="could be brought back until"):
        forget.bring_back(story.vault, gone.name.id)
    assert story.store.objects == before


@pytest.mark.parametrize("folder", [layout.PACKS, layout.TABLES, layout.RECORDS])
def test_clause_9_2_it_goes_back_where_anything_that_it_reaches_is_gone(folder: str) -> None:
    story, _, gone, alone = made()
    story.forget(gone)
    for name in alone:
        if name.startswith(folder):
            del story.store.objects[name]
            break
    before = dict(story.store.objects)
    with pytest.raises(DamageError):
        forget.bring_back(story.vault, gone.name.id)
    assert story.store.objects == before, "as forgotten as it was, and not pinned"


def test_clause_9_2_a_shorter_object_beside_a_whole_forgotten_one_is_an_aborted_write() -> None:
    story, _, gone, alone = made()
    story.forget(gone)
    data = story.store.get(layout.forgotten_path(gone.name.path))
    story.store.put(gone.name.path, [data[:-1]], len(data) - 1)
    assert [forgotten_snapshot.name.id for forgotten_snapshot in forget.forgotten(story.vault)] == [
        gone.name.id
    ]
    assert forget.bring_back(story.vault, gone.name.id) == gone.name
    assert alone <= story.objects()
    story.check()


# 9.3 pins


def test_clause_9_3_a_pinned_snapshot_is_forgotten_neither_by_rules_nor_by_name() -> None:
    story, kept, gone, _ = made()
    pins.pin(story.vault, kept.name.id, "audit")
    pin = documents.decode(Pin, story.store.get(layout.pin_path(kept.name.id)))
    assert (pin.type, pin.snapshot, pin.reason) == ("pin", kept.name.id, "audit")
    decisions = forget.plan(story.vault, [Retention(keep_last=1)], story.store.now + timedelta(days=1))
    assert {decision.name: decision.action for decision in decisions} == {
        kept.name: Fate.KEEP,
        gone.name: Fate.KEEP,
    }
    with pytest.raises(UsageError, match="is pinned"):
        forget.plan_named(story.vault, [kept.name.id])


def test_clause_9_3_one_that_was_pinned_since_the_plan_is_kept() -> None:
    story, kept, _, _ = made()
    decisions = forget.plan_named(story.vault, [kept.name.id])
    pins.pin(story.vault, kept.name.id)
    assert forget.execute(story.vault, decisions) == []
    assert kept.name in snapshots.names(story.vault)


# 9.4 marks


def test_clause_9_4_a_mark_names_objects_with_reasons() -> None:
    story, _, gone, alone = made()
    story.pass_by(timedelta(days=8))
    story.forget(gone)
    story.prune()
    (name,) = story.names(layout.MARKS)
    mark = documents.decode(Mark, story.vault.read(name))
    assert mark.type == "mark"
    assert {pending.name: pending.reason for pending in mark.objects} == dict.fromkeys(
        alone, "no snapshot needs it"
    )
    assert {name.partition("/")[0] for name in alone} == {layout.PACKS, layout.RECORDS, layout.TABLES}


def test_clause_9_4_index_objects_are_marked_too() -> None:
    story, _, gone, _ = made()
    story.pass_by(timedelta(days=8))
    before = set(story.names(layout.INDEX))
    story.forget(gone)
    for _ in range(2):
        story.prune()
        story.pass_by(GRACE)
    story.prune()
    assert {name for name in story.marked() if name.startswith(layout.INDEX)} & before


def test_clause_9_4_since_when_is_the_age_of_the_oldest_mark() -> None:
    story, _, gone, alone = made()
    story.forget(gone)
    story.pass_by(timedelta(days=1))
    for _ in range(3):  # the reasons tell the marks apart
        pending_deletes.write(
            story.vault, [PendingDelete(name=name, reason=f"{story.store.now}") for name in sorted(alone)]
        )
        story.pass_by(timedelta(days=3))
    story.store.now = min(at for name, (_, at) in story.store.objects.items() if "marks/" in name)
    story.pass_by(GRACE - TICK)
    assert {planned_object.action for planned_object in story.plan().others} == {PruneAction.WAIT}
    story.pass_by(TICK)
    assert {planned_object.name for planned_object in story.plan().of(PruneAction.DELETE)} == alone


def test_clause_9_4_a_name_is_marked_while_any_mark_names_it() -> None:
    story, _, _, alone = made()
    name = min(alone)
    for reason in ("one", "two"):
        pending_deletes.write(story.vault, [PendingDelete(name=name, reason=reason)])
    for mark in sorted(story.mark_names()):
        assert story.marked() == {name}
        story.store.delete(mark)
    assert story.marked() == set()


# 9.6 how long a run may take


NOW = datetime.fromisoformat("2026-01-01T01:00:00+00:00")
PLAN = Plan(
    status="work", summary="", run_id="run", cluster=CLUSTER, freeze_began_at=NOW, frozen_at=NOW, shares=0
)


def announced() -> Timed:
    story, *_ = made()
    run_records.announce(story.vault, "run", "default", CLUSTER.id, NOW)
    return story


def sealed(story: Timed, opened: Vault | None = None) -> set[str]:
    """The manifests that sealing adds."""
    before = set(story.names(layout.SNAPSHOTS))
    try:
        seal(opened or story.vault, PLAN, [])
    finally:
        after = set(story.names(layout.SNAPSHOTS))
    return after - before


def test_clause_9_6_a_run_is_sealed_up_to_half_the_grace() -> None:
    story = announced()
    story.pass_by(HALF)
    assert len(sealed(story)) == 1
    assert not run_records.is_announced(story.vault, "run")


@pytest.mark.parametrize("late", [TICK, GRACE * 0.4, GRACE / 2])
def test_clause_9_6_a_run_older_than_half_the_grace_is_not_sealed(late: timedelta) -> None:
    story = announced()
    story.pass_by(HALF + late)
    with pytest.raises(BusyError, match=r"not sealed: its freeze was more than .* ago"):
        sealed(story)
    assert not any(name.startswith(layout.SNAPSHOTS) for name in story.store.written())


@pytest.mark.parametrize("early", [timedelta(0), TICK])
def test_clause_9_6_a_run_from_as_far_in_the_future_is_not_sealed(early: timedelta) -> None:
    story = announced()
    story.pass_by(-HALF - early)
    if early:
        with pytest.raises(BusyError, match="clock was set back"):
            sealed(story)
    else:
        assert len(sealed(story)) == 1


def test_clause_9_6_a_run_whose_announcement_is_gone_is_not_sealed() -> None:
    story, *_ = made()
    with pytest.raises(BusyError, match="not sealed: its announcement is missing"):
        sealed(story)
    assert not any(name.startswith(layout.SNAPSHOTS) for name in story.store.written())


def test_clause_9_6_the_age_is_checked_last_before_the_manifest_and_once_more_after_it() -> None:
    story = announced()
    (manifest,) = sealed(story)
    at = story.store.position("put", manifest)
    announcement = layout.announcement_path("run")
    asked = [n for n, call in enumerate(story.store.calls) if call == ("stat", announcement)]
    writes = [
        n
        for n, (method, name) in enumerate(story.store.calls)
        if method == "put" and "/clock-" not in name and n < at
    ]
    assert max(n for n in asked if n < at) > max(writes), (
        "nothing is written between the check and the manifest"
    )
    assert [n for n in asked if n > at], "and it is asked again"


class Slow:
    """A store at which time passes just before a manifest is written."""

    def __init__(self, story: Timed, by: timedelta, *, is_announcement_lost: bool = False) -> None:
        self._story, self._by, self._is_lost = story, by, is_announcement_lost

    def put(self, name: str, parts: list[bytes], size: int) -> bool:
        if name.startswith(layout.SNAPSHOTS):
            self._story.pass_by(self._by)
            if self._is_lost:
                self._story.store.delete(layout.announcement_path("run"))
        return self._story.store.put(name, parts, size)

    def __getattr__(self, name: str) -> object:
        return getattr(self._story.store, name)


def held_up(story: Timed, by: timedelta, *, is_announcement_lost: bool = False) -> Vault:
    slow = Slow(story, by, is_announcement_lost=is_announcement_lost)
    return Vault(slow, story.vault.config)  # type: ignore[arg-type]  # by __getattr__


def test_clause_9_6_a_manifest_dated_half_the_grace_after_the_announcement_stays() -> None:
    story = announced()
    story.pass_by(HALF - timedelta(days=1))
    assert len(sealed(story, held_up(story, timedelta(days=1)))) == 1


def test_clause_9_6_a_manifest_dated_later_than_that_is_deleted_again() -> None:
    story = announced()
    story.pass_by(HALF - timedelta(days=1))
    before = set(story.names(layout.SNAPSHOTS))
    with pytest.raises(BusyError, match="its freeze was more than"):
        sealed(story, held_up(story, timedelta(days=1) + TICK))
    assert set(story.names(layout.SNAPSHOTS)) == before
    assert len([name for name in story.store.deleted() if name.startswith(layout.SNAPSHOTS)]) == 1


def test_clause_9_6_a_manifest_whose_announcement_went_meanwhile_is_deleted_again() -> None:
    story = announced()
    before = set(story.names(layout.SNAPSHOTS))
    with pytest.raises(BusyError, match="its announcement is missing"):
        sealed(story, held_up(story, timedelta(0), is_announcement_lost=True))
    assert set(story.names(layout.SNAPSHOTS)) == before


def test_clause_9_6_one_that_was_killed_after_its_manifest_looks_again_at_its_times() -> None:
    for late in (timedelta(0), TICK):
        story = announced()
        (manifest,) = sealed(story)
        data, _ = story.store.objects[manifest]
        run_records.announce(
            story.vault, "run", "default", CLUSTER.id, NOW
        )  # not taken back: killed before it could
        story.store.objects[manifest] = data, story.store.now + HALF + late
        story.store.calls.clear()
        if late:
            with pytest.raises(BusyError):
                sealed(story)
        else:
            sealed(story)
        assert (manifest in story.store.objects) == (not late)


# 9.7 what is marked, and what is deleted


def dead_run(story: Timed) -> set[str]:
    """What a run stored that never sealed."""
    before = story.objects()
    snapshot = story.back_up(3, 20, 21)
    story.store.delete(snapshot.name.path)
    return {name for name in story.objects() - before if not name.startswith(layout.INDEX)}


def test_clause_9_7_only_what_is_as_old_as_half_the_grace_is_marked() -> None:
    story, *_ = made()
    alone = dead_run(story)
    story.pass_by(HALF - TICK)
    assert story.prune().marked == 0
    assert {planned.reason for name in alone if (planned := story.planned(name))} <= {
        "young: a run in progress may need it"
    }
    story.pass_by(TICK)
    assert story.prune().marked == len(alone)
    assert story.marked() == alone


def test_clause_9_7_nothing_that_a_snapshot_reaches_is_marked_however_old() -> None:
    story, *_ = made()
    for _ in range(4):
        story.pass_by(GRACE)
        done = story.prune()
        assert (done.marked, done.deleted_bytes) == (0, 0)
    assert story.marked() == set()


@pytest.mark.parametrize("kind", ["packs", "tables"])
def test_clause_9_7_nothing_is_marked_that_a_receipt_younger_than_the_grace_names(kind: str) -> None:
    story, *_ = made()
    alone = dead_run(story)
    story.pass_by(timedelta(days=30))
    named = {name for name in alone if name.startswith(kind)}
    objects = [WrittenObject(digest=layout.named_digest(name) or b"", size=1) for name in sorted(named)]
    receipt = Receipt(run_id="dead", number=0, key=digest(b"x").hex(), items=[], **{kind: objects})
    run_records.keep_receipt(story.vault, receipt)
    story.pass_by(GRACE - TICK)
    story.prune()
    assert story.marked() == alone - named
    story.pass_by(TICK)
    story.prune()
    assert story.marked() == alone


def test_clause_9_7_an_index_object_that_a_receipt_names_is_not_compacted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pachvault.maintenance.prune.prune_plan.INDEX_OBJECTS", 1)
    story, *_ = made()
    story.pass_by(timedelta(days=30))
    for name in story.names(layout.INDEX):
        one = [WrittenObject(digest=layout.named_digest(name) or b"", size=1)]
        run_records.keep_receipt(
            story.vault,
            Receipt(run_id="dead", number=0, key=digest(name.encode()).hex(), items=[], index=one),
        )
    assert not story.plan().is_compacted
    story.pass_by(GRACE)
    assert story.plan().is_compacted


def marked_long_after_forgotten() -> tuple[Timed, set[str]]:
    """Objects that only the age of their marks keeps: the snapshot can no longer be brought back then."""
    story, _, gone, alone = made()
    story.pass_by(timedelta(days=4))
    story.forget(gone)
    story.pass_by(timedelta(days=1))
    assert story.prune().marked == len(alone)
    return story, alone


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_clause_9_7_prune_deletes_nothing_after_a_part_of_the_grace(part: float) -> None:
    story, alone = marked_long_after_forgotten()
    story.pass_by(GRACE * part)
    assert not set(story.prune().deleted) - {"forgotten", "runs"}
    assert alone <= story.objects()
    assert {
        planned_object.action for planned_object in story.plan().others if planned_object.name in alone
    } == {PruneAction.WAIT}


def test_clause_9_7_prune_deletes_only_after_the_whole_grace() -> None:
    story, alone = marked_long_after_forgotten()
    story.pass_by(GRACE - TICK)
    story.prune()
    assert alone <= story.objects()
    story.pass_by(TICK)
    done = story.prune()
    assert not alone & story.objects()
    assert done.deleted_bytes > 0
    story.check()


def test_clause_9_7_the_look_must_begin_after_the_whole_grace() -> None:
    story, alone = marked_long_after_forgotten()
    story.pass_by(GRACE - TICK)
    planned = story.plan()
    story.pass_by(timedelta(days=1))
    story.prune(planned)
    assert alone <= story.objects()


def test_clause_9_7_what_is_reached_again_at_that_look_stays() -> None:
    story, alone = marked_long_after_forgotten()
    story.pass_by(GRACE)
    planned = story.plan()
    assert {planned_object.name for planned_object in planned.of(PruneAction.DELETE)} == alone
    data = story.store.get(next(iter(story.names(layout.FORGOTTEN))))
    (path,) = story.names(layout.FORGOTTEN)
    story.store.put(layout.unforgotten_path(path), [data], len(data))
    story.prune(planned)
    assert alone <= story.objects()
    story.check()


def test_clause_9_7_what_one_needs_that_was_forgotten_within_the_grace_stays() -> None:
    story, _, gone, alone = made()
    story.pass_by(timedelta(days=4))
    story.forget(gone)
    assert story.prune().marked == len(alone)
    story.pass_by(timedelta(days=6))
    story.bring_back(gone)
    story.forget(gone)
    story.pass_by(GRACE - TICK)  # marked for 13 days
    story.prune()
    assert alone <= story.objects()
    assert story.marked() >= alone
    story.pass_by(TICK)
    story.prune()
    assert not alone & story.objects()


def two_copies() -> tuple[Timed, str, str]:
    """A marked pack of a forgotten snapshot, and a pack of a kept one: both have a blob that is needed."""
    story, _, gone, alone = made()
    (old,) = [name for name in alone if name.startswith(layout.PACKS)]
    story.pass_by(timedelta(days=4))
    story.forget(gone)
    story.prune()
    before = set(story.names(layout.PACKS))
    story.back_up(4, 10, 30)  # stored anew: the marked pack is not relied on
    (new,) = set(story.names(layout.PACKS)) - before
    story.pass_by(GRACE)
    return story, old, new


def test_clause_9_7_a_pack_goes_whose_needed_blobs_were_just_read_from_a_better_place() -> None:
    story, old, new = two_copies()
    done = story.prune()
    assert done.problems == []
    assert old not in story.store.objects
    assert story.store.position("get", new) < story.store.position("delete", old)
    story.check()


@pytest.mark.parametrize("how", ["flipped", "short", "marked"])
def test_clause_9_7_a_pack_stays_whose_needed_blobs_have_no_better_place(how: str) -> None:
    story, old, new = two_copies()
    data, at = story.store.objects[new]
    if how == "flipped":
        flip(story.store, new, data.index(CONTENT[10]))
    elif how == "short":
        story.store.objects[new] = data[:100], at
    else:
        pending_deletes.write(story.vault, [PendingDelete(name=new, reason="by hand")])
    try:
        done = story.prune()
    except DamageError:  # what only the short pack has is lost
        assert how == "short"
    else:
        assert how == "marked" or "has no other readable copy" in done.problems[0]
    assert old in story.store.objects
    story.store.objects[new] = data, at
    story.check()


# 9.8 names that rest, looks that grow old, marks that end


def test_clause_9_8_before_an_object_is_deleted_a_new_mark_names_it() -> None:
    story, alone = marked_long_after_forgotten()
    story.pass_by(GRACE)
    story.store.calls.clear()
    before = story.mark_names()
    story.prune()
    (mark,) = [
        name
        for name in story.mark_names() - before
        if {pending.name for pending in documents.decode(Mark, story.vault.read(name)).objects} == alone
    ]
    first = min(story.store.position("delete", name) for name in alone)
    assert story.store.position("put", mark) < first


def test_clause_9_8_a_name_rests_for_another_grace() -> None:
    story, alone = marked_long_after_forgotten()
    story.pass_by(GRACE)
    story.prune()
    story.pass_by(GRACE - TICK)
    story.prune()
    assert story.marked() >= alone
    again = story.back_up(5, 10, 11)
    assert not alone & story.objects(), "the same content lies under other names"
    story.forget(again)
    story.pass_by(TICK)
    story.prune()
    assert not story.marked() & alone


class Watch:
    """This machine's clocks, each so many seconds later from the second time that it is asked."""

    def __init__(self, monotonic: float, time: float) -> None:
        self._ahead = {"monotonic": monotonic, "time": time}
        self._asked: set[str] = set()

    def monotonic(self) -> float:
        return self._told("monotonic")

    def time(self) -> float:
        return self._told("time")

    def _told(self, clock: str) -> float:
        began = {"monotonic": 5.0, "time": 1e9}[clock]
        reading = began + (self._ahead[clock] if clock in self._asked else 0.0)
        self._asked.add(clock)
        return reading


@pytest.mark.parametrize("passed", [(HALF.total_seconds() + 1, 0.0), (0.0, HALF.total_seconds() + 1)])
def test_clause_9_8_a_prune_stops_when_its_look_is_older_than_half_the_grace(
    monkeypatch: pytest.MonkeyPatch, passed: tuple[float, float]
) -> None:
    story, alone = marked_long_after_forgotten()
    story.pass_by(GRACE)
    planned = story.plan()
    monkeypatch.setattr(prune, "time", Watch(*passed))
    with pytest.raises(BusyError, match="the scan is older than half the grace period"):
        story.prune(planned)
    assert alone <= story.objects()


def test_clause_9_8_a_prune_goes_on_up_to_half_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    story, alone = marked_long_after_forgotten()
    story.pass_by(GRACE)
    planned = story.plan()
    monkeypatch.setattr(prune, "time", Watch(HALF.total_seconds(), HALF.total_seconds()))
    story.prune(planned)
    assert not alone & story.objects()


@pytest.mark.parametrize("part", [0.5, 0.9])
def test_clause_9_8_no_mark_is_deleted_before_its_grace_is_over(part: float) -> None:
    """Though all that it names is needed, or gone."""
    for is_gone in (False, True):
        story, kept, _, _ = made()
        name = layout.record_path(kept.manifest.repos[0].record)
        if is_gone:
            name = layout.record_path(digest(b"long gone"))
        pending_deletes.write(story.vault, [PendingDelete(name=name, reason="by hand")])
        (mark,) = story.mark_names()
        for time in (GRACE * part, GRACE * (1 - part) - TICK):
            story.pass_by(time)
            story.prune()
            assert mark in story.mark_names()
        story.pass_by(TICK)
        story.prune()
        assert story.mark_names() == set()
        story.check()


def test_clause_9_8_a_mark_stays_while_anything_that_it_names_is_there_and_unneeded() -> None:
    story, _, gone, alone = made()
    story.pass_by(timedelta(days=4))
    story.forget(gone)
    story.prune()
    before = story.mark_names()
    story.pass_by(timedelta(days=6))
    story.bring_back(gone)
    story.forget(gone)
    story.pass_by(timedelta(days=2))
    story.prune()
    assert before <= story.mark_names(), "older than the grace; what it names waits for another reason"
    assert {
        planned_object.action for planned_object in story.plan().others if planned_object.name in alone
    } == {PruneAction.WAIT}


def test_clause_9_8_a_mark_goes_when_one_thing_is_gone_and_the_other_needed() -> None:
    story, kept, _, _ = made()
    names = [
        layout.record_path(kept.manifest.repos[0].record),
        layout.pack_path(digest(b"gone")),
        next(iter(story.names(layout.PACKS))),
    ]
    pending_deletes.write(story.vault, [PendingDelete(name=name, reason="by hand") for name in names])
    story.pass_by(GRACE)
    story.prune()
    assert story.mark_names() == set()


def test_clause_9_8_a_vault_created_with_a_grace_keeps_to_it() -> None:
    story, *_ = made()
    assert vault.create(type(story.store)(), timedelta(days=30)).config.grace == timedelta(days=30)

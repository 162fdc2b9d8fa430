"""docs/format.md, 9.12 and 9.13: room in a target that is full, and what is kept to order all the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from made import CLUSTER
from pachvault.backup import run_records
from pachvault.errors import BusyError, FullError
from pachvault.format import documents, layout
from pachvault.format.maintenance_documents import Mark
from pachvault.maintenance import reserve
from pachvault.maintenance.prune import emergency_prune
from pachvault.runtime.progress import Quiet
from pachvault.vault import vault
from timed import LIMITS, TICK, Journal, Timed, made

QUIET = timedelta(minutes=5)
WRITTEN_BY_RUNS = [
    layout.announcement_path("other"),
    layout.pack_path(bytes(32)),
    layout.index_path(bytes(32)),
    layout.table_path(bytes(32)),
    layout.record_path(bytes(32)),
]


def forgotten() -> tuple[Timed, set[str]]:
    """What only a snapshot needs that was just forgotten."""
    story, _, gone, alone = made()
    story.pass_by(timedelta(hours=1))
    story.forget(gone)
    story.store.calls.clear()
    return story, alone


def prune(story: Timed) -> None:
    emergency_prune.execute(story.vault, LIMITS, Quiet())


def test_clause_9_12_what_no_snapshot_reaches_goes_at_once_and_the_rest_stays() -> None:
    story, alone = forgotten()
    prune(story)
    assert not alone & story.objects()
    assert story.names(layout.FORGOTTEN) == []
    story.check()


@pytest.mark.parametrize("name", WRITTEN_BY_RUNS)
def test_clause_9_12_it_refuses_where_an_object_is_younger_than_five_minutes(name: str) -> None:
    story, alone = forgotten()
    story.store.put(name, [b"{}"], 2)
    story.pass_by(QUIET - TICK)
    with pytest.raises(BusyError, match="the vault is in use"):
        prune(story)
    assert alone <= story.objects()
    assert story.store.deleted() == []
    story.pass_by(TICK)
    emergency_prune.check_quiet(story.vault, story.store.now)


def test_clause_9_12_announcements_go_first_then_marks_then_objects() -> None:
    story, alone = forgotten()
    run_records.announce(story.vault, "alive", "default", CLUSTER.id, story.store.now)
    story.pass_by(QUIET)
    story.store.calls.clear()
    prune(story)
    calls = story.store.calls
    announced_at = calls.index(("delete", layout.announcement_path("alive")))
    marked_at = story.store.position("put", "marks/")
    deleted_at = [at for at, (how, name) in enumerate(calls) if how == "delete" and name in alone]
    assert len(deleted_at) == len(alone)
    assert announced_at < marked_at < min(deleted_at)
    first_looked_at = max(
        at for at, call in enumerate(calls) if call == ("list", layout.RUNS) and at < min(deleted_at)
    )
    assert marked_at < first_looked_at, "whether a run has announced itself is asked after the marks"
    with pytest.raises(BusyError):
        run_records.check_age(story.vault, "alive")


def test_clause_9_12_new_marks_name_what_is_deleted() -> None:
    story, alone = forgotten()
    prune(story)
    assert alone <= story.marked()
    marks = [documents.decode(Mark, story.vault.read(name)) for name in story.names(layout.MARKS)]
    assert {
        pending.name for mark in marks for pending in mark.objects if pending.reason == "deleted"
    } == alone
    before = story.objects()
    story.back_up(5, 10, 11)
    assert not alone & (story.objects() - before), "the names rest"
    story.check()


def test_clause_9_12_a_run_that_announces_itself_after_the_marks_stops_it() -> None:
    story, alone = forgotten()

    class Meddled:
        """A run begins as soon as something is marked."""

        def put(self, name: str, parts: list[bytes], size: int) -> bool:
            answer = story.store.put(name, parts, size)
            if name.startswith(layout.MARKS):
                story.pass_by(TICK)
                run_records.announce(story.vault, "late", "default", CLUSTER.id, story.store.now)
            return answer

        def __getattr__(self, name: str) -> object:
            return getattr(story.store, name)

    opened = vault.Vault(Meddled(), story.vault.config)  # type: ignore[arg-type]  # by __getattr__
    with pytest.raises(BusyError, match="backup late was started meanwhile"):
        emergency_prune.execute(opened, LIMITS, Quiet())
    assert alone <= story.objects()
    assert alone <= story.marked(), "which that run sees"


# 9.13 the reserve


@dataclass
class Small(Journal):
    """A target with only so much room."""

    room: int = 0

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        if sum(len(data) for data, _ in self.objects.values()) + size > self.room:
            raise FullError("the target is full")
        return super().put(name, parts, size)


def test_clause_9_13_the_reserve_is_eight_incompressible_mebibytes() -> None:
    story, *_ = made()
    assert reserve.fill(story.vault)
    parts = [data for name, (data, _) in story.store.objects.items() if name.startswith(layout.RESERVE)]
    assert [len(part) for part in parts] == [2**20] * 8
    assert len(set(parts)) == 8
    for part in parts:
        assert len(set(part)) == 256
    story.check()
    for name in story.names(layout.RESERVE):
        story.store.delete(name)
    story.check()


def full() -> tuple[Timed, Small]:
    story, _, gone, _ = made()
    reserve.fill(story.vault)
    store = Small(now=story.store.now, objects=story.store.objects)
    store.room = sum(len(data) for data, _ in store.objects.values())
    story.store = store
    story.forgotten = gone.name
    return story, store


def test_clause_9_13_a_full_target_is_forgotten_and_pruned_from_by_way_of_the_reserve() -> None:
    story, store = full()
    with pytest.raises(FullError):
        story.store.put("packs/x", [b"x"], 1)
    seen: list[bool] = []

    def work(is_scarce: bool) -> bool:
        seen.append(is_scarce)
        return story.store.put(layout.announcement_path("x"), [b"x"], 1)

    assert reserve.used(story.vault, work)
    assert seen == [False, True]
    store.delete(layout.announcement_path("x"))
    assert reserve.fill(story.vault)
    assert len(story.names(layout.RESERVE)) == 8


def test_clause_9_13_it_is_written_again_at_the_end_as_far_as_there_is_room() -> None:
    story, store = full()
    reserve.used(story.vault, lambda _: story.store.put("runs/share-" + "0" * 64 + ".json", [b"x"], 1))
    assert len(story.names(layout.RESERVE)) == 7, "one byte more is taken, so one part less fits"
    store.room += 2**20
    assert reserve.fill(story.vault)
    assert len(story.names(layout.RESERVE)) == 8


def test_clause_9_13_without_a_reserve_a_full_target_is_said_to_be_full() -> None:
    story, store = full()
    reserve.release(story.vault)
    store.room = sum(len(data) for data, _ in store.objects.values())
    with pytest.raises(FullError) as raised:
        reserve.used(story.vault, lambda _: story.store.put("runs/share-" + "0" * 64 + ".json", [b"x"], 1))
    assert "no reserve left" in raised.value.hint

"""The emergency prune: it deletes at once, keeps what snapshots need, and no earlier run can be sealed."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import pytest

import stored
from memory import MemoryStore
from pachvault.backup import run_records
from pachvault.errors import BusyError
from pachvault.format import layout
from pachvault.maintenance.prune import emergency_prune
from pachvault.maintenance.prune.prune_plan import PruneAction, PruneLimits
from pachvault.runtime.progress import Quiet
from pachvault.store.store import Store
from pachvault.vault import clock, pending_deletes, snapshots, vault
from pachvault.vault.vault import Vault
from stored import Stored, forget_named

LIMITS = PruneLimits()


@pytest.fixture
def story() -> Stored:
    vault_story = stored.made()
    forget_named(cast("Store", vault_story.store), vault_story.doomed)
    vault_story.pass_time(1 / 24)
    return vault_story


def opened(story: Stored) -> Vault:
    return vault.open_vault(cast("Store", story.store))


def size(store: MemoryStore) -> int:
    return sum(len(data) for data, _ in store.objects.values())


def test_what_no_snapshot_needs_is_gone_at_once_and_the_rest_reads_back(story: Stored) -> None:
    here = opened(story)
    planned = emergency_prune.plan(here, LIMITS, clock.store_now(here), Quiet())
    doomed = {planned_object.name for planned_object in planned.prune_plan.of(PruneAction.DELETE)}
    before = size(story.store)
    done = emergency_prune.execute(here, LIMITS, Quiet())
    assert doomed
    assert not doomed & story.store.objects.keys()
    assert done.prune_outcome.deleted_bytes > 0
    assert size(story.store) < before
    assert list(story.store.list(layout.FORGOTTEN)) == []
    story.is_grace_over = True  # what was forgotten is gone for good
    story.check()
    left = emergency_prune.plan(here, LIMITS, clock.store_now(here), Quiet()).prune_plan.of(
        PruneAction.DELETE
    )
    assert {info.name.partition("/")[0] for info in left} <= {layout.INDEX}, "compacted, no more"


def test_an_object_dated_ahead_does_not_hide_one_that_was_just_written(story: Stored) -> None:
    here = opened(story)
    tables = [info.name for info in here.objects(layout.TABLES)]
    for name, at in ((tables[0], story.store.now + timedelta(hours=1)), (tables[1], story.store.now)):
        data, _ = story.store.objects[name]
        story.store.objects[name] = data, at
    with pytest.raises(BusyError, match=tables[1]):
        emergency_prune.execute(here, LIMITS, Quiet())


def test_deleted_names_are_not_used_for_another_grace(story: Stored) -> None:
    here = opened(story)
    before = {info.name for info in story.store.list(layout.PACKS)}
    emergency_prune.execute(here, LIMITS, Quiet())
    gone = before - {info.name for info in story.store.list(layout.PACKS)}
    assert gone
    story.back_up(9, 10, 11, 50, 51, 52)  # what was in the packs that are gone
    assert not gone & {info.name for info in story.store.list(layout.PACKS)}
    story.is_grace_over = True
    story.check()


def test_a_run_that_is_under_way_is_never_sealed(story: Stored) -> None:
    here = opened(story)
    run_records.announce(here, "alive", "p", "c", story.store.now)
    story.pass_time(1 / 24)
    (run,) = [
        stale_run
        for stale_run in emergency_prune.execute(here, LIMITS, Quiet()).runs
        if stale_run.run_id == "alive"
    ]
    assert run.age == timedelta(hours=1)
    with pytest.raises(BusyError, match="not sealed"):
        run_records.check_age(here, "alive")
    path = snapshots.names(here)[0].path
    data = story.store.get(path)
    late = path.replace("/2026", "/2027")
    story.store.put(late, [data], len(data))
    with pytest.raises(BusyError, match="not sealed"):
        run_records.check_sealed(here, "alive", late)
    assert late not in story.store.objects


NEW = [
    layout.pack_path(bytes(32)),
    layout.index_path(bytes(32)),
    layout.table_path(bytes(32)),
    layout.record_path(bytes(32)),
    layout.announcement_path("new"),
    layout.receipt_path("0" * 64),
]


@pytest.mark.parametrize("name", NEW, ids=lambda name: name[:12])
def test_nothing_is_deleted_where_something_was_written_just_now(story: Stored, name: str) -> None:
    here = opened(story)
    story.store.put(name, [b"x"], 1)
    story.pass_time(4 / 24 / 60)
    before = dict(story.store.objects)
    with pytest.raises(BusyError, match=f"{name} was written 4 minutes ago"):
        emergency_prune.execute(here, LIMITS, Quiet())
    assert story.store.objects == before
    story.store.delete(name)
    emergency_prune.execute(here, LIMITS, Quiet())


class Announcing:
    """A store in which a run announces itself as soon as something is marked."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def put(self, name: str, parts: list[bytes], size: int) -> bool:
        written = self._store.put(name, parts, size)
        if name.startswith(layout.MARKS):
            self._store.now += timedelta(seconds=1)
            run_records.announce(
                vault.open_vault(cast("Store", self._store)), "quick", "p", "c", self._store.now
            )
        return written


def test_a_run_that_begins_meanwhile_stops_it_before_what_that_run_may_rely_on_goes(story: Stored) -> None:
    here = vault.open_vault(cast("Store", Announcing(story.store)))
    packs = [info.name for info in story.store.list(layout.PACKS)]
    marked = pending_deletes.for_writing(opened(story)).pending_deletes
    with pytest.raises(BusyError, match="backup quick was started meanwhile"):
        emergency_prune.execute(here, LIMITS, Quiet())
    left = {info.name for info in story.store.list(layout.PACKS)}
    assert {*packs} - left <= marked, "only what was marked before the run began is gone"
    story.is_grace_over = True
    story.check()

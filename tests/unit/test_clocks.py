"""Every comparison of times, with each of the clocks off by a day and by a year, either way.

The store's clock is that of a store in memory, this machine's is moved by time-machine, the cluster's is that
of ticks and commits. Where a clock is off, backups go on as often as ever, nothing is forgotten or deleted
sooner, and it is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from made import BEGAN, CLUSTER, Repo, back_up
from memory import MemoryStore
from pachvault import policy
from pachvault.backup import run_records
from pachvault.backup.backup_messages import PlannedRepo
from pachvault.backup.freeze.heads import Heads
from pachvault.backup.freeze.snapshot_notes import clock_notes, dated, history_end, unfinished_notes
from pachvault.backup.freeze.survey import Survey
from pachvault.backup.run_records import Tick
from pachvault.errors import BusyError, DeniedError
from pachvault.format import documents, layout, problem_kinds
from pachvault.format.ids import RepoName, digest
from pachvault.format.maintenance_documents import Audit, AuditEntry, PendingDelete
from pachvault.format.manifest import Problem
from pachvault.format.records import Branch, Unfinished
from pachvault.maintenance.forget import forget
from pachvault.maintenance.forget.retention import RetentionAction
from pachvault.maintenance.maintenance import LEVEL, _is_covered
from pachvault.maintenance.prune import prune
from pachvault.maintenance.prune.prune_plan import PruneLimits, plan
from pachvault.maintenance.status import status
from pachvault.maintenance.verify import audits, known_damage
from pachvault.pach.records import CommitInfo
from pachvault.policy import Retention
from pachvault.runtime.progress import Quiet
from pachvault.syntax.quantities import rounded_in_words
from pachvault.vault import clock, pending_deletes, snapshots
from pachvault.vault import vault as vaults
from pachvault.vault.clock import Clocks
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
A, B = (layout.pack_path(digest(name)) for name in (b"a", b"b"))
OFF = [DAY, -DAY, 365 * DAY, -365 * DAY]
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
POLICY = policy.validate({"version": 1, "target": "x", "sources": ["*/*"], "interval": "1h"}, "test")
off = pytest.mark.parametrize("off", OFF, ids=lambda offset: f"{offset.days}d")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(now=NOW)


@pytest.fixture
def vault(store: MemoryStore) -> Vault:
    return vaults.create(store)


@pytest.fixture
def machine() -> Iterator[time_machine.Coordinates]:
    """This machine's clock, which stands still."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def seal(store: MemoryStore, vault: Vault, frozen_at: datetime, **fields: tuple[Problem, ...]) -> Snapshot:
    """A snapshot that was frozen then by its own word, and is sealed now by the store's clock."""
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"content"})
    return back_up(vault, repo, frozen_at=frozen_at, **fields)  # type: ignore[arg-type]


def set_clocks(store: MemoryStore, machine: time_machine.Coordinates, now: datetime) -> None:
    store.now = now
    machine.move_to(now)


@off
def test_the_order_is_that_of_sealing_whatever_clocks_say(
    store: MemoryStore, vault: Vault, machine: time_machine.Coordinates, off: timedelta
) -> None:
    sealed = [seal(store, vault, NOW - 3 * HOUR)]
    set_clocks(store, machine, NOW + off)  # both are off, as on a machine with the vault on its own disk
    sealed.append(seal(store, vault, NOW + off))
    set_clocks(store, machine, NOW + HOUR)
    sealed.append(seal(store, vault, NOW + HOUR))
    assert snapshots.names(vault) == [snapshot.name for snapshot in sealed]
    assert [snapshot.manifest.sealed_at for snapshot in sealed] == [NOW, NOW + off, NOW + HOUR]
    assert snapshots.resolve(vault, "latest").name == sealed[-1].name
    # a copy of the vault, whose files are all as old, and the other way round
    for number, (name, (data, _)) in enumerate(sorted(store.objects.items())):
        store.objects[name] = (data, NOW - number * DAY)
    assert snapshots.names(vault) == [snapshot.name for snapshot in sealed]


def test_what_was_forgotten_comes_back_to_its_place(store: MemoryStore, vault: Vault) -> None:
    sealed = [seal(store, vault, NOW - HOUR), seal(store, vault, NOW)]
    forget.execute(vault, forget.plan_named(vault, [sealed[1].short_id]))
    sealed.append(seal(store, vault, NOW + HOUR))
    assert sealed[2].manifest.sequence == 3, "a forgotten one keeps its place"
    forget.bring_back(vault, sealed[1].short_id)
    assert snapshots.names(vault) == [snapshot.name for snapshot in sealed]


def test_snapshots_of_one_place_are_in_the_order_of_the_stores_clock(
    store: MemoryStore, vault: Vault
) -> None:
    """Two runs that seal at the same time may take the same place."""
    first = seal(store, vault, NOW)
    store.now += timedelta(seconds=1)
    second = first.manifest.model_copy(update={"sealed_at": store.now, "frozen_at": NOW - DAY})
    data = documents.encode(second)
    store.put(layout.snapshot_path(second.frozen_at, second.sequence, digest(data)), [data], len(data))
    assert [name.frozen_at for name in snapshots.names(vault)] == [NOW, NOW - DAY]


class Refusing(MemoryStore):
    """A store that only reads."""

    def put(self, *_: object) -> bool:
        raise DeniedError("read-only", where=self.url)


@off
def test_latest_passes_over_the_future_only_where_two_clocks_say_so(
    store: MemoryStore, vault: Vault, machine: time_machine.Coordinates, off: timedelta,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    first = seal(store, vault, NOW - HOUR)
    last = seal(store, vault, NOW)
    machine.move_to(NOW + off)
    assert snapshots.resolve(vault, "latest").name == last.name, "this machine's clock alone"
    machine.move_to(NOW)
    store.now = NOW + off
    assert snapshots.resolve(vault, "latest").name == last.name, "the store's clock alone"
    assert not caplog.messages
    set_clocks(store, machine, NOW)
    future = seal(store, vault, NOW + off)
    assert snapshots.resolve(vault, "latest").name == (last if off > timedelta() else future).name
    if off > timedelta():
        assert "is dated in the future" in caplog.text
        reader = Vault(Refusing(NOW, objects=store.objects), vault.config)
        assert snapshots.resolve(reader, "latest").name == future.name, "nobody else can be asked"
    assert {first.name, last.name, future.name} == set(snapshots.names(vault))


def test_where_all_are_of_the_future_the_latest_is_the_last(
    store: MemoryStore, vault: Vault, machine: time_machine.Coordinates
) -> None:
    del machine
    seal(store, vault, NOW + DAY)
    last = seal(store, vault, NOW + 2 * DAY)
    assert snapshots.resolve(vault, "latest").name == last.name


# covered


@pytest.mark.parametrize("whose", ["machine", "store", "cluster", "machine and store", "none"])
@pytest.mark.parametrize("until", [3, 99], ids=["then set right", "for ever"])
@off
def test_every_tick_has_its_backup_whichever_clock_is_off(
    store: MemoryStore, vault: Vault, whose: str, until: int, off: timedelta
) -> None:
    """Hourly ticks, on time: a snapshot each. The clock is off while the first ones come."""
    for number in range(8):
        real = NOW + number * HOUR
        is_off = {name: off if name in whose and number < until else timedelta() for name in CLOCKS}
        store.now = real + is_off["store"] + timedelta(seconds=10)
        clocks = Clocks(store.now, real + is_off["machine"] + timedelta(seconds=10))
        tick = Tick(real + is_off["cluster"], clocks.store, HOUR)
        assert run_records.covering(vault, "default", "mine", tick, CLUSTER.id) is None
        frozen = dated(surveyed(clocks.here), clocks).ended_at
        seal(store, vault, frozen)
    assert len(snapshots.names(vault)) == 8


CLOCKS = ("machine", "store", "cluster")


def test_ticks_that_were_missed_are_covered_by_one_backup(store: MemoryStore, vault: Vault) -> None:
    seal(store, vault, NOW)
    for hours in range(48):
        tick = Tick(NOW - hours * HOUR, NOW + timedelta(minutes=5), HOUR)
        assert run_records.covering(vault, "default", "mine", tick, CLUSTER.id) is not None


@off
def test_a_run_that_is_dated_wrong_covers_no_tick_beyond_its_life(
    store: MemoryStore, vault: Vault, off: timedelta
) -> None:
    store.now = NOW + off
    run_records.announce(vault, "other", "default", CLUSTER.id, NOW + off)
    tick = Tick(NOW - 2 * 365 * DAY, NOW, HOUR)  # of a cluster whose clock is far behind
    covering = run_records.covering(vault, "default", "mine", tick, CLUSTER.id)
    assert (covering is not None) == (off == -DAY), "a day is how long a run may take"


@off
def test_a_run_whose_age_nobody_knows_is_not_sealed(store: MemoryStore, vault: Vault, off: timedelta) -> None:
    run_records.announce(vault, "run", "default", CLUSTER.id, NOW)
    store.now = NOW + off
    if abs(off) <= vault.config.grace / 2:
        assert run_records.check_age(vault, "run") == NOW + off
    else:
        with pytest.raises(BusyError, match="set back" if off < timedelta() else "more than .* ago"):
            run_records.check_age(vault, "run")


# what a freeze dates, and notes


def commit(number: int, started_at: datetime, *, is_open: bool = False) -> CommitInfo:
    finished_at = None if is_open else started_at
    return CommitInfo(f"{number:032x}", None, "user", started_at, finished_at, "", "", 0)


def heads(at: datetime) -> Heads:
    return Heads(at, at, is_settled=True, pipelines=[], branches={}, vanished=[], listed=frozenset())


def surveyed(at: datetime, *commits: CommitInfo) -> Survey:
    repo = Repo(RepoName("p", "r"))
    repo.commits = {info.id: info for info in commits}
    return Survey(
        cluster=CLUSTER,
        began_at=at,
        ended_at=at,
        is_settled=True,
        counted_from=at,
        projects=(),
        repos=(repo.surveyed,),
        pipelines=(),
        vanished=(),
        listed=frozenset({repo.name}),
        skipped=frozenset(),
    )


@off
def test_a_freeze_is_dated_by_the_store_and_says_that_this_machine_differs(off: timedelta) -> None:
    clocks = Clocks(NOW, NOW + off)
    seen = dated(heads(NOW + off), clocks)
    assert (seen.began_at, seen.ended_at) == (NOW, NOW)
    (note,) = clock_notes(surveyed(NOW), clocks, None)
    assert note.is_note
    assert ("ahead of" if off > timedelta() else "behind") in note.message


def test_clocks_that_differ_by_a_minute_agree() -> None:
    clocks = Clocks(NOW, NOW + timedelta(minutes=1))
    seen = heads(clocks.here)
    assert dated(seen, clocks) == seen
    assert clock_notes(surveyed(clocks.here), clocks, NOW + timedelta(minutes=2)) == []


@off
def test_a_cluster_that_is_ahead_is_noted(off: timedelta) -> None:
    seen = surveyed(NOW, commit(1, NOW + off))
    assert len(clock_notes(seen, Clocks(NOW, NOW), None)) == (off > timedelta())
    assert len(clock_notes(surveyed(NOW), Clocks(NOW, NOW), NOW + off)) == (off > timedelta())


@pytest.mark.parametrize("whose", CLOCKS)
@off
def test_a_wrong_clock_makes_no_history_shorter(whose: str, off: timedelta) -> None:
    is_off = {name: off if name == whose else timedelta() for name in CLOCKS}
    newest = NOW - HOUR + is_off["cluster"]
    clocks = Clocks(NOW + is_off["store"], NOW + is_off["machine"])
    end = history_end([commit(1, newest)], clocks, dated(heads(clocks.here), clocks).ended_at)
    assert end <= newest


def planned(since: datetime, output_of: str | None = None) -> PlannedRepo:
    left = Unfinished(count=1421, head="b" * 32, first="a" * 32, since=since)
    branch = Branch(name="master", head="c" * 32, unfinished=left)
    return PlannedRepo(
        project="p", repo="r", created_at=BEGAN, description="", output_of=output_of, branches=[branch]
    )


@off
def test_a_commit_left_open_is_a_problem_by_the_earlier_clock(off: timedelta) -> None:
    def kinds(since: datetime, clocks: Clocks, output_of: str | None = None) -> list[str]:
        return [unfinished.kind for unfinished in unfinished_notes([planned(since, output_of)], clocks, HOUR)]

    for clocks in (Clocks(NOW, NOW + off), Clocks(NOW + off, NOW)):
        assert kinds(NOW - timedelta(minutes=10), clocks) == ["unfinished"]
    assert kinds(NOW - 2 * HOUR, Clocks(NOW, NOW)) == ["left-open"]
    assert kinds(NOW - 2 * HOUR, Clocks(NOW, NOW), "a-pipeline") == ["unfinished"]
    (note,) = unfinished_notes([planned(NOW - 2 * HOUR)], Clocks(NOW, NOW), HOUR)
    for part in ("1,421 commits", "a" * 32, "b" * 32, "since 2026-06-15 10:00:00 UTC", "c" * 32):
        assert part in note.message
    assert not note.is_note


# what is forgotten and deleted


@pytest.mark.parametrize("whose", ["machine", "store", "machine and store"])
@off
def test_no_wrong_clock_forgets_more(
    store: MemoryStore, vault: Vault, machine: time_machine.Coordinates, whose: str, off: timedelta
) -> None:
    for number in range(5):
        seal(store, vault, NOW - (5 - number) * DAY)
    seal(store, vault, NOW + 2 * HOUR)  # dated ahead

    def forgotten() -> set[str]:
        decisions = forget.plan(vault, [Retention(keep_last=2)], clock.read(vault).earlier)
        return {decision.name.id for decision in decisions if decision.action is RetentionAction.FORGET}

    right = forgotten()
    assert len(right) == 3
    store.now += off if "store" in whose else timedelta()
    machine.shift(off if "machine" in whose else timedelta())
    if whose == "machine and store" and off > timedelta():
        assert len(forgotten()) == 4, "two clocks are believed"
    else:
        assert forgotten() <= right


@pytest.mark.parametrize("whose", ["machine", "store"])
@off
def test_no_clock_alone_makes_prune_delete(
    store: MemoryStore, vault: Vault, machine: time_machine.Coordinates, whose: str, off: timedelta
) -> None:
    seal(store, vault, NOW - HOUR)
    doomed = seal(store, vault, NOW)
    forget.execute(vault, forget.plan_named(vault, [doomed.short_id]))
    pending_deletes.write(
        vault, [PendingDelete(name=next(iter(vault.store.list(layout.PACKS))).name, reason="test")]
    )
    before = set(store.objects)
    store.now += off if whose == "store" else timedelta()
    machine.shift(off if whose == "machine" else timedelta())
    now = clock.read(vault).earlier
    prune.execute(vault, plan(vault, PruneLimits(), now, Quiet()), Quiet())
    assert before <= set(store.objects)


# audits


def note(vault: Vault, level: str, at: datetime, *objects: AuditEntry) -> None:
    data = documents.encode(Audit(audited_at=at, level=level, objects=list(objects)))
    vault.store.put(layout.stamped_path(layout.AUDITS, at, digest(data)), [data], len(data))


@off
def test_a_good_result_from_the_future_counts_for_nothing_and_a_bad_one_until_it_is_made_up_for(
    store: MemoryStore, vault: Vault, off: timedelta
) -> None:
    note(vault, audits.PACKS, NOW + off, AuditEntry(name=A, result="ok"))
    note(vault, audits.PACKS, NOW + off, AuditEntry(name=B, result="damaged"))
    known = audits.results(audits.load(vault), NOW)
    assert (audits.good_at(known, audits.PACKS, A) is None) == (off > timedelta())
    assert audits.has_failed(known, B)
    store.now = NOW + HOUR
    note(vault, audits.PACKS, store.now, AuditEntry(name=B, result="ok"))
    assert not audits.has_failed(audits.results(audits.load(vault), store.now), B)


@off
def test_a_repair_of_a_wrong_clock_hides_no_loss(store: MemoryStore, vault: Vault, off: timedelta) -> None:
    pack = A
    store.put(pack, [b"x"], 1)
    note(vault, audits.PACKS, NOW - HOUR, AuditEntry(name=pack, result="damaged"))
    pending_deletes.write(vault, [PendingDelete(name=pack, reason=f"{pending_deletes.DAMAGED}test")])
    assert known_damage.known(vault, audits.load(vault), NOW).waiting == [pack]
    note(vault, audits.REPAIR, NOW + off)  # it lost nothing
    store.now = NOW + timedelta(minutes=1)
    note(vault, audits.REPAIR, store.now, AuditEntry(name="p/r@1:/a", result="damaged"))
    assert known_damage.known(vault, audits.load(vault), store.now).waiting == []


@pytest.mark.parametrize("whose", CLOCKS)
@off
def test_no_clock_that_is_set_back_or_ahead_stops_the_rounds_of_maintenance(
    store: MemoryStore, vault: Vault, whose: str, off: timedelta
) -> None:
    """Daily ticks: one round was noted while a clock was off, the next tick comes with all of them right."""
    for before, after in ((off, timedelta()), (timedelta(), off)):
        store.objects = {
            name: stored_object for name, stored_object in store.objects.items() if "audits" not in name
        }
        was = {name: before if name == whose else timedelta() for name in CLOCKS}
        now = {name: after if name == whose else timedelta() for name in CLOCKS}
        store.now = NOW + was["store"]
        tick = (NOW + was["cluster"]).isoformat()
        note(vault, LEVEL, NOW + was["machine"], AuditEntry(name="who", result="ok", message=tick))
        later = NOW + DAY
        clocks = Clocks(later + now["store"], later + now["machine"])
        assert not _is_covered(vault, "who", later + now["cluster"], clocks, DAY)


def test_a_round_that_was_just_done_is_not_done_again(vault: Vault) -> None:
    note(vault, LEVEL, NOW, AuditEntry(name="who", result="ok", message=NOW.isoformat()))
    soon = NOW + HOUR
    assert _is_covered(vault, "who", NOW, Clocks(soon, soon), DAY)
    assert not _is_covered(vault, "other", NOW, Clocks(soon, soon), DAY)


# status


@off
def test_status_says_what_is_dated_in_the_future_and_never_counts_it(
    store: MemoryStore, vault: Vault, off: timedelta
) -> None:
    problem = Problem(repo="p/x", kind=problem_kinds.REPO_DELETED, message="missing since snapshot 0")
    good = seal(store, vault, NOW, problems=(problem,))
    other = seal(store, vault, NOW + off)
    shown = status(vault, POLICY, NOW + timedelta(minutes=1))
    assert shown.latest is not None
    if off > timedelta():
        assert shown.latest.id == good.name.id
        ahead = rounded_in_words(off - timedelta(minutes=1))
        assert shown.future == [f"{other.short_id}, dated {ahead} ahead of this machine's clock"]
        assert any("a clock is wrong" in line for line in shown.due)
        assert [line.partition(": ")[2] for line in shown.notes] == [f"repo-deleted: p/x: {problem.message}"]
    else:
        assert (shown.latest.id, shown.future) == (other.name.id, [])
        assert any(line.startswith("the policy wants a snapshot every") for line in shown.due)


def test_status_of_a_policy_is_not_comforted_by_another_ones_snapshot(
    vault: Vault, store: MemoryStore
) -> None:
    seal(store, vault, NOW)
    other = POLICY.model_copy(update={"name": "other"})
    assert "there is no snapshot of policy other" in status(vault, other, NOW).due

"""Any call of a store fails, is short, lies or comes late: nothing is lost, nothing wrong is called well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

import stored
from fault.faulty import (
    Call,
    Fault,
    Point,
    appends_only,
    at,
    at_call,
    cuts,
    fails,
    faulty,
    flips,
    hides,
    is_full,
    is_late,
    refuses,
    tears,
    tears_and_fails,
    tells_less,
    tells_more,
    true,
    writes_nothing,
)
from pachvault.errors import DamageError, PachvaultError
from pachvault.format import layout
from pachvault.maintenance import retrying_store
from stored import Stored, attempt

READS = ("get", "get_range")
LOOKS = ("stat", "list")
FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "fails": (fails, (*READS, *LOOKS, "put", "delete")),
    "no rights": (refuses, ("get", "list", "put", "delete")),
    "full": (is_full, ("put",)),
    "torn write that fails": (tears_and_fails, ("put",)),
    "torn write": (tears, ("put",)),
    "lost write": (writes_nothing, ("put",)),
    "short": (cuts, READS),
    "flipped": (flips, READS),
    "less than there is": (tells_less, LOOKS),
    "more than there is": (tells_more, LOOKS),
    "hidden": (hides, LOOKS),
}
"""What goes wrong, and with which methods."""
UNREACHABLE = ("fails", "no rights", "full")
"""What says nothing of what is stored, and must not be taken for damage."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying_store, "_WAIT_SECONDS", 0)


def fresh(command: str) -> Stored:
    story = stored.made()
    if command == "repair":
        stored.damage(story)
    return story


def points(command: str) -> list[Point]:
    """Where a command calls the store."""
    story = fresh(command)
    store, seen = faulty(story.store, true)
    stored.COMMANDS[command](story, store)
    return sorted(seen.points)


def hit(command: str, fault: str, *, once: bool) -> Iterator[tuple[Stored, Point, Exception | None]]:
    """Vaults in which a command met a fault at one point after the other, and what it said."""
    what, methods = FAULTS[fault]
    chosen = [point for point in points(command) if point[0] in methods]
    for point in chosen:
        story = fresh(command)
        store, seen = faulty(story.store, at(point, what, once=once))
        try:
            raised = attempt(command, story, store)
            assert seen.points[point]
            yield story, point, raised
        except BaseException as error:
            error.add_note(f"{fault} at {point}")
            raise


@pytest.mark.parametrize(("fault", "once"), [*((fault, False) for fault in FAULTS), ("fails", True)])
@pytest.mark.parametrize("command", stored.COMMANDS)
def test_a_fault_at_every_point(command: str, fault: str, *, once: bool) -> None:
    for story, point, error in hit(command, fault, once=once):
        if error is None:
            assert story.has_done(command)
        if fault in UNREACHABLE:
            assert not isinstance(error, DamageError)
        # of what was forgotten verify says so in a note
        if command == "verify" and point[0] in READS and point[1] != layout.FORGOTTEN and not once:
            assert error is not None
        assert "\n" not in str(error)
        if story.store.objects == fresh(command).store.objects:
            continue  # nothing came of it
        if command != "repair":
            story.mend()
        story.again(command)


def calls_of(command: str) -> list[tuple[str, str]]:
    """Every call that a command makes, in order, as the method and what it is called with."""
    seen: list[tuple[str, str]] = []

    def noted(call: Call) -> object:
        seen.append((call.method, call.name))
        return call.go()

    story = fresh(command)
    stored.COMMANDS[command](story, faulty(story.store, noted)[0])
    return seen


def broken(command: str, nth: int, fault: str, times: int) -> Iterator[tuple[Stored, Exception | None]]:
    """A vault in which a command met a fault at its n-th call, and at those after it, and what it said."""
    what, methods = FAULTS[fault]
    story = fresh(command)
    store, _ = faulty(story.store, at_call(nth, what, methods, times))
    yield story, attempt(command, story, store)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", stored.COMMANDS)
def test_a_fault_at_every_call(command: str, fault: str) -> None:
    """Once, twice, and for ever from then on."""
    ends: Counter[str] = Counter()
    untouched = fresh(command).store.objects
    for nth, (method, name) in enumerate(calls_of(command), 1):
        if method not in FAULTS[fault][1]:
            continue
        for times in (1, 2, 1_000_000):
            for story, error in broken(command, nth, fault, times):
                where = f"{command}: {fault} at call {nth}, {method} {name}, {times} times: {error!r}"
                assert error is not None or story.has_done(command), where
                assert fault not in UNREACHABLE or not isinstance(error, DamageError), where
                ends["said" if error else "done"] += 1
                if story.store.objects == untouched:
                    continue
                if command != "repair":
                    story.mend()
                story.again(command)
    print(f"{command}, {fault}: {dict(ends)}")


@pytest.mark.parametrize("command", stored.COMMANDS)
@pytest.mark.parametrize("calls", [3, 12, 1000])
def test_listings_that_come_late(command: str, calls: int) -> None:
    """What was put is not shown yet, what was deleted still is."""
    story = fresh(command)
    store, _ = faulty(story.store, is_late(calls))
    attempt(command, story, store)
    for then in ("back up", "forget", "prune"):
        attempt(then, story, store)
    if command != "repair":
        story.check()
    story.again(command)


@pytest.mark.parametrize("command", ["forget", "bring back", "prune", "repair"])
def test_a_target_that_only_takes_more(command: str) -> None:
    story = fresh(command)
    before = dict(story.store.objects)
    store, _ = faulty(story.store, appends_only)
    error = attempt(command, story, store)
    assert isinstance(error, PachvaultError)
    assert before.items() <= story.store.objects.items()
    if command != "repair":
        assert "does not allow deletion" in str(error)
        assert [name for name in story.store.objects if name not in before and "runs/clock" not in name] == []
    assert attempt("back up", story, store) is None or command == "repair"
    story.again(command)

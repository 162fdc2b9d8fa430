"""Every call of a store fails, is short, lies or comes late: nothing is lost, nothing is called well that is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import stored
from fault.faulty import (
    Fault,
    Point,
    at,
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
from pachvault.upkeep import patience
from stored import Named, Stored, attempt

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
PASSING = ("fails", "no rights")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_WAIT_SECONDS", 0)


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
    found = [point for point in points(command) if point[0] in methods]
    for point in found:
        story = fresh(command)
        store, seen = faulty(story.store, at(point, what, once=once))
        try:
            said = attempt(command, story, store)
            assert seen.points[point]
            yield story, point, said
        except BaseException as error:
            error.add_note(f"{fault} at {point}")
            raise


@pytest.mark.parametrize("once", [True, False], ids=["once", "always"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", stored.COMMANDS)
def test_a_fault_at_every_point(command: str, fault: str, *, once: bool) -> None:
    for story, _, said in hit(command, fault, once=once):
        if said is None:
            assert story.has_done(command)
        assert "\n" not in str(said)
        if command != "repair":
            story.mend()
        story.again(command)

"""Prunes beside each other and beside runs that take too long, while clocks jump: nothing needed goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo

import pytest

import stored
from fault.faulty import WRITES, faulty, meanwhile
from pachvault.errors import BusyError
from pachvault.maintenance.prune import prune
from pachvault.vault import pending_deletes
from stored import Stored, attempt


def met(
    command: str, methods: tuple[str, ...], event: Callable[[Stored], object]
) -> Iterator[tuple[Stored, Exception | None]]:
    """Vaults in which something happened before the n-th such call of a command, and what that then said."""
    nth, is_over = 0, False
    while not is_over:
        nth += 1
        story = stored.made()
        happened = []

        def happens(story: Stored = story, happened: list[object] = happened) -> None:
            happened.append(event(story))

        store, _ = faulty(story.store, meanwhile(nth, methods, happens))
        raised = attempt(command, story, store)
        is_over = not happened
        try:
            yield story, raised
        except BaseException as error:
            error.add_note(f"at call {nth} of {methods}")
            raise
    assert nth > 4


def test_two_prunes_at_once() -> None:
    for story, error in met("prune", (*WRITES, "list"), lambda story: stored.do_prune(story, story.store)):
        assert error is None
        story.check(is_verified=False)


@pytest.mark.parametrize("command", ["back up", "forget", "bring back"])
def test_a_prune_beside(command: str) -> None:
    for story, error in met("prune", WRITES, lambda story: story.again(command, is_checked=False)):
        assert error is None
        story.check(is_verified=False)


@pytest.mark.parametrize("command", ["back up", "forget", "bring back"])
def test_beside_a_prune(command: str) -> None:
    for story, error in met(command, (*WRITES, "list"), lambda story: stored.do_prune(story, story.store)):
        assert error is None or (command == "back up" and isinstance(error, BusyError))
        story.check(is_verified=False)
        if error is not None:
            story.again(command)


@pytest.mark.parametrize("days", [3.4, 3.6, 7.1, 14.1])
def test_a_run_that_takes_days_while_others_prune(days: float) -> None:
    def event(story: Stored) -> None:
        story.is_grace_over = True
        stored.do_prune(story, story.store)
        story.pass_time(days)
        stored.do_prune(story, story.store)

    for story, error in met("back up", WRITES, event):
        assert error is None or isinstance(error, BusyError)
        story.check(is_verified=False)
        story.back_up(10, 1, 10, 11, 51, 52, 54)
        story.check(is_verified=False)


@pytest.mark.parametrize("days", [-1, 1])
@pytest.mark.parametrize("command", [name for name in stored.COMMANDS if name not in ("repair", "verify")])
def test_the_stores_clock_jumps(command: str, days: float) -> None:
    for story, error in met(command, WRITES, lambda story: story.pass_time(days)):
        assert error is None
        story.pass_time(-days)
        stored.do_prune(story, story.store)
        story.check(is_verified=False)


class Host:
    """This machine's clock, some time ahead; for `datetime` and for `time`."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead
        self.asked = 0

    def now(self, zone: tzinfo) -> datetime:
        return datetime.now(zone) + self._ahead

    def monotonic(self) -> float:
        return 0.0

    def time(self) -> float:
        """Ahead from the second time that it is asked."""
        self.asked += 1
        return self._ahead.total_seconds() if self.asked > 1 else 0.0


@pytest.mark.parametrize("days", [-1, 1])
def test_this_machines_clock_jumps(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    monkeypatch.setattr(pending_deletes, "datetime", Host(timedelta(days=days)))
    monkeypatch.setattr(prune, "time", Host(timedelta(days=days)))
    story = stored.made()
    story.again("prune")
    story.again("back up")
    packs = story.names("packs")
    story.let_grace_pass()
    story.again("prune")
    assert not set(packs) <= set(story.names("packs"))


def test_a_prune_that_was_held_up_deletes_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    story = stored.made()
    packs = story.names("packs")
    with monkeypatch.context() as patch:
        patch.setattr(prune, "time", Host(timedelta(days=4)))
        assert isinstance(attempt("prune", story, story.store), BusyError)
    assert story.names("packs") == packs
    story.again("prune")
    assert not set(packs) <= set(story.names("packs"))

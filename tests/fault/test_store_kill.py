"""Killed between any two writes, and in any: nothing sealed is lost, and the next run completes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import stored
from fault.faulty import Fault, dies, dies_writing, faulty
from memory import Killed
from stored import Stored

WRITERS = [name for name in stored.COMMANDS if name != "verify"]


def killed(command: str, how: Callable[[int], Fault]) -> Iterator[Stored]:
    """Vaults in which a command was killed at its first write, at its second, and so on until it lives."""
    nth = 0
    while True:
        nth += 1
        story = stored.made()
        if command == "repair":
            stored.damage(story)
        store, _ = faulty(story.store, how(nth))
        try:
            stored.COMMANDS[command](story, store)
        except Killed:
            try:
                yield story
            except BaseException as error:
                error.add_note(f"killed at write {nth}")
                raise
        else:
            break
    assert nth > 4


@pytest.mark.parametrize("command", WRITERS)
def test_killed_between_any_two_writes(command: str) -> None:
    for story in killed(command, dies):
        if command != "repair":
            story.check()
        story.again(command)


@pytest.mark.parametrize("command", ["forget", "prune", "repair"])
def test_killed_then_a_backup_then_a_prune(command: str) -> None:
    for story in killed(command, dies):
        if command == "repair":
            story.again(command)
        story.again("back up")
        story.let_grace_pass()
        story.again("prune")


@pytest.mark.parametrize("command", WRITERS)
def test_killed_in_any_write_of_an_object_store(command: str) -> None:
    """It leaves a short object under its name: where that is in the way, verify names it."""
    for story in killed(command, dies_writing):
        if command != "repair":
            story.mend()
        story.again(command)

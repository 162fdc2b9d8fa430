"""What Pachyderm lists is made small as it comes: one of its messages takes some kilobytes of memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence

import pytest

from e2e.cluster import Project

pytestmark = [pytest.mark.e2e]

FILES = 4000
BYTES_EACH = 1200


def peak(call: Callable[[], object]) -> int:
    """How many bytes a call takes at most, its result included."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_many_files_are_listed_in_little_memory(project: Project) -> None:
    repo = project.repo("data")
    commit = project.ref(repo, project.commit(repo, {f"/{number:05}": b"1" for number in range(FILES)}))
    source = project.cluster.source
    calls: dict[str, Callable[[], Sequence[object]]] = {
        "diff": lambda: source.diff(commit, None),
        "walk": lambda: source.walk(commit),
    }
    assert {name: len(call()) for name, call in calls.items()} == {"diff": FILES, "walk": FILES}
    taken = {name: peak(call) // FILES for name, call in calls.items()}
    assert max(taken.values()) < BYTES_EACH, taken

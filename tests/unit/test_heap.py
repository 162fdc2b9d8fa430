"""The process's heap: what is shared, and what goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from pachvault import heap


def run(program: str) -> str:
    """In a process of its own: these settings are a process's."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_arrow_allocates_where_all_else_does() -> None:
    program = """
from pachvault import heap
heap.share()
import pyarrow as pa
print(pa.default_memory_pool().backend_name)
"""
    assert run(program) == "system"


def test_holes_between_what_is_kept_go_back_to_the_system() -> None:
    """Where glibc is what allocates; elsewhere nothing is promised."""
    program = """
from pachvault import heap
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
with heap.returning():
    held = [bytes([1]) * 2**20 for _ in range(200)]
    full = resident()
    del held[::2]
    print(full - resident())
"""
    assert 90 <= int(run(program)) <= 110


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: object) -> object:
        raise OSError("no such library")

    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")
    monkeypatch.setattr(ctypes, "CDLL", none)
    heap.share()
    with heap.returning():
        pass

"""The process's memory: which allocator is used, and what is returned to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from pachvault.runtime import allocator


def run(program: str) -> str:
    """In a process of its own: these settings are a process's."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_arrow_allocates_where_all_else_does() -> None:
    program = """
from pachvault.runtime import allocator
allocator.share()
import pyarrow as pa
print(pa.default_memory_pool().backend_name)
"""
    assert run(program) == "system"


def test_holes_between_what_is_kept_go_back_to_the_system() -> None:
    """Where glibc is what allocates; elsewhere nothing is promised."""
    program = """
from pachvault.runtime import allocator
allocator.share()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
with allocator.returning():
    held = [bytes([1]) * 2**20 for _ in range(200)]
    full = resident()
    del held[::2]
    print(full - resident())
"""
    assert 90 <= int(run(program)) <= 110


def test_it_may_be_entered_again_and_by_several_threads() -> None:
    program = """
from pachvault.runtime import allocator
calls = []
allocator._set = lambda what, value: calls.append(value)
allocator.share()
del calls[:]
with allocator.returning():
    with allocator.returning():
        assert len(calls) == 1
    assert len(calls) == 1, "the inner one must not end it"
print(len(calls))
"""
    assert run(program) == "3"


def test_a_program_that_imports_pachvault_keeps_its_allocator(tmp_path: Path) -> None:
    program = f"""
import ctypes, gc, os, signal, sys
before = dict(os.environ), gc.get_threshold(), signal.getsignal(signal.SIGINT), sys.stdout, os.umask(0o22)
os.umask(before[4])
import pachvault
from pachvault.runtime import allocator
allocator._set = lambda *_: sys.exit("the allocator was switched")
from pachvault.store.folder_store import FolderStore
from pachvault.vault import vault
from pachvault.vault.index import blob_index
pachvault.create_backup_task({str(tmp_path / "vault")!r}, create=True)
blob_index.load_places(vault.open_vault(FolderStore(__import__("pathlib").Path({str(tmp_path / "vault")!r}))))
after = dict(os.environ), gc.get_threshold(), signal.getsignal(signal.SIGINT), sys.stdout, os.umask(0o22)
print(before == after)
"""
    assert run(program) == "True"


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: object) -> object:
        raise OSError("no such library")

    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")
    monkeypatch.setattr(ctypes, "CDLL", none)
    monkeypatch.setattr(allocator, "_process", allocator._Owned())
    allocator.share()
    with allocator.returning():
        pass

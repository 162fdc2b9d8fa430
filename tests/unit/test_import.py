"""A program that imports pachvault and uses its Python interface keeps its process as it was."""

from __future__ import annotations

import subprocess
import sys

import pytest

USE = """
import pachvault
from pachvault.errors import PachvaultError
from pachvault.pach import settings, source, target, worker_processes
from pachvault.maintenance import maintenance
task = pachvault.create_backup_task("file://" + folder, create=True, pachd="grpc://127.0.0.1:1")
try:
    task.execute()
except PachvaultError:
    pass
else:
    raise SystemExit("there is no Pachyderm: it cannot succeed")
assert task.verify() == []
"""

STATES = {
    "the collector": "__import__('gc').get_threshold()",
    "signal handlers": "[__import__('signal').getsignal(number) for number in range(1, 32)]",
    "loggers' levels, handlers and filters": (
        "[(log.level, list(log.handlers), list(log.filters), log.propagate, log.disabled)"
        " for log in (logging.getLogger(), logging.getLogger('pachvault'))]"
    ),
    "the environment": "dict(__import__('os').environ)",
    "streams": "(sys.stdin, sys.stdout, sys.stderr, sys.excepthook, sys.getrecursionlimit())",
    "warnings": "list(__import__('warnings').filters)",
    "umask": "(mask := __import__('os').umask(0), __import__('os').umask(mask))[0]",
}


def run(program: str, folder: object) -> subprocess.CompletedProcess[str]:
    setup = f"import logging, sys\nfolder = {str(folder)!r}\n"
    command = [sys.executable, "-W", "ignore", "-c", setup + program]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("what", STATES)
def test_it_changes_nothing_of_the_process(what: str, tmp_path: object) -> None:
    look = STATES[what]
    # numpy and grpc, which it imports, have their way: what they change is not ours
    before = f"import grpc, numpy, python_pachyderm, tenacity\nbefore = {look}\n"
    done = run(f"{before}{USE}\nafter = {look}\nassert before == after, (before, after)", f"{tmp_path}/vault")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_client_package_is_the_real_one(tmp_path: object) -> None:
    program = f"""{USE}
import importlib.util, types
package = sys.modules["python_pachyderm"]
assert type(package) is types.ModuleType
assert "Client" in vars(package)
assert package.__spec__.origin == importlib.util.find_spec("python_pachyderm").origin
"""
    done = run(program, f"{tmp_path}/vault")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_allocator_stays(tmp_path: object) -> None:
    program = f"""
import ctypes
ctypes.CDLL = lambda *_: sys.exit("the allocator was switched")
{USE}
import pyarrow
assert pyarrow.default_memory_pool().backend_name == expected, pyarrow.default_memory_pool().backend_name
"""
    default = subprocess.run(
        [sys.executable, "-c", "import pyarrow; print(pyarrow.default_memory_pool().backend_name)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    done = run(f"expected = {default!r}\n{program}", f"{tmp_path}/vault")
    assert (done.returncode, done.stderr) == (0, "")


def test_it_ends_as_it_would_without(tmp_path: object) -> None:
    """Exit functions registered before the import are called, after those of pachvault."""
    program = f"import atexit; atexit.register(print, 'last')\n{USE}\nsys.exit(7)"
    done = run(program, f"{tmp_path}/vault")
    assert (done.returncode, done.stdout, done.stderr) == (7, "last\n", "")


def test_the_command_ends_with_its_code_and_after_exit_functions() -> None:
    program = """
from pachvault.cli.main import main
import atexit, threading, time
def later():
    time.sleep(0.3)
    print("thread")
class Teardown:
    def __del__(self):
        print("teardown")
keep = Teardown()
def run(arguments):
    atexit.register(print, "exit function")
    threading.Thread(target=later).start()
    return 13
import pachvault.cli.main as module
module.run = run
main()
"""
    done = run(program, "")
    assert (done.returncode, done.stdout.splitlines()) == (13, ["thread", "exit function"])

"""The stand-in for python_pachyderm: messages without the client, unless a name of it is used."""

from __future__ import annotations

import subprocess
import sys

INSTALL = "from pachvault.pach import lazy_protos; lazy_protos.install()\n"


def run(program: str) -> str:
    """What a fresh interpreter prints: here the package may be imported already."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_client_is_not_imported() -> None:
    assert (
        run(f"{INSTALL}import pachvault.pach.source, sys; print('python_pachyderm.client' in sys.modules)")
        == "False"
    )


def test_the_package_is_read_when_it_is_asked_for_a_name() -> None:
    program = (
        f"{INSTALL}import pachvault.pach.source as ours, python_pachyderm as package\n"
        "from python_pachyderm.service import pfs_proto\n"
        "print(package.Client.__name__, pfs_proto.Commit is ours.pfs_pb2.Commit)"
    )
    assert run(program) == "Client True"


def test_a_package_that_was_imported_before_stays() -> None:
    program = (
        "import python_pachyderm as before, sys; from python_pachyderm import Client\n"
        f"{INSTALL}import pachvault.pach.source\n"
        "print(sys.modules['python_pachyderm'] is before, sys.modules['python_pachyderm'].Client is Client)"
    )
    assert run(program) == "True True"

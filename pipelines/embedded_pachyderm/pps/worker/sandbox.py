"""How user code sees its datum at /pfs: a private mount namespace where the machine allows one.

Where it does not, the command runs plainly, with the paths in its command line and standard input
rewritten and `PACHVAULT_PFS` naming the folder; the job's log says so.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PFS = Path("/pfs")
#: Arguments: pairs of source and mount point, then `--`, then the command.
_SCRIPT = (
    'while [ "$1" != -- ]; do mkdir -p "$2" && mount --bind "$1" "$2" || exit 125; '
    'shift 2; done; shift; exec "$@"'
)


@dataclass(frozen=True, slots=True)
class Command:
    """What to start: its arguments, its standard input, and what to add to its environment."""

    arguments: tuple[str, ...]
    stdin: str
    environment: Mapping[str, str]


@cache
def namespace_command() -> tuple[str, ...] | None:
    """The prefix that starts a program in a mount namespace of its own, or none if there is no way."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return None
    for options in ((), ("--user", "--map-root-user")):
        prefix = (unshare, *options, "--mount", "--propagation", "private", "--")
        probe = ("sh", "-c", 'mkdir -p "$1" && mount --bind /tmp "$1"', "sh", str(_PFS))
        try:
            result = subprocess.run((*prefix, *probe), capture_output=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if result.returncode == 0:
            return prefix
    return None


def command(
    arguments: Sequence[str],
    stdin: Sequence[str],
    *,
    scratch: Path,
    mounts: Mapping[str, Path],
) -> Command:
    """The user's command with `scratch` at /pfs; `mounts` are further folders by where they belong."""
    text = "\n".join(stdin) + "\n" if stdin else ""
    prefix = namespace_command()
    if prefix is None:
        return Command(
            arguments=tuple(seen(argument, scratch) for argument in arguments),
            stdin=seen(text, scratch),
            environment={"PACHVAULT_PFS": str(scratch)},
        )
    pairs = [str(scratch), str(_PFS)]
    for target, source in mounts.items():
        pairs += [str(source), target]
    return Command(
        arguments=(*prefix, "sh", "-c", _SCRIPT, "sh", *pairs, "--", *arguments),
        stdin=text,
        environment={},
    )


def seen(text: str, scratch: Path) -> str:
    """A text that names things below /pfs, as it must read where there is no such mount."""
    return text if namespace_command() is not None else text.replace("/pfs/", f"{scratch}/")

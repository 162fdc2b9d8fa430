"""The `pachvault` command: its groups, and how errors become one line and an exit code."""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
import traceback
from contextlib import suppress
from importlib import import_module

import click

from pachvault import __version__, heap
from pachvault.cli.common import State, common_options
from pachvault.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, PachvaultError

_COMMANDS = {
    "init": "backup",
    "deploy": "deploy",
    "specs": "deploy",
    "backup": "backup",
    "status": "status",
    "snapshots": "snapshots",
    "show": "look",
    "ls": "look",
    "cat": "look",
    "diff": "diff",
    "extract": "extract",
    "verify": "verify",
    "repair": "repair",
    "erase": "erase",
    "forget": "forget",
    "upkeep": "upkeep",
    "prune": "prune",
    "restore": "restore",
    "rollback": "restore",
    "restores": "restore",
    "stage": "stage",
    "local": "local",
    "demo": "demo",
}
"""Each command's module: imported when called, because start-up is half of a short command."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"pachvault.cli.{_COMMANDS[name]}"), f"{name}_command")
        return command


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 bad input, 3 done in part, 10 no vault there, 11 vault busy, "
    "12 wrong or missing key, 13 damage found, 130 interrupted.",
)
@click.version_option(__version__, "--version", prog_name="pachvault")
@common_options
def cli() -> None:
    """Back up Pachyderm: freeze commits without copying, ship what is new, seal a snapshot.

    Look at snapshots and read files back with no Pachyderm at hand.
    """


def main() -> None:
    """Run the command and exit with its documented code."""
    # many objects, few cycles: by default the collector would walk through all of them too often
    gc.set_threshold(50_000)
    heap.share()
    code = run(sys.argv[1:])
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    # the threads of native libraries now and then abort what the interpreter does after that
    os._exit(code)


def run(arguments: list[str]) -> int:  # noqa: PLR0911  (one return a kind of end)
    """Run the command; its exit code."""
    state = State.from_environment()
    try:
        outcome = cli.main(arguments, prog_name="pachvault", standalone_mode=False, obj=state)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(error.format_message() + "\n")
        return EXIT_USAGE
    except click.ClickException as error:
        state.json = state.json or "--json" in arguments  # it may stand where click did not come to
        context = getattr(error, "ctx", None)
        hint = f" (see `{context.command_path} --help`)" if context else ""
        _report(state, f"{error.format_message()}{hint}", EXIT_USAGE)
        return EXIT_USAGE
    except PachvaultError as error:
        _report(state, str(error), error.exit_code)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _report(state, "interrupted", EXIT_INTERRUPTED)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # the reader of our output has gone: not an error, but nothing more can be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        _report(state, f"cannot read or write {error.filename or 'the output'}: {reason}", EXIT_FAILED)
        return EXIT_FAILED
    except MemoryError:
        _report(state, "out of memory (no data is damaged by that)", EXIT_FAILED)
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001  (the last resort: a line, and the trace where asked for)
        if state.debug:
            traceback.print_exc()
        hint = "" if state.debug else " (a bug; PACHVAULT_DEBUG=1 shows where)"
        _report(state, f"{type(error).__name__}: {error}{hint}", EXIT_FAILED)
        return EXIT_FAILED
    return outcome if isinstance(outcome, int) else 0


def _report(state: State, message: str, code: int) -> None:
    line = " ".join(message.split())
    if state.json:
        sys.stdout.write(json.dumps({"type": "error", "message": line, "exit_code": code}) + "\n")
    else:
        sys.stderr.write(f"pachvault: {line}\n")

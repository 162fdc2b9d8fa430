"""The `pachvault` command: the list of commands, and how an error becomes one line and an exit code."""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points

import click

from pachvault import __version__
from pachvault.cli.common import CommandContext, OutputError, common_options, flush, say
from pachvault.cli.render import show
from pachvault.cli.results.error import ErrorResult
from pachvault.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, PachvaultError, UsageError
from pachvault.pach import lazy_protos
from pachvault.runtime import allocator, logs
from pachvault.runtime.process_exit import ProcessExit
from pachvault.store import interrupts

_log = logging.getLogger(__name__)

_COMMANDS = {
    "probe": "inspect_commands.probe",
    "init": "backup",
    "deploy": "deploy_commands.deploy",
    "undeploy": "deploy_commands.deploy",
    "specs": "deploy_commands.deploy",
    "backup": "backup",
    "status": "inspect_commands.status",
    "snapshots": "inspect_commands.snapshots",
    "show": "inspect_commands.browse",
    "ls": "inspect_commands.browse",
    "cat": "inspect_commands.browse",
    "diff": "inspect_commands.diff",
    "extract": "inspect_commands.extract",
    "verify": "maintenance_commands.verify",
    "repair": "maintenance_commands.repair",
    "erase": "maintenance_commands.erase",
    "forget": "maintenance_commands.forget",
    "maintenance": "maintenance_commands.maintenance",
    "prune": "maintenance_commands.prune",
    "restore": "restore",
    "rollback": "restore",
    "restores": "restore",
    "stage": "stage",
}
"""The module of each command. It is imported when it is needed: start-up is half of a short command."""


_PLUGINS = "pachvault.commands"
"""The entry point group in which other packages register commands, such as the embedded Pachyderm."""
_DEMO = ("local", "demo")


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        return [*_COMMANDS, *sorted(entry_points(group=_PLUGINS).names)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        command: click.Command
        if name in _COMMANDS:
            command = getattr(import_module(f"pachvault.cli.{_COMMANDS[name]}"), f"{name}_command")
            return command
        # docs/decisions/0010; a plug-in cannot replace a command of the product
        for plugin in entry_points(group=_PLUGINS, name=name):
            command = plugin.load()
            return command
        if name in _DEMO:
            raise UsageError(
                f"`pachvault {name}` needs the embedded Pachyderm, which is not installed",
                hint="pip install 'pachvault[demo]'",
            )
        return None


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 bad input, 3 done in part, 10 no vault there, 11 vault busy, "
    "12 wrong or missing key, 13 damage found, 130 interrupted.",
)
@click.version_option(__version__, "--version", prog_name="pachvault")
@common_options
def cli() -> None:
    """Back up Pachyderm: freeze commits without copying, store what is new in a vault, seal a snapshot.

    List snapshots and read files back without any Pachyderm.
    """


def main() -> None:
    """Run the command and exit with its documented code.

    Only here the process as a whole is changed: an import of pachvault leaves it as it is.
    """
    # first: exit functions are called in reverse order, and its own must be the last
    process_exit = ProcessExit()
    _open_streams()
    # many objects, few cycles: by default the collector would walk through all of them too often
    gc.set_threshold(50_000)
    allocator.share()
    interrupts.install()
    # what it would write to standard error is in the errors of calls, too
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # before anything imports python-pachyderm
    lazy_protos.install()
    process_exit.leave(run(sys.argv[1:]))


def _open_streams() -> None:
    """Let standard output and error be streams even where they were closed, and take every character.

    What was closed would else be None, and the first file that is opened would get its number.
    """
    if sys.stdout is None:
        # for reading, so that writing to it fails
        sys.stdout = _stream(1, os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _stream(2, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _stream(number: int, mode: int) -> io.TextIOWrapper:
    handle = os.open(os.devnull, mode)
    if handle != number:
        os.dup2(handle, number)
        os.close(handle)
    return os.fdopen(number, "w", closefd=False)


def run(arguments: list[str]) -> int:
    """Run the command and flush its output. Returns the exit code."""
    context = CommandContext.from_environment()
    # the token is passed so that no log record shows it
    with logs.to_stderr(context.secrets() or [""]) as context.log:
        code = _run(context, arguments)
    try:
        flush()
    except OutputError as error:
        return _failed_to_write(error)
    except BrokenPipeError:
        _drop_output()
        return EXIT_FAILED
    return code


def _failed_to_write(error: OutputError) -> int:
    _drop_output()
    say(f"pachvault: {error}")
    return error.exit_code


def _drop_output() -> None:
    """Discard what standard output has buffered, and all further output."""
    with suppress(OSError):  # tests capture it without a file
        # what is still buffered is flushed again at the end of the process, and must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(context: CommandContext, arguments: list[str]) -> int:  # noqa: PLR0911  (one return a kind of end)
    try:
        outcome = cli.main(arguments, prog_name="pachvault", standalone_mode=False, obj=context)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        with suppress(OSError):
            sys.stderr.write(error.format_message() + "\n")
        return EXIT_USAGE
    except click.ClickException as error:
        context.json = context.json or "--json" in arguments  # click may have stopped before it
        click_context = getattr(error, "ctx", None)
        hint = f" (see `{click_context.command_path} --help`)" if click_context else ""
        _report(context, f"{error.format_message()}{hint}", EXIT_USAGE)
        return EXIT_USAGE
    except OutputError as error:
        return _failed_to_write(error)
    except PachvaultError as error:
        _report(context, str(error), error.exit_code)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _report(context, "interrupted", EXIT_INTERRUPTED)
        return EXIT_INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # the reader of the output has closed it (click makes an exit of that): no more output is possible
        _drop_output()
        return EXIT_FAILED
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        _report(context, f"cannot read or write {error.filename or 'the output'}: {reason}", EXIT_FAILED)
        if error.filename is None:
            _drop_output()  # click wrote to it: report that once
        return EXIT_FAILED
    except MemoryError:
        _report(context, "out of memory (this damages no data)", EXIT_FAILED)
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001  (the last resort: a line, and the trace where asked for)
        _report_bug(context, error)
        return EXIT_FAILED
    return outcome if isinstance(outcome, int) else 0


def _report_bug(context: CommandContext, error: Exception) -> None:
    message = f"{type(error).__name__}: {error}"
    if context.is_in_worker:
        _log.critical("%s (a bug)", message, exc_info=error)
        return
    if context.debug:
        traceback.print_exc()
    hint = "" if context.debug else " (a bug; PACHVAULT_DEBUG=1 shows where)"
    _report(context, f"{message}{hint}", EXIT_FAILED)


def _report(context: CommandContext, message: str, code: int) -> None:
    # one line, also for messages of libraries with line breaks: scripts and logs read it as one record
    line = " ".join(message.split())
    if context.is_in_worker:
        _log.error("%s", line)
        return
    try:
        show(context, ErrorResult(message=line, exit_code=code))
        if context.json:
            flush()
    except OutputError:
        _drop_output()
        say(f"pachvault: {line}")
    except BrokenPipeError:
        _drop_output()

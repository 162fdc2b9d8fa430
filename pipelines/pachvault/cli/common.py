"""What the commands share: the common options, and how data and talk are written."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pachvault.errors import InvalidInputError, PachvaultError, UsageError
from pachvault.runtime.terminal import printable
from pachvault.syntax.quantities import count

if TYPE_CHECKING:
    from pachvault.runtime.progress import JsonLines, Quiet, Terminal
    from pachvault.vault.vault import Vault

DEFAULT_PACHD = "grpc://127.0.0.1:30650"
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class OutputError(PachvaultError):
    """Standard output is full or closed. What the command was to do is done."""


@dataclass(slots=True)
class CommandContext:
    """The common options as they stand: environment first, then flags, wherever they were given."""

    vault: str | None = None
    pachd: str = DEFAULT_PACHD
    token: str | None = None
    json: bool = False
    quiet: bool = False
    debug: bool = False

    @classmethod
    def from_environment(cls) -> CommandContext:
        """From PACHVAULT_VAULT, PACHD_ADDRESS, PACH_TOKEN and PACHVAULT_DEBUG."""
        env = os.environ
        return cls(
            vault=env.get("PACHVAULT_VAULT"),
            pachd=env.get("PACHD_ADDRESS") or DEFAULT_PACHD,
            token=env.get("PACH_TOKEN"),
            debug=bool(env.get("PACHVAULT_DEBUG")),
        )

    def vault_url(self) -> str:
        """The vault's URL, or UsageError."""
        if not self.vault:
            raise UsageError("no vault given", hint="--vault file:///folder, or PACHVAULT_VAULT")
        return self.vault

    def open_vault(self) -> Vault:
        """The vault, opened."""
        from pachvault.store.open_store import open_store  # noqa: PLC0415
        from pachvault.vault.vault import open_vault  # noqa: PLC0415

        return open_vault(open_store(self.vault_url()))

    def progress(self) -> Terminal | JsonLines | Quiet:
        """Where long work reports to."""
        from pachvault.runtime.progress import JsonLines, Quiet, Terminal  # noqa: PLC0415

        if self.quiet:
            return Quiet()
        return JsonLines() if self.json else Terminal()


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take the common options; they may stand before or after the command's name."""
    for option in (
        click.option("--vault", metavar="URL", help="The vault: file:///folder.  [env: PACHVAULT_VAULT]"),
        click.option("--pachd", metavar="ADDRESS", help="Pachyderm: grpc://host:port.  [env: PACHD_ADDRESS]"),
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line on standard output."),
        click.option("--quiet", is_flag=True, help="No progress."),
    ):
        command = option(command)

    @functools.wraps(command)
    @click.pass_obj
    def wrapped(state: CommandContext, *args: Any, **options: Any) -> Any:
        state.vault = options.pop("vault") or state.vault
        state.pachd = options.pop("pachd") or state.pachd
        state.json = options.pop("as_json") or state.json
        state.quiet = options.pop("quiet") or state.quiet
        return command(*args, **options)

    return wrapped


class Count(click.ParamType[int]):
    """A whole number from 1 up, as policies and requests take it."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click.ParamType."""
        try:
            return count(value)
        except InvalidInputError as error:
            self.fail(str(error), param, ctx)


def workers_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option that says how much goes on at once; by default as much as there are cores."""
    return click.option(
        "--workers",
        type=click.IntRange(1, 64),
        default=os.cpu_count() or 1,
        show_default="cores",
        help=what,
    )


def read_text(path: Path) -> str:
    """A text file that the user named; UsageError where it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise UsageError(f"cannot be read: {reason}", where=str(path)) from error


def say(text: str) -> None:
    """A line for people, on standard error. Where nobody can be told the work goes on."""
    with suppress(OSError):
        sys.stderr.write(printable(text) + "\n")


def put(text: str = "") -> None:
    """A line on standard output; what a terminal would act on is escaped."""
    _write(printable(text) + "\n")


def agreed_now(vault: Vault, *, dry_run: bool) -> datetime:
    """The earlier of the store's time and this machine's, and a word where they differ.

    A dry run, which writes nothing, makes do with this machine's.
    """
    from pachvault.maintenance.prune import reserve  # noqa: PLC0415
    from pachvault.vault import clock  # noqa: PLC0415

    if dry_run:
        return datetime.now(UTC)
    clocks = reserve.used(vault, lambda _: clock.read(vault))
    if clocks.difference:
        say(f"{clocks.difference}: ages count by the one that is behind")
    return clocks.earlier


def put_json(kind: str, /, **fields: Any) -> None:
    """One JSON object on standard output."""
    _write(json.dumps({"type": kind, **fields}, default=str) + "\n")


def put_table(headings: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[int] = ()) -> None:
    """Columns on standard output; those numbered in `right` are aligned there."""
    cells = [list(headings), *([printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[number]) for row in cells) for number in range(len(headings))]
    aligned = set(right)
    for row in cells:
        line = "  ".join(
            cell.rjust(width) if number in aligned else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        put(line.rstrip())


def put_bytes(parts: Iterable[bytes]) -> None:
    """A file's content on standard output, as it is."""
    for part in parts:
        with _output():
            sys.stdout.buffer.write(part)
    flush()


def flush() -> None:
    """Hand over what standard output still holds back; OutputError where that fails."""
    with _output():
        sys.stdout.flush()


def _write(text: str) -> None:
    with _output():
        sys.stdout.write(text)


@contextmanager
def _output() -> Iterator[None]:
    """OutputError where standard output fails; BrokenPipeError where its reader has gone."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(f"standard output cannot be written: {reason}") from error


def human(size: float) -> str:
    """A size in bytes for people: `1.5 MiB`."""
    for unit in UNITS[:-1]:
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {UNITS[-1]}"

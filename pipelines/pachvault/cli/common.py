"""What the commands share: the common options, and the functions that write output."""

from __future__ import annotations

import functools
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
    from pachvault.pach.access.pachctl_context import PachctlContext
    from pachvault.runtime.logs import LogOutput
    from pachvault.runtime.progress import JsonLines, Quiet, Terminal
    from pachvault.vault.vault import Vault

DEFAULT_PACHD = "grpc://127.0.0.1:30650"


class OutputError(PachvaultError):
    """Standard output is full or closed. The command itself has done its work."""


@dataclass(slots=True)
class CommandContext:
    """The common options: from the environment, then from flags before or after the command's name."""

    vault: str | None = None
    address: str | None = None
    """Of pachd, where it was given; else that of pachctl's context counts."""
    auth_token: str | None = None
    tls: tuple[str | None, str | None] = (None, None)
    """A CA file and a server name for the address."""
    json: bool = False
    quiet: bool = False
    debug: bool = False
    log: LogOutput | None = None
    """Where log records go; none outside a command."""
    is_in_worker: bool = False
    """Whether a pipeline's stage runs: errors are log records then."""
    has_warned: bool = False

    @classmethod
    def from_environment(cls) -> CommandContext:
        """From PACHVAULT_VAULT and _DEBUG, PACHD_ADDRESS, _CA and _SERVER_NAME, and PACH_TOKEN."""
        env = os.environ
        return cls(
            vault=env.get("PACHVAULT_VAULT"),
            address=env.get("PACHD_ADDRESS"),
            auth_token=env.get("PACH_TOKEN"),
            tls=(env.get("PACHD_CA"), env.get("PACHD_SERVER_NAME")),
            debug=bool(env.get("PACHVAULT_DEBUG")),
        )

    @property
    def pachd(self) -> str:
        """The address of pachd: as given, or of pachctl's active context, or the default."""
        from pachvault.pach.access.address import with_tls  # noqa: PLC0415

        context = None if self.address else pachctl_context()
        address = self.address or (context.address if context else DEFAULT_PACHD)
        return with_tls(address, *self.tls) if any(self.tls) else address

    @property
    def token(self) -> str | None:
        """The auth token. That of pachctl's context is for the address of that context alone."""
        from pachvault.pach.access.address import Address  # noqa: PLC0415

        context = None if self.address or self.auth_token else pachctl_context()
        token = self.auth_token or (context.token if context else None)
        address = Address.parse(self.pachd)
        if token and not address.secure and not address.is_loopback and not self.has_warned:
            self.has_warned = True
            say(f"warning: the auth token goes to {address} unencrypted; grpcs:// encrypts it")
        return token

    def secrets(self) -> list[str]:
        """What no log record may show."""
        from pachvault.pach.access import mounted_token  # noqa: PLC0415

        tokens = [self.auth_token]
        # what cannot be read is reported by the command that needs it
        with suppress(UsageError):
            tokens.append(mounted_token.read())
        with suppress(UsageError):
            context = None if self.address else pachctl_context()
            tokens.append(context.token if context else None)
        return [token for token in tokens if token]

    def vault_url(self) -> str:
        """The vault's URL, or UsageError."""
        if not self.vault:
            raise UsageError(
                "no vault given", hint="--vault file:///folder or s3://bucket/prefix, or PACHVAULT_VAULT"
            )
        return self.vault

    def open_vault(self) -> Vault:
        """The vault, opened."""
        from pachvault.store.open_store import open_store  # noqa: PLC0415
        from pachvault.vault.vault import open_vault  # noqa: PLC0415

        return open_vault(open_store(self.vault_url()))

    def progress(self) -> Terminal | JsonLines | Quiet:
        """Where a long task reports its progress."""
        from pachvault.runtime.progress import JsonLines, Quiet, Terminal  # noqa: PLC0415

        if self.quiet:
            return Quiet()
        return JsonLines() if self.json else Terminal()


def pachctl_context() -> PachctlContext | None:
    """The active context of pachctl, if there is one."""
    from pachvault.pach.access import pachctl_context as contexts  # noqa: PLC0415

    return contexts.active(os.environ)


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the common options to a command; users may write them before or after the command's name."""
    for option in (
        click.option(
            "--vault",
            metavar="URL",
            help="The vault: file:///folder, s3://, gs://, az://bucket/prefix.  [env: PACHVAULT_VAULT]",
        ),
        click.option("--pachd", metavar="ADDRESS", help="Pachyderm: grpc://host:port.  [env: PACHD_ADDRESS]"),
        click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line (docs/json.md)."),
        click.option("--quiet", is_flag=True, help="Do not show progress."),
        click.option("--verbose", is_flag=True, help="Log decisions, retries and skipped work."),
    ):
        command = option(command)

    @functools.wraps(command)
    @click.pass_obj
    def wrapped(context: CommandContext, *args: Any, **options: Any) -> Any:
        # `or`: an option is parsed for the group and for the command, and the one that is absent must not
        # clear the other
        context.vault = options.pop("vault") or context.vault
        context.address = options.pop("pachd") or context.address
        context.json = options.pop("as_json") or context.json
        context.quiet = options.pop("quiet") or context.quiet
        if options.pop("verbose") and context.log is not None:
            context.log.use_verbose()
        return command(*args, **options)

    return wrapped


class Count(click.ParamType[int]):
    """A whole number, at least 1, in the form that policies and requests accept."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click.ParamType."""
        try:
            return count(value)
        except InvalidInputError as error:
            self.fail(str(error), param, ctx)


def workers_option(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option for the number of workers; by default one for each core."""
    return click.option(
        "--workers",
        type=click.IntRange(1, 64),
        default=os.cpu_count() or 1,
        show_default="cores",
        help=help_text,
    )


def read_text(path: Path) -> str:
    """The text of a file that the user named. Raises UsageError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise UsageError(f"cannot be read: {reason}", where=str(path)) from error


def say(text: str) -> None:
    """Write a line for people to standard error. If that fails, the work continues."""
    # standard error may be closed or full, and that must not end a backup
    with suppress(OSError):
        sys.stderr.write(printable(text) + "\n")


def put(text: str = "") -> None:
    """Write a line to standard output, with control characters escaped."""
    _write(printable(text) + "\n")


def agreed_now(vault: Vault, *, dry_run: bool) -> datetime:
    """The earlier of the store's time and this machine's; a warning is written where they differ.

    A dry run writes nothing to the store, so it uses this machine's time.
    """
    from pachvault.maintenance import reserve  # noqa: PLC0415
    from pachvault.vault import clock  # noqa: PLC0415

    if dry_run:
        return datetime.now(UTC)
    clocks = reserve.used(vault, lambda _: clock.read(vault))
    if clocks.difference:
        say(f"{clocks.difference}: ages are computed by the clock that is behind")
    return clocks.earlier


def put_json(line: str) -> None:
    """A JSON object on standard output, as it is. Only `pachvault.cli.render` makes one."""
    _write(line + "\n")


def put_table(headings: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[int] = ()) -> None:
    """Write a table to standard output; the columns numbered in `right` are aligned right.

    rich.table takes 0.5 ms a row, which is minutes for the packs of a large vault.
    """
    # escaped before the widths are taken: an escaped character is wider
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
    """Write a file's content to standard output, unchanged."""
    for part in parts:
        with _output():
            sys.stdout.buffer.write(part)
    flush()


def flush() -> None:
    """Flush standard output. Raises OutputError if that fails."""
    with _output():
        sys.stdout.flush()


def _write(text: str) -> None:
    with _output():
        sys.stdout.write(text)


@contextmanager
def _output() -> Iterator[None]:
    """Raise OutputError if standard output fails, and BrokenPipeError if its reader has closed it."""
    try:
        yield
    # no failure of the output: `pachvault ls … | head` closes it on purpose
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(f"standard output cannot be written: {reason}") from error


def human(size: float) -> str:
    """A size in bytes for people: `1.5 MiB`."""
    from pydantic import ByteSize  # noqa: PLC0415  (start-up does not wait for it)

    return ByteSize(size).human_readable(separator=" ")

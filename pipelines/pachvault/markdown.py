"""The reports that people read in the Console: Markdown, which it shows wrapped and with tables. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ByteSize

from pachvault.runtime.terminal import printable

_LISTED = 100
"""How many rows of a table are shown; the JSON document beside the report has all."""
_SPECIAL = re.compile(r"([\\*_\[\]<>|#~])")
_WORD_UNDERSCORE = re.compile(r"(?<=[A-Za-z0-9])\\_(?=[A-Za-z0-9])")


@dataclass(frozen=True, slots=True)
class Table:
    """A part of a report: a heading, and rows below column names. It is left out where it has no rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def listing(title: str, lines: Iterable[str]) -> Table:
    """A table of one column: a line each."""
    return Table(title, [""], [[line] for line in lines])


def report(
    sentence: str, facts: Mapping[str, object], *, next_step: str = "", tables: Iterable[Table] = ()
) -> bytes:
    """A report: the one sentence that matters, what to do, the facts that are not empty, and tables."""
    parts = [f"**{_text(sentence)}**"]
    if next_step:
        parts.append(f"Next: {_text(next_step)}")
    rows = [(name, value) for name, value in facts.items() if value not in ("", None)]
    if rows:
        parts.append(_table(["", ""], rows))
    for table in tables:
        if not table.rows:
            continue
        parts += [f"## {_text(table.title)}", _table(table.columns, table.rows[:_LISTED])]
        if len(table.rows) > _LISTED:
            parts.append(
                f"And {len(table.rows) - _LISTED:,} more: the JSON document beside this file has all."
            )
    return ("\n\n".join(parts) + "\n").encode()


def at(time: datetime | None) -> str:
    """A time in UTC, to the second."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if time else ""


def size(bytes_count: int) -> str:
    """A size in words: `1.5 MiB`."""
    return ByteSize(bytes_count).human_readable(separator=" ")


def failed(exit_code: int | None) -> str:
    """The exit code that a shell would have, to be put behind a status; empty for 0."""
    return f" (exit code {exit_code})" if exit_code else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [list(columns), ["---"] * len(columns), *([_text(str(cell)) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: str) -> str:
    """Text that Markdown shows as it is, in one line; what stands between backticks is code."""
    parts = printable(" ".join(value.split())).split("`")
    if len(parts) % 2 == 0:  # a backtick without a second one
        parts = ["`".join(parts)]
    return "`".join(
        part.replace("|", "\\|") if number % 2 else _escaped(part) for number, part in enumerate(parts)
    )


def _escaped(text: str) -> str:
    # Markdown reads no emphasis into an underscore between letters: names stay readable in the source
    return _WORD_UNDERSCORE.sub("_", _SPECIAL.sub(r"\\\1", text)).replace("`", "\\`")

"""The one place that turns results into output: a JSON object a line, or text for people.

Each class of results registers its text with `text_of`, or with `table_of` where all results of a command are
shown together. JSON needs nothing: the fields of the class are the fields of the object.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pachvault.cli.common import CommandContext, put_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True, kw_only=True)
class Result:
    """Something that a command reports. A subclass has a field `type`, which names its JSON form.

    Names of fields: times end in `_at` (or are `since`, `until`), durations in `_seconds`, sizes in `_bytes`.
    Annotations and docstrings of fields become docs/json.md and docs/json.schema.json (`make json-docs`).
    """

    is_left_out_by_quiet: ClassVar[bool] = False
    """Whether people do not get it with --quiet. JSON always has it."""


AnyResult = TypeVar("AnyResult", bound=Result)
_TEXTS: dict[type[Result], Callable[[Any], None]] = {}
_TABLES: dict[type[Result], Callable[[Any], None]] = {}
_ADAPTERS: dict[type[Result], TypeAdapter[Any]] = {}


def text_of(
    kind: type[AnyResult],
) -> Callable[[Callable[[AnyResult], None]], Callable[[AnyResult], None]]:
    """Register the function that writes one result of a class as text."""

    def register(write: Callable[[AnyResult], None]) -> Callable[[AnyResult], None]:
        _TEXTS[kind] = write
        return write

    return register


def table_of(
    kind: type[AnyResult],
) -> Callable[[Callable[[Iterable[AnyResult]], None]], Callable[[Iterable[AnyResult]], None]]:
    """Register the function that writes all results of a class that a command has, as one text."""

    def register(write: Callable[[Iterable[AnyResult]], None]) -> Callable[[Iterable[AnyResult]], None]:
        _TABLES[kind] = write
        return write

    return register


def result_types() -> list[type[Result]]:
    """All registered classes of results; those of a command once its modules are imported."""
    return [*_TEXTS, *_TABLES]


def show(context: CommandContext, result: Result) -> None:
    """Write one result."""
    if context.json:
        put_json(json_line(result))
    elif not (context.quiet and result.is_left_out_by_quiet):
        _TEXTS[type(result)](result)


def show_all(context: CommandContext, kind: type[AnyResult], results: Iterable[AnyResult]) -> None:
    """Write all results of a class that have a common text: as a table, or a JSON object a line.

    JSON is written as the results come; `results` is walked through more than once for text.
    """
    if context.json:
        for result in results:
            put_json(json_line(result))
    else:
        _TABLES[kind](results)


def json_line(result: Result) -> str:
    """A result as a JSON object in one line."""
    # names may hold bytes that are no UTF-8, which pydantic's own encoder refuses
    return json.dumps(_adapter(type(result)).dump_python(result, mode="json"))


def _adapter(kind: type[Result]) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # noqa: PLC0415  (start-up does not wait for it)

    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]

"""YAML documents that users write: parsed strictly, with errors that name file, line and field.

Of YAML only plain data is taken. Aliases and tags are refused before anything is built: with them a short
text can stand for an endless document, or for values of another kind than it shows.

A plain scalar stays the text that was written: only null, and whole numbers in plain decimals, have types of
their own. YAML 1.1 would make 8 of 010, a truth of a branch called `on`, and a time of a date.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pachvault.errors import UsageError


class Strict(BaseModel):
    """A part of such a document: unknown fields are errors."""

    # a repo or a branch may be called 2024
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class _Loader(yaml.SafeLoader):
    """Leaves scalars as they were written, but for null and whole numbers in plain decimals."""


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"-?(0|[1-9][0-9]{0,17})$"), list("-0123456789")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<$"), ["<"])

Parsed = TypeVar("Parsed", bound=Strict)

_MOST_CHARACTERS = 200_000
_MOST_DEPTH = 20


def parse(kind: type[Parsed], text: str, where: str) -> Parsed:
    """The document in a YAML text; `where` is the file's name.

    Raises UsageError that names file, line, field, and what is allowed.
    """
    try:
        _refuse_odd(text, where)
        root = yaml.compose(text, Loader=_Loader)
        # a second parse, because nodes have the line numbers and no values
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{where}:{mark.line + 1}" if mark else where
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UsageError(f"not YAML: {problem}", where=line) from error
    if not isinstance(data, dict):
        raise UsageError(
            f"a {kind.__name__.lower()} is a mapping of fields", where=f"{where}:1", hint=_fields(kind)
        )
    _refuse_repeated(root, where)
    return validate(kind, data, where, root)


def validate(kind: type[Parsed], data: dict[str, object], where: str, root: Any = None) -> Parsed:
    """The document with these fields; `root` is the YAML node that they came from, for line numbers."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise _explained(kind, error, root, where) from error


def _explained(kind: type[BaseModel], error: ValidationError, root: Any, where: str) -> UsageError:
    first = error.errors()[0]
    names = list(first["loc"])
    field = ".".join(str(part) for part in names)
    message = first["msg"].removeprefix("Value error, ")
    hint = ""
    if first["type"] == "extra_forbidden":
        message = f"unknown field {field!r}"
        hint = _fields(_part(kind, names[:-1]))
    elif first["type"] == "missing":
        message = f"field {field!r} is missing"
    else:
        message = f"field {field!r}: {message}"
    return UsageError(message, where=f"{where}:{_line(root, names)}" if root else where, hint=hint)


def _part(kind: type[BaseModel], names: list[Any]) -> type[BaseModel]:
    """The model of a nested field."""
    for name in names:
        if isinstance(name, int):
            continue  # a place in a list, whose kind is known already
        field = kind.model_fields.get(str(name))
        if field is None:
            break
        for annotated in (field.annotation, *get_args(field.annotation)):
            if isinstance(annotated, type) and issubclass(annotated, BaseModel):
                kind = annotated
    return kind


def _refuse_odd(text: str, where: str) -> None:
    """UsageError for what is not plain data, or too much of it. Nothing here recurses."""
    if len(text) > _MOST_CHARACTERS:
        raise UsageError(f"more than {_MOST_CHARACTERS:,} characters", where=where)
    depth = 0
    # events, not nodes: composing recurses, and a deep document would end in RecursionError
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = f"{where}:{event.start_mark.line + 1}" if event.start_mark else where
        if isinstance(event, yaml.AliasEvent):
            raise UsageError("an alias (*name) is not allowed", where=line, hint="write it out")
        tag: str | None = getattr(event, "tag", None)
        if tag is not None:
            raise UsageError(f"a tag ({tag}) is not allowed", where=line, hint="leave it out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MOST_DEPTH:
            raise UsageError("nested too deeply", where=line)


def _refuse_repeated(node: Any, where: str) -> None:
    """Refuse a repeated field name: YAML takes the last one silently."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise UsageError("a field's name is text", where=f"{where}:{key.start_mark.line + 1}")
        if key.value in seen:
            line = key.start_mark.line + 1
            raise UsageError(f"field {key.value!r} is there twice", where=f"{where}:{line}")
        seen.add(key.value)
        _refuse_repeated(value, where)
        for item in value.value if isinstance(value, yaml.SequenceNode) else ():
            _refuse_repeated(item, where)


def _fields(kind: type[BaseModel]) -> str:
    return "allowed: " + ", ".join(kind.model_fields)


def _line(node: Any, names: list[Any]) -> int:
    """The line, from 1, on which a field stands; that of its parent where it is missing."""
    line: int = node.start_mark.line + 1
    for name in names:
        if isinstance(node, yaml.MappingNode) and isinstance(name, int):
            continue  # one mapping that stands for a list of it
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == name:
                    node, line = value, key.start_mark.line + 1
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(name, int) and name < len(node.value):
            node = node.value[name]
            line = node.start_mark.line + 1
        else:
            break
    return line

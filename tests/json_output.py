"""The JSON output of the command line: its schema and its description, generated from the classes of results.

`make json-docs` writes docs/json.schema.json and docs/json.md. Tests check every line of output.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Union

import click
from jsonschema import Draft202012Validator
from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from pachvault.cli.main import cli
from pachvault.cli.render import result_types
from pachvault.runtime.progress import ProgressLine

_DOCS = Path(__file__).parents[1] / "docs"
SCHEMA, TEXT = _DOCS / "json.schema.json", _DOCS / "json.md"
HINT = "run `make json-docs`"

COMMANDS = {
    "probe": ["probe"],
    "init": ["init_summary"],
    "deploy": ["warning", "deploy_addition", "deploy_change", "deploy_step", "deploy_summary"],
    "undeploy": ["deploy_step", "undeploy_summary"],
    "specs": ["specs_summary"],
    "backup": ["progress", "backup_summary"],
    "status": ["status"],
    "snapshots": ["snapshot"],
    "snapshots pin": ["pin_summary"],
    "snapshots unpin": ["pin_summary"],
    "show": ["manifest", "commit"],
    "ls": ["file"],
    "cat": [],
    "diff": ["difference"],
    "extract": ["progress", "warning", "extract_summary"],
    "verify": [
        "progress",
        "finding",
        "drill",
        "verify_summary",
        "verify_source_summary",
        "drill_summary",
    ],
    "repair": ["progress", "repair_plan", "lost_file", "lost_object", "repair_summary"],
    "erase": ["progress", "erase_plan", "erase_summary"],
    "forget": ["rule", "warning", "decision", "forget_summary", "bring_back_summary"],
    "maintenance": ["progress", "finding", "step", "maintenance_summary"],
    "prune": ["progress", "run", "planned", "prune_plan_summary", "prune_summary"],
    "restore": ["progress", "restore_plan", "restore_difference", "restore_summary"],
    "rollback": ["progress", "restore_plan", "restore_difference", "restore_summary"],
    "restores": ["restore"],
    "stage": [],
    "demo": ["demo_step", "demo_summary"],
    "local start": ["local_start_summary"],
    "local stop": ["local_stop_summary"],
    "local status": ["local_status"],
}
"""The types that each command writes, in their order. Any command may end with `error`."""

_INTRODUCTION = """\
# JSON output

With `--json` every command writes JSON objects to standard output, one a line. Messages that are not part
of the result still go to standard error. [json.schema.json](json.schema.json) is a JSON Schema (draft
2020-12) of a line.

- `type` names the form of an object. Each type has one form, and every object has all its fields.
  A field without a value is `null`.
- A time is RFC 3339 in UTC with `Z`: `2026-11-20T08:00:00Z`. Its field ends in `_at`, or is `at`, `since` or
  `until`.
- A duration is a number of seconds. Its field ends in `_seconds`.
- A size is a number of bytes. Its field ends in `_bytes`; a rate is `bytes_per_second`.
- Names, paths and messages are exactly as they are. Nothing is escaped but what JSON escapes.
- Summaries come last. If the command fails, `error` is the last line instead.
- Later versions may add types and fields. Ignore those that you do not know.
- `cat` writes the content of the file, with `--json` too. `stage` writes no result.

This file and the schema are generated from the code by `make json-docs`.

"""


def result_classes() -> dict[str, type]:
    """The classes of all results, by their type."""
    context = click.Context(cli)
    for name in cli.list_commands(context):
        cli.get_command(context, name)  # its results are registered now
    classes = [*result_types(), ProgressLine]
    return {kind.__dataclass_fields__["type"].default: kind for kind in classes}


class _Schema(GenerateJsonSchema):
    """Every field is always there, none is added, and what the code says of a field is its description."""

    def field_is_required(self, *_: Any, **__: Any) -> bool:
        return True

    def dataclass_schema(self, schema: Any) -> dict[str, Any]:
        return _described(schema["cls"], super().dataclass_schema(schema))

    def model_schema(self, schema: Any) -> dict[str, Any]:
        return _described(schema["cls"], super().model_schema(schema))

    def datetime_schema(self, schema: Any) -> dict[str, Any]:
        return super().datetime_schema(schema) | {"pattern": "Z$"}


def _described(kind: type, schema: dict[str, Any]) -> dict[str, Any]:
    schema["description"] = _in_json(inspect.cleandoc(kind.__doc__ or ""))
    schema["additionalProperties"] = False
    texts = {name: _in_json(text) for name, text in _field_texts(kind).items()}
    for name, field in schema["properties"].items():
        field.pop("title", None)
        field.pop("default", None)
        if name in texts:
            field["description"] = texts[name]
    return schema


def _in_json(text: str) -> str:
    """What the code says of a value, in the words of JSON."""
    for python, javascript in {"None": "null", "False": "false", "True": "true"}.items():
        text = re.sub(rf"\b{python}\b", javascript, text)
    return text


def _field_texts(kind: type) -> dict[str, str]:
    """The text below each field of a class."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] in ("pachvault", "embedded_pachyderm"):
            (node,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            assert isinstance(node, ast.ClassDef)
            for field, text in zip(node.body, node.body[1:], strict=False):
                is_field = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
                if is_field and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                    texts[field.target.id] = " ".join(str(text.value.value).split())
    return texts


def generated_schema() -> dict[str, Any]:
    """The schema of a line of output."""
    classes = result_classes()
    union = Union[tuple(classes[name] for name in sorted(classes))]  # noqa: UP007  (made at run time)
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[union, Field(discriminator="type")])
    schema = adapter.json_schema(mode="serialization", schema_generator=_Schema)
    dialect = {"$schema": GenerateJsonSchema.schema_dialect, "title": "A line of `pachvault --json`"}
    return dialect | schema


@cache
def _validators() -> dict[str, Draft202012Validator]:
    """By type: a validator of all types at once would say of a bad line only that it is none of them."""
    schema = json.loads(SCHEMA.read_text())
    return {
        kind: Draft202012Validator({"$defs": schema["$defs"], "$ref": reference})
        for kind, reference in schema["discriminator"]["mapping"].items()
    }


def checked(lines: str) -> list[dict[str, Any]]:
    """The objects of a command's output, each as the schema says; AssertionError otherwise."""
    objects = [json.loads(line) for line in lines.splitlines()]
    for result in objects:
        assert result["type"] in _validators(), f"docs/json.schema.json has no type {result['type']}: {HINT}"
        errors = [error.message for error in _validators()[result["type"]].iter_errors(result)]
        assert not errors, f"{result['type']} is not as docs/json.schema.json says: {errors}"
    return objects


def generated_text() -> str:
    """docs/json.md."""
    schema = generated_schema()
    definitions, mapping = schema["$defs"], schema["discriminator"]["mapping"]
    named = {reference.rpartition("/")[2]: kind for kind, reference in mapping.items()}
    lines = ["## What each command writes", "", "| command | types |", "|---|---|"]
    for command, kinds in COMMANDS.items():
        links = ", ".join(f"[`{kind}`](#{kind})" for kind in kinds)
        lines.append(f"| `{command}` | {links or 'none'} |")
    lines += ["", "## Types", ""]
    for name in sorted(named, key=lambda name: named[name]):
        lines += _section(named[name], definitions[name], definitions)
    lines += ["## Parts of types", ""]
    for name in sorted(definitions.keys() - named.keys()):
        if "properties" in definitions[name]:
            lines += _section(name, definitions[name], definitions)
    return _INTRODUCTION + "\n".join(lines).rstrip() + "\n"


def _section(title: str, definition: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    lines = [f"### {title}", "", " ".join(definition["description"].split()), ""]
    lines += ["| field | form | meaning |", "|---|---|---|"]
    for name, field in definition["properties"].items():
        if name != "type":
            lines.append(f"| `{name}` | {_form(field, definitions)} | {field.get('description', '')} |")
    return [*lines, ""]


def _form(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        target = definitions[name]
        return f"[{name}](#{name.lower()})" if "properties" in target else _form(target, definitions)
    if "anyOf" in field:
        return " or ".join(_form(option, definitions) for option in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kind = field.get("type", "any value")
    if kind == "array":
        return f"list of {_form(field.get('items', {}), definitions)}"
    if kind == "object":
        values = field.get("additionalProperties")
        return f"object of {_form(values, definitions)}" if isinstance(values, dict) else "object"
    return "time" if field.get("format") == "date-time" else str(kind)


def main() -> None:
    """Write both files."""
    SCHEMA.write_text(json.dumps(generated_schema(), indent=1) + "\n")
    TEXT.write_text(generated_text())


if __name__ == "__main__":
    main()

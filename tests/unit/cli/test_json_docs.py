"""docs/json.md and docs/json.schema.json describe what `--json` writes, by the rules that they state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
import pytest

import json_output
from pachvault.cli.main import cli


def test_the_schema_and_its_description_are_those_of_the_code() -> None:
    assert json.loads(json_output.SCHEMA.read_text()) == json_output.generated_schema(), json_output.HINT
    assert json_output.TEXT.read_text() == json_output.generated_text(), json_output.HINT


def test_every_command_and_every_type_is_described() -> None:
    context = click.Context(cli)
    names = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        below = [f"{name} {sub}" for sub in command.commands] if isinstance(command, click.Group) else []
        names += below if name == "local" else [name, *below]
    assert sorted(json_output.COMMANDS) == sorted(names)
    written = {kind for kinds in json_output.COMMANDS.values() for kind in kinds}
    assert written | {"error"} == json_output.result_classes().keys()


def fields() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for title, definition in json_output.generated_schema()["$defs"].items():
        for name, field in definition.get("properties", {}).items():
            options = [field, *field.get("anyOf", [])]
            for option in [
                *options,
                *(alternative["items"] for alternative in options if "items" in alternative),
            ]:
                yield title, name, option


def test_times_are_rfc_3339_with_z_and_named_so() -> None:
    names = {name for _, name, field in fields() if field.get("format") == "date-time"}
    assert {name for name in names if not name.endswith("_at")} == {"at", "since", "until"}
    assert {field.get("pattern") for _, _, field in fields() if field.get("format") == "date-time"} == {"Z$"}
    assert [name for _, name, field in fields() if field.get("format") in ("duration", "date", "time")] == []


def test_sizes_are_bytes_and_durations_seconds_by_their_names() -> None:
    for title, name, field in fields():
        if field.get("type") in ("integer", "number"):
            for unit in ("bytes", "seconds"):
                is_named = name.endswith((f"_{unit}", "bytes_per_second"))
                assert unit not in name or is_named, f"{title}.{name}"


def test_a_line_that_the_schema_does_not_allow_is_noticed() -> None:
    line = {"type": "pin_summary", "snapshot": "0", "outcome": "pinned"}
    assert json_output.checked(json.dumps(line)) == [line]
    for bad in ({"outcome": "eaten"}, {"more": 1}, {"snapshot": None}, {"type": "summary"}):
        with pytest.raises(AssertionError, match=r"json\.schema\.json"):
            json_output.checked(json.dumps(line | bad))
    with pytest.raises(AssertionError):
        json_output.checked('{"type": "pin_summary", "snapshot": "0"}')

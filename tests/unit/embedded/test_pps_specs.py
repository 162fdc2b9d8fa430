from __future__ import annotations

from typing import Any

import pytest

from embedded_pachyderm.pps.service.specs import SpecError, parse_spec

SPEC = {"pipeline": {"name": "x"}}


def test_reads_either_case_of_names() -> None:
    spec = parse_spec(
        SPEC
        | {
            "transform": {"cmd": ["sh"]},
            "parallelism_spec": {"constant": 2},
            "datumSetSpec": {"number": 1},
            "input": {"cron": {"name": "tick", "spec": "@every 60s", "overwrite": True}},
        }
    )
    assert spec.pipeline.name == "x"
    assert spec.parallelism_spec.constant == 2
    assert spec.datum_set_spec.number == 1
    assert list(spec.transform.cmd) == ["sh"]
    assert spec.input.cron.overwrite


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (SPEC | {"paralelism": 1}, 'unknown field "paralelism"'),
        ({"input": {"pfs": {"globb": "/"}}}, 'unknown field "globb" in PFSInput'),
        (SPEC | {"details_json": ""}, 'unknown field "details_json"'),
        ("just words", "a pipeline spec is a mapping, not a str"),
    ],
)
def test_refuses_with_the_field(document: Any, sentence: str) -> None:
    with pytest.raises(SpecError, match=f"^{sentence}$"):
        parse_spec(document)


@pytest.mark.parametrize("field", [{"transform": {"cmd": "sh"}}, {"datum_tries": "many"}])
def test_the_error_of_a_wrong_value_is_one_line(field: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"^invalid value: .*$"):
        parse_spec(SPEC | field)


def test_takes_a_field_that_newer_pachyderm_knows() -> None:
    assert parse_spec(SPEC | {"maximumExpectedUptime": "60s"}).pipeline.name == "x"

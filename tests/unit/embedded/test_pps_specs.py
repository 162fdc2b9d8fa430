from __future__ import annotations

import pytest

from embedded_pachyderm.pps.service.specs import SpecError, parse_specs

JSON = """
{"pipeline": {"name": "one"}, "transform": {"cmd": ["sh"]}, "parallelism_spec": {"constant": 2},
 "input": {"cron": {"name": "tick", "spec": "@every 60s", "overwrite": true}}}
"""
YAML = """
pipeline: {name: two}
transform:
  cmd: [pachvault, stage, export]
  env: {DAY: "2024-01-02"}
datumSetSpec: {number: 1}
datum_timeout: 90s
input:
  pfs: {repo: work, glob: "/work/*", emptyFiles: true}
description: 2024-01-02
"""


def test_reads_json_and_yaml_in_either_case_of_names() -> None:
    (one,) = parse_specs(JSON)
    (two,) = parse_specs(YAML)
    assert one.pipeline.name == "one"
    assert one.parallelism_spec.constant == 2
    assert one.input.cron.overwrite
    assert list(two.transform.cmd) == ["pachvault", "stage", "export"]
    assert two.datum_set_spec.number == 1
    assert two.datum_timeout.seconds == 90
    assert two.input.pfs.empty_files


def test_a_date_in_yaml_is_the_text_that_was_written() -> None:
    (two,) = parse_specs(YAML)
    assert two.description == "2024-01-02"
    assert two.transform.env["DAY"] == "2024-01-02"


@pytest.mark.parametrize(
    "text", [JSON + JSON, f"[{JSON}, {JSON}]", f"{JSON}---{JSON}", f"---{YAML}---{YAML}---\n"]
)
def test_reads_several_pipelines_of_one_file_in_order(text: str) -> None:
    assert len(parse_specs(text)) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"pipeline": {"name": "x"}, "paralelism": 1}', 'document 1: unknown field "paralelism"'),
        (
            f'{JSON}{{"input": {{"pfs": {{"globb": "/"}}}}}}',
            'document 2: unknown field "globb" in PFSInput',
        ),
        ('{"pipeline": {"name": "x"}, "details_json": ""}', 'document 1: unknown field "details_json"'),
        (
            "pipeline: {name: x}\n---\ntransform: {comand: [x]}",
            'document 2: unknown field "comand" in Transform',
        ),
        ("just words", "document 1: a pipeline spec is a mapping, not a str"),
        ("", "no pipeline spec found"),
    ],
)
def test_refuses_with_the_document_and_the_field(text: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=f"^{sentence}$"):
        parse_specs(text)


@pytest.mark.parametrize(
    "text", ['{"pipeline": ', "a: [1", '{"transform": {"cmd": "sh"}}', "datum_tries: many"]
)
def test_says_in_one_line_what_cannot_be_read(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_specs(text)
    assert str(caught.value).startswith("document 1: ")
    assert "\n" not in str(caught.value)


def test_takes_a_field_that_newer_pachyderm_knows() -> None:
    (spec,) = parse_specs('{"pipeline": {"name": "x"}, "maximumExpectedUptime": "60s"}')
    assert spec.pipeline.name == "x"

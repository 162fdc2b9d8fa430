"""The pipelines' specs, as `pachctl` would read them: strictly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from python_pachyderm.proto.v2.pps import pps_pb2

import pachvault
from pachvault import stages
from pachvault.demo.run import STAGES, spec
from pachvault.policy import HOME_PROJECT

FILES = sorted((Path(__file__).parents[2] / "specs").glob("*.json"))


def test_every_stage_has_a_spec() -> None:
    modules = {path.stem for path in Path(stages.__path__[0]).glob("*.py")} - {"__init__"}
    assert {path.stem for path in FILES} == modules
    assert set(STAGES) <= modules


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_spec_is_strictly_a_pipeline_of_the_home_project(path: Path) -> None:
    text = path.read_text()
    request = json_format.ParseDict(json.loads(text), pps_pb2.CreatePipelineRequest())
    assert request.pipeline.name == path.stem
    assert request.pipeline.project.name == HOME_PROJECT
    assert list(request.transform.cmd) == ["pachvault", "stage", path.stem]
    assert request.transform.image == f"pachvault/pachvault:{pachvault.__version__}"
    assert request.description
    assert spec(path.stem) == text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_spec_asks_for_what_it_needs_within_the_community_edition(path: Path) -> None:
    request = json_format.ParseDict(json.loads(path.read_text()), pps_pb2.CreatePipelineRequest())
    assert 1 <= request.parallelism_spec.constant <= 8
    assert request.resource_requests.memory
    assert request.resource_requests.disk


def test_one_share_is_one_datum_and_one_datum_a_set() -> None:
    request = json_format.ParseDict(json.loads(spec("export")), pps_pb2.CreatePipelineRequest())
    assert request.datum_set_spec.number == 1
    assert request.input.pfs.glob == "/work/*"

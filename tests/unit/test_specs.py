"""The pipelines' specs, as `pachctl` would read them: strictly."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from python_pachyderm.proto.v2.pps import pps_pb2

import pachvault
from pachvault import request, stages
from pachvault.bundled_files import ALL_STAGES, STAGES, spec, text
from pachvault.format.config import GRACE_SECONDS
from pachvault.policy import HOME_PROJECT
from pachvault.request import Request

FOLDER = Path(__file__).parents[2] / "specs"
FILES = sorted(FOLDER.glob("*.json"))


def test_every_stage_has_a_spec() -> None:
    modules = {path.stem for path in Path(stages.__path__[0]).glob("*.py")} - {"__init__"}
    assert {path.stem for path in FILES} == modules
    assert set(ALL_STAGES) == modules


def parsed(spec_json: str) -> Any:
    return json_format.ParseDict(json.loads(spec_json), pps_pb2.CreatePipelineRequest())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_spec_is_strictly_a_pipeline_of_the_home_project(path: Path) -> None:
    pipeline = parsed(path.read_text())
    assert pipeline.pipeline.name == path.stem
    assert pipeline.pipeline.project.name == HOME_PROJECT
    assert list(pipeline.transform.cmd) == ["pachvault", "stage", path.stem]
    assert pipeline.transform.image == f"pachvault/pachvault:{pachvault.__version__}"
    assert 0 < len(pipeline.description) < 160
    assert spec(path.stem) == path.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_spec_asks_for_what_it_needs_within_the_community_edition(path: Path) -> None:
    pipeline = parsed(path.read_text())
    assert 1 <= pipeline.parallelism_spec.constant <= 8
    for requests in (pipeline.resource_requests, pipeline.sidecar_resource_requests):
        # without them a sidecar asks for a whole processor, by the cluster's defaults
        assert 0 < requests.cpu <= 1
        assert _bytes(requests.memory)
        assert _bytes(requests.disk)
    assert pipeline.resource_limits.cpu == 0, "a limit of processor time would only slow it down"
    assert _bytes(pipeline.resource_limits.memory) >= 1.5 * _bytes(pipeline.resource_requests.memory)
    assert _bytes(pipeline.resource_limits.disk) >= _bytes(pipeline.resource_requests.disk)
    assert pipeline.autoscaling, "no pod is kept while there is nothing to do"


def _bytes(quantity: str) -> int:
    """Pachyderm ignores a quantity that it cannot read, without a word."""
    units = {"Mi": 2**20, "Gi": 2**30}
    return int(quantity[:-2]) * units[quantity[-2:]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_spec_bounds_the_time_of_a_datum_and_of_a_job(path: Path) -> None:
    pipeline = parsed(path.read_text())
    assert pipeline.datum_tries in {1, 3}
    longest = pipeline.datum_timeout.seconds or pipeline.job_timeout.seconds
    assert 0 < longest <= pipeline.job_timeout.seconds


def test_a_run_that_could_still_be_sealed_is_not_killed() -> None:
    """A job's time counts from its tick, and a run is too old at half the grace period."""
    half = timedelta(seconds=GRACE_SECONDS) / 2
    for stage in STAGES:
        assert timedelta(seconds=parsed(spec(stage)).job_timeout.seconds) >= half


@pytest.mark.parametrize("stage", ["backup_verdict", "maintenance_verdict", "restore_verdict"])
def test_a_verdict_is_tried_once_and_nothing_reads_it(stage: str) -> None:
    assert parsed(spec(stage)).datum_tries == 1
    assert not any(f'"repo": "{stage}"' in path.read_text() for path in FILES)


@pytest.mark.parametrize(("stage", "glob"), [("export", "/work/*"), ("restore_fetch", "/*/work/*")])
def test_one_share_is_one_datum_and_one_datum_a_set(stage: str, glob: str) -> None:
    pipeline = parsed(spec(stage))
    assert pipeline.datum_set_spec.number == 1
    assert pipeline.input.pfs.glob == glob


def test_a_replay_joins_a_requests_plan_with_its_receipts() -> None:
    members = [member.pfs for member in parsed(spec("restore_replay")).input.join]
    assert [member.repo for member in members] == ["restore_plan", "restore_fetch"]
    assert {(member.glob, member.join_on) for member in members} == {("/(*)", "$1")}


def test_the_example_request_explains_every_field() -> None:
    example = text("request.yaml")
    parsed_example = request.parse(example, "request.yaml")
    assert parsed_example.what == ["images/raw@master"]
    names_in_yaml = {field.alias or name for name, field in Request.model_fields.items()}
    lines = example.splitlines()
    there = {line.split(":")[0] for line in lines if line and line[0] not in " #"}
    assert there == names_in_yaml
    # what it says are the defaults, but for what names a place
    defaults = Request(version=1, what=["a/b"])
    for name in (
        *("history", "exists", "source", "verify", "keep_going", "outputs", "pipelines"),
        *("settings", "roles"),
    ):
        assert getattr(parsed_example, name) == getattr(defaults, name), name

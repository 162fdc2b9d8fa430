"""From what the user wrote to what is run: the cluster's defaults, and the details they end up as. Pure."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm.pps.jobs import inputs

_RESOURCES = {"cpu": 1, "memory": "256Mi", "disk": "1Gi"}
_BUILT_IN: dict[str, Any] = {
    "datumTries": "3",
    "outputBranch": "master",
    "reprocessSpec": "until_success",
    "transform": {"image": "ubuntu:20.04"},
}
#: What a cluster begins with.
CLUSTER_DEFAULTS = json.dumps(
    {"createPipelineRequest": {"resourceRequests": _RESOURCES, "sidecarResourceRequests": _RESOURCES}}
)
#: Known to 2.11 but not to python-pachyderm's message; without effect here.
NEWER_FIELDS = {"maximum_expected_uptime": "maximumExpectedUptime"}
#: Not part of the pipeline: they say how to create it.
_ORDERS = ("update", "reprocess", "dryRun", "detailsJson", "specCommit")
_SAME_NAME = (
    "transform", "parallelism_spec", "output_branch", "resource_requests", "resource_limits",
    "sidecar_resource_limits", "sidecar_resource_requests", "input", "description", "salt",
    "datum_set_spec", "datum_timeout", "job_timeout", "datum_tries", "scheduling_spec", "pod_spec",
    "pod_patch", "metadata", "reprocess_spec", "autoscaling", "tolerations",
)  # fmt: skip


def spec_json(request: Any) -> str:
    """A request as the JSON that a user might have written."""
    return json.dumps(json_format.MessageToDict(request), separators=(",", ":"))


def effective_json(request: Any, defaults: Sequence[str], newer: Mapping[str, Any]) -> str:
    """The request on top of defaults, the widest first; `newer` are its fields that the message lacks."""
    fields = {**json_format.MessageToDict(request), **newer}
    for name in _ORDERS:
        fields.pop(name, None)
    effective = _BUILT_IN
    for text in defaults:
        effective = _merged(effective, parse_defaults(text))
    return json.dumps(_merged(effective, fields), separators=(",", ":"), sort_keys=True)


def parse_defaults(text: str) -> dict[str, Any]:
    """The fields of a pipeline that defaults set; ValueError where they are none."""
    document = json.loads(text)
    json_format.ParseDict(document, pps_pb2.ClusterDefaults(), ignore_unknown_fields=True)
    spec: dict[str, Any] = {}
    for name in ("createPipelineRequest", "create_pipeline_request"):
        spec |= document.pop(name, None) or {}
    if document:
        raise ValueError(f"unknown field {min(document)!r}")
    known, newer = split_newer(spec)
    request = json_format.ParseDict(known, pps_pb2.CreatePipelineRequest())
    return {**json_format.MessageToDict(request), **newer}


def split_newer(spec: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A spec's fields that the message has, and the others by their names in camel case."""
    newer = {
        camel: spec[name] for snake, camel in NEWER_FIELDS.items() for name in (snake, camel) if name in spec
    }
    names = {*NEWER_FIELDS, *NEWER_FIELDS.values()}
    return {name: value for name, value in spec.items() if name not in names}, newer


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(below[name], above[name])
        for name in below.keys() & above.keys()
        if isinstance(below[name], dict) and isinstance(above[name], dict)
    }
    return {**below, **above, **both}


def pipeline_info(effective: str, *, now: Any, previous: Any | None, reprocess: bool) -> Any:
    """The pipeline that the effective spec describes: version 1, or the one after the previous."""
    request = pps_pb2.CreatePipelineRequest()
    json_format.Parse(effective, request, ignore_unknown_fields=True)
    info = pps_pb2.PipelineInfo(
        pipeline=request.pipeline,
        version=1 if previous is None else previous.version + 1,
        stopped=previous is not None and previous.stopped,
        state=pps_pb2.PIPELINE_STARTING,
        type=pps_pb2.PipelineInfo.PIPELINE_TYPE_TRANSFORM,
        parallelism=request.parallelism_spec.constant or 1,
    )
    info.pipeline.project.name = info.pipeline.project.name or "default"
    details = info.details
    for name in _SAME_NAME:
        _copy(request, details, name)
    inputs.set_defaults(
        details.input, project=info.pipeline.project.name, pipeline=info.pipeline.name, now=now
    )
    details.created_at.CopyFrom(now if previous is None else previous.details.created_at)
    details.workers_requested = details.workers_available = info.parallelism
    if previous is not None and not reprocess:
        details.salt = previous.details.salt
    elif reprocess or not details.salt:
        details.salt = uuid.uuid4().hex
    return info


def _copy(source: Any, target: Any, name: str) -> None:
    field = source.DESCRIPTOR.fields_by_name[name]
    value = getattr(source, name)
    if field.label == field.LABEL_REPEATED:
        getattr(target, name).extend(value)
    elif field.message_type is None:
        setattr(target, name, value)
    elif source.HasField(name):
        getattr(target, name).CopyFrom(value)

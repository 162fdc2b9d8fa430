"""A pipeline spec as `pachctl` sends it: JSON, names in either case. An unknown field is an error. Pure."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import json_format
from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm.pps.service.effective import split_newer

_UNKNOWN_FIELD = re.compile(r'Message type "[\w.]*?(\w+)" has no field named "([^"]*)"')
#: In python-pachyderm's message but gone from 2.11's.
_GONE_FIELDS = ("details_json", "detailsJson")


class SpecError(ValueError):
    """A spec that Pachyderm would refuse to read."""


def parse_spec(document: Any) -> Any:
    """The CreatePipelineRequest of a decoded JSON document. Raises SpecError."""
    if not isinstance(document, dict):
        raise SpecError(f"a pipeline spec is a mapping, not a {type(document).__name__}")
    for field in _GONE_FIELDS:
        if field in document:
            raise SpecError(f'unknown field "{field}"')
    fields, _ = split_newer(document)
    request = pps_pb2.CreatePipelineRequest()
    try:
        json_format.ParseDict(fields, request)
    except json_format.ParseError as error:
        raise SpecError(_sentence(error)) from None
    return request


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    unknown = _UNKNOWN_FIELD.search(text)
    if unknown is None:
        return f"invalid value: {text}"
    message, field = unknown.groups()
    place = "" if message == "CreatePipelineRequest" else f" in {message}"
    return f'unknown field "{field}"{place}'

"""Pipeline specs as plain JSON values in one form, so that they can be compared field by field.

Pachyderm takes field names in snake_case and camelCase and 64-bit numbers as text, too. Fields of a newer
Pachyderm, which python-pachyderm does not know, are kept.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from python_pachyderm.proto.v2.pps import pps_pb2

from pachvault.errors import UsageError

Spec = dict[str, Any]
"""A spec in canonical form."""

_ORDERS = ("update", "reprocess", "dry_run", "spec_commit", "details_json")
"""Fields that say how to create the pipeline, and are no part of it."""
_JSON_IN_TEXT = ("pod_spec", "pod_patch")
_UPPER = re.compile(r"(?<=[a-z0-9])[A-Z]")


def canonical(text: str, where: str) -> Spec:
    """A JSON spec in canonical form. UsageError where it is none; fields that are not known pass."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(f"not a pipeline spec: not JSON: {error}", where=where) from error
    if not isinstance(document, dict):
        raise UsageError("not a pipeline spec: not a JSON object", where=where)
    try:
        spec = _message(document, pps_pb2.CreatePipelineRequest.DESCRIPTOR)
    except TypeError as error:
        raise UsageError(f"not a pipeline spec: {error}", where=where) from error
    for name in _JSON_IN_TEXT:
        with suppress(ValueError, TypeError):
            spec[name] = json.dumps(json.loads(spec[name])) if spec.get(name) else None
    return {name: value for name, value in spec.items() if name not in _ORDERS and value is not None}


def _message(document: Spec, descriptor: Descriptor) -> Spec:
    known = {name: field for field in descriptor.fields for name in (field.json_name, field.name)}
    spec: Spec = {}
    for name, value in document.items():
        field = known.get(name)
        if value is None:  # in protobuf's JSON: not set
            continue
        if field is None:
            spec[_UPPER.sub(lambda letter: "_" + letter[0].lower(), name)] = value
        elif field.label == field.LABEL_REPEATED and not _is_map(field):
            if not isinstance(value, list):
                raise TypeError(f"{field.name} is not a list")
            spec[field.name] = [_value(item, field) for item in value]
        else:
            spec[field.name] = _value(value, field)
    return spec


def _value(value: Any, field: FieldDescriptor) -> Any:
    kind = field.message_type
    # durations and times are text; the keys of a map are the user's, and no names of fields
    if kind is not None and not _is_map(field) and not kind.full_name.startswith("google.protobuf."):
        if not isinstance(value, dict):
            raise TypeError(f"{field.name} is not an object")
        return _message(value, kind)
    if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64) and isinstance(value, str):
        return int(value) if value.isdecimal() else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)

"""Pipeline specs as users write them: JSON or YAML, one or several documents, either case of names.

Pure: text in, `CreatePipelineRequest` messages out. As strict as pachctl: an unknown field is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from google.protobuf import json_format
from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm.pps.service.effective import split_newer

_UNKNOWN_FIELD = re.compile(r'Message type "[\w.]*?(\w+)" has no field named "([^"]*)"')
#: In python-pachyderm's message but gone from 2.11's.
_GONE_FIELDS = ("details_json", "detailsJson")


class SpecError(ValueError):
    """A spec that Pachyderm would refuse to read: which document, which field."""


class _Loader(yaml.SafeLoader):
    """YAML whose values are JSON's: a date is a string."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_specs(text: str) -> list[Any]:
    """All pipelines of a spec file, in order."""
    requests: list[Any] = []
    for number, document in enumerate(_documents(text), start=1):
        specs = document if isinstance(document, list) else [document]
        requests.extend(parse_spec(spec, where=f"document {number}") for spec in specs)
    if not requests:
        raise SpecError("no pipeline spec found")
    return requests


def parse_spec(document: Any, *, where: str = "spec") -> Any:
    """One document, already decoded."""
    if not isinstance(document, dict):
        raise SpecError(f"{where}: a pipeline spec is a mapping, not a {type(document).__name__}")
    for field in _GONE_FIELDS:
        if field in document:
            raise SpecError(f'{where}: unknown field "{field}"')
    fields, _ = split_newer(document)
    request = pps_pb2.CreatePipelineRequest()
    try:
        json_format.ParseDict(fields, request)
    except json_format.ParseError as error:
        raise SpecError(f"{where}: {_sentence(error)}") from None
    return request


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    unknown = _UNKNOWN_FIELD.search(text)
    if unknown is None:
        return f"invalid value: {text}"
    message, field = unknown.groups()
    place = "" if message == "CreatePipelineRequest" else f" in {message}"
    return f'unknown field "{field}"{place}'


def _documents(text: str) -> Iterator[Any]:
    if text.lstrip()[:1] in ("{", "["):
        yield from _json_documents(text)
        return
    number = 0
    try:
        for document in yaml.load_all(text, Loader=_Loader):
            number += 1
            if document is not None:
                yield document
    except yaml.YAMLError as error:
        raise SpecError(f"document {number + 1}: {' '.join(str(error).split())}") from None


def _json_documents(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    position, number = 0, 0
    while True:
        while position < len(text) and (text[position].isspace() or text.startswith("---", position)):
            position += 3 if text.startswith("---", position) else 1
        if position == len(text):
            return
        number += 1
        try:
            document, position = decoder.raw_decode(text, position)
        except ValueError as error:
            raise SpecError(f"document {number}: {error}") from None
        yield document

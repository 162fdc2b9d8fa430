"""Messages and fields of Pachyderm 2.8 to 2.11 that python-pachyderm 7.6.0 lacks, made when loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Fields = tuple[tuple[str, int, str], ...]
"""Name, number and type of each field: `string`, `bool`, `map`, or a message of the same file, `*` behind
it where it is repeated. A map is one of strings to strings."""

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {"string": _FIELD.TYPE_STRING, "bool": _FIELD.TYPE_BOOL}


def build(package: str, messages: Mapping[str, Fields]) -> dict[str, Any]:
    """The classes of messages that are described by their fields."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"embedded/{package}.proto", package=package, syntax="proto3"
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            _add_field(message, f".{package}", field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return {name: factory.GetPrototype(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}


def _add_field(message: Any, package: str, name: str, number: int, kind: str) -> None:
    added = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if kind in _SCALARS:
        added.type = _SCALARS[kind]
        return
    added.type = _FIELD.TYPE_MESSAGE
    added.type_name = f"{package}.{kind.rstrip('*')}"
    if kind == "map":
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        for number_of_part, part in enumerate(("key", "value"), start=1):
            _add_field(entry, package, part, number_of_part, "string")
        added.type_name = f"{package}.{message.name}.{entry.name}"
    if kind == "map" or kind.endswith("*"):
        added.label = _FIELD.LABEL_REPEATED


METADATA = build(
    "metadata",
    {
        "ProjectPicker": (("name", 1, "string"),),
        "RepoName": (("project", 1, "ProjectPicker"), ("name", 2, "string"), ("type", 3, "string")),
        "RepoPicker": (("name", 1, "RepoName"),),
        "BranchName": (("repo", 1, "RepoPicker"), ("name", 2, "string")),
        "BranchPicker": (("name", 1, "BranchName"),),
        "CommitByGlobalId": (("repo", 1, "RepoPicker"), ("id", 2, "string")),
        "CommitPicker": (("branch_head", 1, "BranchPicker"), ("id", 2, "CommitByGlobalId")),
        "ClusterPicker": (),
        "PipelineName": (("project", 1, "ProjectPicker"), ("name", 2, "string")),
        "PipelinePicker": (("name", 1, "PipelineName"),),
        "Replace": (("replacement", 1, "map"),),
        "KeyAndValue": (("key", 1, "string"), ("value", 2, "string")),
        "Edit": (
            ("project", 1, "ProjectPicker"),
            ("commit", 2, "CommitPicker"),
            ("branch", 3, "BranchPicker"),
            ("repo", 4, "RepoPicker"),
            ("cluster", 5, "ClusterPicker"),
            ("pipeline", 6, "PipelinePicker"),
            ("replace", 10, "Replace"),
            ("add_key", 11, "KeyAndValue"),
            ("edit_key", 12, "KeyAndValue"),
            ("delete_key", 13, "KeyAndValue"),
        ),
        "EditMetadataRequest": (("edits", 1, "Edit*"),),
        "EditMetadataResponse": (),
    },
)

DEFAULTS = build(
    "pps_v2",
    {
        "ProjectName": (("name", 1, "string"),),
        "GetClusterDefaultsRequest": (),
        "GetClusterDefaultsResponse": (("cluster_defaults_json", 2, "string"),),
        "SetClusterDefaultsRequest": (
            ("regenerate", 2, "bool"),
            ("reprocess", 3, "bool"),
            ("dry_run", 4, "bool"),
            ("cluster_defaults_json", 5, "string"),
        ),
        "SetClusterDefaultsResponse": (),
        "GetProjectDefaultsRequest": (("project", 1, "ProjectName"),),
        "GetProjectDefaultsResponse": (("project_defaults_json", 1, "string"),),
        "SetProjectDefaultsRequest": (
            ("project", 1, "ProjectName"),
            ("regenerate", 2, "bool"),
            ("reprocess", 3, "bool"),
            ("dry_run", 4, "bool"),
            ("project_defaults_json", 5, "string"),
        ),
        "SetProjectDefaultsResponse": (),
    },
)

#: Where answers carry their metadata.
METADATA_NUMBERS = {
    "ClusterInfo": 9,
    "ProjectInfo": 5,
    "CommitInfo": 14,
    "BranchInfo": 7,
    "RepoInfo": 8,
    "PipelineInfo": 15,
}
_Carrier = {
    name: build(f"carrier_{name}", {"Carrier": (("metadata", number, "map"),)})["Carrier"]
    for name, number in METADATA_NUMBERS.items()
}


def with_metadata(message: Any, metadata: Mapping[str, str]) -> Any:
    """Give an answer its metadata, as a field that newer clients read and 7.6.0 passes over."""
    if metadata:
        carrier = _Carrier[message.DESCRIPTOR.name](metadata=metadata)
        message.MergeFromString(carrier.SerializeToString())
    return message


def metadata_of(message: Any) -> dict[str, str]:
    """The metadata in a message."""
    return dict(_Carrier[message.DESCRIPTOR.name].FromString(message.SerializeToString()).metadata)

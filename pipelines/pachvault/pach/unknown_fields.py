"""Fields of Pachyderm 2.8 to 2.12 that python-pachyderm 7.6 does not have.

Its messages keep the bytes of fields that they do not know. Those listed here are read by number; any
other is of a Pachyderm newer than this version, and is reported: a backup notes it, nothing is dropped
without an error. docs/fidelity.md lists how each field is handled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from pachvault.pach import codec

FIELDS: dict[str, dict[int, str]] = {
    "admin_v2.ClusterInfo": {
        7: "paused", 8: "web_resources", 9: "metadata", 10: "pending_restart", 11: "restart_info",
    },
    "pfs_v2.BranchInfo": {7: "metadata", 8: "created_by", 9: "created_at", 10: "updated_at"},
    "pfs_v2.CommitInfo": {
        14: "metadata", 15: "direct_subvenance", 16: "created_by", 17: "created_at", 18: "updated_at",
    },
    "pfs_v2.ProjectInfo": {5: "metadata", 6: "created_by"},
    "pfs_v2.RepoInfo": {8: "metadata"},
    "pps_v2.PFSInput": {15: "propagation_spec", 16: "reference"},
    "pps_v2.PipelineInfo": {14: "effective_spec_json", 15: "metadata"},
    "pps_v2.PipelineInfo.Details": {
        37: "maximum_expected_uptime", 38: "workers_started_at", 39: "updated_at", 40: "created_by",
    },
}  # fmt: skip
"""By message, the fields that this version reads and python-pachyderm lacks, by number."""

_NUMBERS = {message: {name: number for number, name in fields.items()} for message, fields in FIELDS.items()}


@dataclass(frozen=True, slots=True, order=True)
class UnknownField:
    """A field that a server sent and this version does not know."""

    message: str
    number: int


def text(message: Any, name: str) -> str:
    """A text field that the message's class does not have; empty where it is not set."""
    values = _values(message, name)
    return values[-1].decode() if values else ""


def strings(message: Any, name: str) -> dict[str, str]:
    """A map of strings that the message's class does not have, in the order of its keys."""
    entries = (dict(codec.fields(entry)) for entry in _values(message, name))
    texts = {entry.get(1, b"").decode(): entry.get(2, b"").decode() for entry in entries}
    return dict(sorted(texts.items()))


def unknown(message: Any) -> Iterator[UnknownField]:
    """The fields, of the message and of those in it, that are in neither python-pachyderm nor FIELDS."""
    descriptor = message.DESCRIPTOR
    known = FIELDS.get(descriptor.full_name, {})
    for field in message.UnknownFields():
        if field.field_number not in known:
            yield UnknownField(descriptor.full_name, field.field_number)
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        if field.label != FieldDescriptor.LABEL_REPEATED:
            yield from unknown(value)
        elif not field.message_type.GetOptions().map_entry:
            for item in value:
                yield from unknown(item)
        elif field.message_type.fields_by_name["value"].type == FieldDescriptor.TYPE_MESSAGE:
            for item in value.values():
                yield from unknown(item)


def _values(message: Any, name: str) -> list[bytes]:
    number = _NUMBERS[message.DESCRIPTOR.full_name][name]
    return [field.data for field in message.UnknownFields() if field.field_number == number]

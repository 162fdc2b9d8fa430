"""docs/fidelity.yaml says of every field of Pachyderm's protocol what becomes of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from python_pachyderm.proto.v2.admin import admin_pb2
from python_pachyderm.proto.v2.auth import auth_pb2
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from pachvault.pach import unknown_fields
from protocol.describe import Messages, messages
from protocol.fidelity import OUTCOMES, TABLE, Fidelity

NEWEST = json.loads((Path(__file__).parent / "fields.json").read_text(encoding="utf-8"))
READ = (
    admin_pb2.ClusterInfo,
    pfs_pb2.ProjectInfo,
    pfs_pb2.RepoInfo,
    pfs_pb2.BranchInfo,
    pfs_pb2.CommitInfo,
    pps_pb2.PipelineInfo,
)
"""What a backup reads, and looks at for fields that it does not know."""


def _described(descriptor: Any, described: Messages) -> None:
    if not descriptor.GetOptions().map_entry:
        described[descriptor.full_name] = {field.name: field.number for field in descriptor.fields}
        for nested in descriptor.nested_types:
            _described(nested, described)


def _of_client() -> Messages:
    """The messages of python-pachyderm."""
    described: Messages = {}
    for module in (admin_pb2, auth_pb2, pfs_pb2, pps_pb2):
        for descriptor in module.DESCRIPTOR.message_types_by_name.values():
            _described(descriptor, described)
    return {name: fields for name, fields in described.items() if not name.startswith("admin_v2.") or name in
            NEWEST["messages"]}  # fmt: skip


def _reached(descriptor: Any, names: set[str]) -> set[str]:
    """The messages that are in a message."""
    if descriptor.full_name not in names:
        names.add(descriptor.full_name)
        for field in descriptor.fields:
            if field.message_type is not None:
                _reached(field.message_type, names)
    return names


@pytest.fixture(scope="module")
def fidelity() -> Fidelity:
    return Fidelity.read()


def test_every_field_is_classified_once(fidelity: Fidelity) -> None:
    protocol: dict[str, set[str]] = {}
    for known in (_of_client(), NEWEST["messages"]):
        for message, fields in known.items():
            protocol.setdefault(message, set()).update(fields)
    there = {
        (message, field)
        for message, fields in protocol.items()
        for field in fields
        if message not in fidelity.calls
    }
    listed = Counter(fidelity.fields())
    assert there - listed.keys() == set(), "say in docs/fidelity.yaml what becomes of them"
    assert listed.keys() - there == set(), "no Pachyderm has them"
    assert [field for field, times in listed.items() if times > 1] == []
    named = {row.message for row in fidelity.rows}
    assert protocol.keys() == named | fidelity.calls.keys()
    assert named & fidelity.calls.keys() == set()


def test_what_is_not_saved_has_a_reason(fidelity: Fidelity) -> None:
    assert {row.outcome for row in fidelity.rows} == set(OUTCOMES)
    assert [
        row for row in fidelity.rows if row.outcome in ("left out", "saved", "when asked") and not row.why
    ] == []


def test_the_table_in_the_manual_is_made_of_the_list(fidelity: Fidelity) -> None:
    assert TABLE.read_text(encoding="utf-8") == fidelity.table(NEWEST["version"]), "run `make fidelity`"


def test_what_a_backup_reads_is_known_by_its_numbers_but_for_what_is_left_to_be_noted(
    fidelity: Fidelity,
) -> None:
    """A field that is neither in python-pachyderm nor in newer.FIELDS is noted in each snapshot."""
    left = {row.message + "." + field for row in fidelity.rows for field in row.fields
            if row.outcome == "left out" and "a snapshot notes where it is set" in row.why}  # fmt: skip
    client: Messages = {}
    for module in (admin_pb2, auth_pb2, pfs_pb2, pps_pb2):
        for descriptor in module.DESCRIPTOR.message_types_by_name.values():
            _described(descriptor, client)
    reached: set[str] = set()
    for kind in READ:
        _reached(kind.DESCRIPTOR, reached)
    noted = set()
    for message in reached & NEWEST["messages"].keys():
        numbers = {number: name for name, number in NEWEST["messages"][message].items()}
        known = unknown_fields.FIELDS.get(message, {})
        assert {number: numbers.get(number) for number in known} == known
        unknown = numbers.keys() - set(client[message].values()) - known.keys()
        noted |= {f"{message}.{numbers[number]}" for number in unknown}
    assert noted == left
    assert unknown_fields.FIELDS.keys() <= reached


def test_a_field_of_a_newer_server_is_found_wherever_it_is() -> None:
    inner = pfs_pb2.Repo.FromString(pfs_pb2.Repo(name="r").SerializeToString() + b"\xfa\x01\x01x")
    message: Message = pfs_pb2.CommitInfo(parent_commit=pfs_pb2.Commit(repo=inner))
    message = pfs_pb2.CommitInfo.FromString(message.SerializeToString() + b"\x98\x06\x07" + b"\x82\x01\x01a")
    assert sorted((unknown.message, unknown.number) for unknown in unknown_fields.unknown(message)) == [
        ("pfs_v2.CommitInfo", 99),
        ("pfs_v2.Repo", 31),
    ]
    assert unknown_fields.text(message, "created_by") == "a"


def test_a_proto_file_is_read_with_nested_messages_oneofs_and_maps() -> None:
    text = """
    package some_v2;  // a comment with message Nothing { string x = 1; }
    enum Kind { A = 0; B = 1; }
    message Outer {
      reserved 3;
      map<string, string> notes = 1 [(validate.rules).map.keys.string.min_len = 1];
      message Inner { repeated some.Other each = 2; }
      oneof choice { option (required) = true; Inner one = 4; string two = 5; }
      /* message Gone { string y = 1; } */
      Kind kind = 6;
    }
    """
    assert messages(text) == {
        "some_v2.Outer": {"notes": 1, "one": 4, "two": 5, "kind": 6},
        "some_v2.Outer.Inner": {"each": 2},
    }

"""Messages of Pachyderm 2.11 that python-pachyderm 7.6.0 does not have, built when the module is loaded.

Only what `pachctl create pipeline` sends and reads: the spec travels as the JSON that the user wrote.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_BOOL = descriptor_pb2.FieldDescriptorProto.TYPE_BOOL

_MESSAGES: dict[str, tuple[tuple[str, int, int], ...]] = {
    "CreatePipelineV2Request": (
        ("create_pipeline_request_json", 1, _STRING),
        ("dry_run", 2, _BOOL),
        ("update", 3, _BOOL),
        ("reprocess", 4, _BOOL),
    ),
    "CreatePipelineV2Response": (("effective_create_pipeline_request_json", 1, _STRING),),
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="pachvault/create_pipeline_v2.proto", package="pps_v2", syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            message.field.add(
                name=field,
                number=number,
                type=kind,
                label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return {name: factory.GetPrototype(pool.FindMessageTypeByName(f"pps_v2.{name}")) for name in _MESSAGES}


_BUILT = _classes()
CreatePipelineV2Request: Any = _BUILT["CreatePipelineV2Request"]
CreatePipelineV2Response: Any = _BUILT["CreatePipelineV2Response"]

#: PipelineInfo.effective_spec_json, which the 7.6.0 message does not have.
_EFFECTIVE_SPEC_JSON = 14


def with_effective_spec(info: Any, effective_json: str) -> Any:
    """Append the field as an unknown one: newer clients read it, 7.6.0 passes over it."""
    data = effective_json.encode()
    size, head = len(data), bytearray([_EFFECTIVE_SPEC_JSON << 3 | 2])
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    info.MergeFromString(bytes(head) + data)
    return info

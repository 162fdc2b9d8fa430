"""Messages of Pachyderm 2.11 that python-pachyderm 7.6.0 does not have, built when the module is loaded.

Only what `pachctl create pipeline` sends and reads: the spec travels as the JSON that the user wrote.
"""

from __future__ import annotations

from typing import Any

from embedded_pachyderm import newer_messages

_BUILT = newer_messages.build(
    "pps_v2_created",
    {
        "CreatePipelineV2Request": (
            ("create_pipeline_request_json", 1, "string"),
            ("dry_run", 2, "bool"),
            ("update", 3, "bool"),
            ("reprocess", 4, "bool"),
        ),
        "CreatePipelineV2Response": (("effective_create_pipeline_request_json", 1, "string"),),
    },
)
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
